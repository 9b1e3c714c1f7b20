"""A peer with middleware around what is sent to it. A peer without has nothing of this on its way."""

# pyright: reportPrivateUsage=false
# What sends for a chain does so for a peer of this very kind.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from time import monotonic
from typing import Any

from .bodies import NO_BODY, encode_body
from .caller import DEFAULT, Default, decode_answer
from .chains import Chains
from .codecs import Codec
from .deadlines import bounded, inherited
from .errors import CallTimeout, Overstock, StreamReset
from .frame import NOTIFY, REQUEST, STREAM, STREAM_LOCAL, encode_method
from .opener import Opens, open_stream
from .outgoing import Outgoing
from .peer import Peer
from .stepping import resume
from .stream import Stream, error_text
from .wheel import NEVER, TICK

__all__ = ["Layered"]

log = logging.getLogger("arpc")


class Layered(Peer):
    """A peer whose endpoint was made with ``outgoing=``."""

    __slots__ = ()

    @property
    def _chains(self) -> Chains:
        chains = self._endpoint.outgoing
        assert chains is not None
        return chains

    async def call(
        self,
        method: str,
        body: Any = None,
        *,
        returns: Any = Any,
        timeout: float | Default | None = DEFAULT,
        metadata: Mapping[str, Any] | None = None,
        answer_metadata: dict[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> Any:
        endpoint = self._endpoint
        endpoint.check()
        own = endpoint.codec if codec is None else endpoint.codec_of(codec)
        data = bytes(encode_body(own, body))  # a view is copied: middleware may look at it, and keep it
        decode = None if returns is bytes else endpoint.decoder(returns, own)
        if timeout is DEFAULT:
            seconds = endpoint.options.timeout
            left = inherited(seconds) if bounded else None
            seconds, said = (seconds, False) if left is None else (left, True)
        else:
            seconds, said = self._timeout(timeout), True
        ctx = Outgoing(
            self, REQUEST, encode_method(method), data, metadata, seconds, _call if said else _call_by_default
        )
        try:
            answer = await self._chains.messages[method](ctx)
            if not isinstance(answer, bytes):
                raise TypeError(f"a middleware around calls returns the answer's body, bytes, not {answer!r}")
            value = answer if decode is None else decode_answer(method, decode, answer)
        except BaseException as error:
            ctx.end(error)
            raise
        ctx.end(None, len(answer))
        if answer_metadata is not None:
            answer_metadata.update(ctx.answer_metadata)
        return value

    async def notify(
        self,
        method: str,
        body: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        name, data = self._message(method, body, codec)
        ctx = Outgoing(self, NOTIFY, name, bytes(data), metadata, None, _notify)
        try:
            await self._chains.messages[method](ctx)
        except BaseException as error:
            ctx.end(error)
            raise
        ctx.end(None)

    def try_notify(
        self,
        method: str,
        body: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        name, data = self._message(method, body, codec)
        sent = False

        async def send(ctx: Outgoing) -> None:
            nonlocal sent
            Peer.try_notify(ctx.peer, ctx.method, ctx.body, metadata=metadata_now(ctx))
            sent = True

        ctx = Outgoing(self, NOTIFY, name, bytes(data), metadata, None, send)
        try:
            sending = self._chains.messages[method](ctx)
            waits = sending.send(None)
        except StopIteration:
            ctx.end(None)
        except BaseException as error:
            ctx.end(error)
            raise
        else:
            if sent:
                _ = self._go_on(_end_of_notify(ctx, sending, waits), method)
                return
            sending.close()
            refused = Overstock(f"a middleware would have to wait; {method} was not sent")
            ctx.end(refused)
            raise refused

    async def _open_stream(self, opens: Opens) -> Stream[Any, Any]:
        """The chain stands around all of the stream, in a task of its own: it goes on when the stream has ended."""
        endpoint = self._endpoint
        endpoint.check()
        method = encode_method(opens.method)
        codec = endpoint.codec if opens.codec is None else endpoint.codec_of(opens.codec)
        body = b"" if opens.body is NO_BODY else bytes(encode_body(codec, opens.body))
        opened: asyncio.Future[Stream[Any, Any]] = endpoint.loop.create_future()

        async def send(ctx: Outgoing) -> None:
            if opened.cancelled():
                raise asyncio.CancelledError  # a middleware goes on although nobody wants the stream any more
            if opened.done():
                raise RuntimeError(f"the stream {opens.method} was opened before: call_next opens it once")
            opens.metadata = await metadata_of(ctx)
            opens.limit = time_left(ctx)
            stream = await open_stream(self._connection, opens)
            ctx.opened(stream)
            if opened.cancelled():
                stream.leave()
                raise asyncio.CancelledError
            opened.set_result(stream)
            error = await stream.wait_closed()
            if error is not None:
                raise error

        ctx = Outgoing(self, STREAM | STREAM_LOCAL, method, body, opens.metadata, opens.limit, send)
        task = self._go_on(self._stand_around(ctx, opened), opens.method)
        try:
            return await opened
        except asyncio.CancelledError:
            if not opened.cancelled() and opened.exception() is None:
                opened.result().leave()
            task.cancel()
            raise

    def _go_on(self, chain: Coroutine[Any, Any, None], method: str) -> asyncio.Task[None]:
        """Runs a chain, or the rest of one, in a task of its own."""
        task = self._endpoint.loop.create_task(chain, name=f"arpc outgoing {method}")
        self._chains.open.add(task)
        task.add_done_callback(self._chains.open.discard)
        return task

    async def _stand_around(self, ctx: Outgoing, opened: asyncio.Future[Stream[Any, Any]]) -> None:
        error: BaseException | None = None
        try:
            await self._chains.streams[ctx.method](ctx)
        except BaseException as raised:
            error = raised
        if not opened.done():
            error = error or RuntimeError(f"a middleware let {ctx.method} through without opening the stream")
            opened.set_exception(error)
        elif ctx.stream is not None and not ctx.stream.closed:
            error = error or StreamReset("a middleware has ended it")
            given_up = isinstance(error, asyncio.CancelledError)
            ctx.stream.fail(StreamReset("cancelled") if given_up else error, error_text(error))
        ctx.end(error)

    def __repr__(self) -> str:
        return super().__repr__().replace("Layered", "", 1)


async def metadata_of(ctx: Outgoing) -> Mapping[str, Any] | None:
    """What travels beside the body: what the caller gave, and what was attached, as far as the other side takes it."""
    if ctx.attached:
        connection = ctx.peer._connection
        if not connection.session.ready:
            seconds = time_left(ctx)
            endpoint = connection.endpoint
            await endpoint.until_ready(connection, NEVER if seconds is None else endpoint.wheel.slots[seconds])
    return metadata_now(ctx)


def metadata_now(ctx: Outgoing) -> Mapping[str, Any] | None:
    """As :func:`metadata_of`, where it is decided how the connection is spoken."""
    if not ctx.attached:
        return ctx.given_metadata
    takes = ctx.peer._connection.takes_metadata
    attached = {key: value for key, value in ctx.attached.items() if takes(key)}
    return {**ctx.given_metadata, **attached} if ctx.given_metadata else attached or None


def time_left(ctx: Outgoing) -> float | None:
    """Seconds that the caller still waits. CallTimeout if the chain has taken them all."""
    if ctx.seconds is None or ctx.deadline is None:
        return None
    left = ctx.deadline - monotonic()
    if left <= 0:
        raise CallTimeout(f"{ctx.method} could not be sent within {ctx.seconds:g} s")
    return left if ctx.seconds - left > TICK else ctx.seconds  # timeouts that are the same share a slot


async def _call(ctx: Outgoing) -> bytes:
    metadata = await metadata_of(ctx) if ctx.attached else ctx.given_metadata  # which may take of the time
    return await Peer.call(
        ctx.peer,
        ctx.method,
        ctx.body,
        returns=bytes,
        timeout=time_left(ctx),
        metadata=metadata,
        answer_metadata=ctx.answer_metadata,
    )


async def _call_by_default(ctx: Outgoing) -> bytes:
    """As :func:`_call`; the default timeout does not travel unless a part of it is over."""
    metadata = await metadata_of(ctx) if ctx.attached else ctx.given_metadata
    if time_left(ctx) != ctx.seconds:
        return await _call(ctx)
    return await Peer.call(
        ctx.peer, ctx.method, ctx.body, returns=bytes, metadata=metadata, answer_metadata=ctx.answer_metadata
    )


async def _notify(ctx: Outgoing) -> None:
    await Peer.notify(ctx.peer, ctx.method, ctx.body, metadata=await metadata_of(ctx))


async def _end_of_notify(ctx: Outgoing, sending: Coroutine[Any, Any, Any], waits: Any) -> None:
    """What a chain around ``try_notify`` still does when the message has been sent: nobody waits for it."""
    try:
        await resume(sending, waits)
    except BaseException as error:
        ctx.end(error)
        if not isinstance(error, Exception):
            raise
        log.exception("a middleware failed after it had sent the notify %s", ctx.method)
    else:
        ctx.end(None)
