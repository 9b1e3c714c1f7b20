"""Calls, notifies and pings: what one peer asks of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar, overload

from .bodies import encode_body
from .codecs import Codec
from .connection import Answer, Connection
from .context import serving
from .deadlines import bounded, inherited, left_of
from .endpoint import Endpoint
from .errors import ArpcError, CallTimeout, DecodeError, Overstock
from .frame import encode_method
from .options import is_time
from .transport import describe
from .wheel import EXPIRED, NEVER

T = TypeVar("T")


class Default(Enum):
    TIMEOUT = "the timeout of the endpoint's options"


DEFAULT: Final = Default.TIMEOUT


_methods: dict[str, bytes] = {}


def _method(name: str) -> bytes:
    """The wire's bytes of a method, remembered."""
    encoded = encode_method(name)
    if len(_methods) >= 4096:
        _methods.clear()
    _methods[name] = encoded
    return encoded


def decode_answer(method: str, decode: Callable[[bytes], Any], answer: bytes) -> Any:
    """The value of an answer. DecodeError, which names the method."""
    try:
        return decode(answer)
    except DecodeError as error:
        raise DecodeError(f"the answer of {method}: {error}") from error.__cause__


class Caller:
    """One side of a connection, as far as it asks the other for something."""

    __slots__ = ("__weakref__", "_address", "_connection", "_endpoint")

    _connection: Connection

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._address: str | None = None

    @property
    def address(self) -> str:
        """Where the other side is, as ``tcp://host:port``."""
        if self._address is None:
            self._address = describe(self._connection.transport)
        return self._address

    @overload
    async def call(
        self,
        method: str,
        body: Any = None,
        *,
        returns: type[T],
        timeout: float | Default | None = DEFAULT,
        metadata: Mapping[str, Any] | None = None,
        answer_metadata: dict[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> T: ...

    @overload
    async def call(
        self,
        method: str,
        body: Any = None,
        *,
        returns: None,
        timeout: float | Default | None = DEFAULT,
        metadata: Mapping[str, Any] | None = None,
        answer_metadata: dict[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> None: ...

    @overload
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
    ) -> Any: ...

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
        """Calls ``method`` on the other side and returns its answer, decoded as ``returns`` and validated.

        ``body``: bytes and str travel as they are, None is empty, all else goes through the codec. ``returns``: bytes
        and str take the answer as it is; a type is decoded and validated; without it the answer is the codec's plain
        value. ``timeout``: seconds, above 0, for all of it (it comes up to 20 ms late); None waits for ever; the
        default is the option ``timeout`` (30), or what is left to the handler in which this is called, if that is less.
        A timeout that is said or inherited travels as a deadline. A call that times out, or is cancelled, cancels its
        handler over there. ``metadata``: text keys and values for the handler's ``ctx.metadata``; ``answer_metadata``:
        a dict that takes the answer's. ``codec``: that of this method, a name or an object, in place of the
        connection's. While the socket is full the call waits before it sends.

        Inside of a handler at full load any outcome is seen when the handler has its slot again (docs/design.md).

        Raises CallTimeout; RemoteError (MethodNotFound) if the other side answered an error; ConnectionClosed, whose
        ``sent`` tells whether the request may have arrived; EncodeError, DecodeError; LimitExceeded; LocalProtocolError
        for a method or metadata that cannot be sent to this peer; ValueError for a timeout, TypeError for a ``returns``
        that cannot be decoded; LoopError off the event loop.
        """
        endpoint = self._endpoint
        if endpoint.thread != get_ident() or not endpoint.loop.is_running():
            raise endpoint.misused()
        name = _methods.get(method) or _method(method)
        if codec is None:
            data = body if body.__class__ is bytes else encode_body(endpoint.codec, body)
            decode = None if returns is bytes else endpoint.decoder(returns)
        else:
            codec = endpoint.codec_of(codec)
            data = encode_body(codec, body)
            decode = None if returns is bytes else endpoint.decoder(returns, codec)
        connection = self._connection
        if timeout is DEFAULT:
            timeout = endpoint.options.timeout
            deadline = inherited(timeout) if bounded else None
            timeout = timeout if deadline is None else deadline
        else:
            timeout = deadline = self._timeout(timeout)
        slot = NEVER if timeout is None else endpoint.wheel.slots[timeout]
        gated = False
        if connection.blocked:
            started = monotonic()
            gated = await connection.admission(len(data), slot)
            deadline = left_of(deadline, started)
        session = connection.session
        future: asyncio.Future[Any] = endpoint.loop.create_future()
        try:
            if deadline is None and metadata is None:
                seq = session.request(name, data, future)
            else:
                seq = session.request_with(name, data, future, connection.trailer(metadata, deadline))
        finally:
            if gated:
                connection.passed()
        lender = None
        if connection.inbox is not None:  # handlers serve this peer: this may be a call of one of them
            runner = serving.get()
            lender = None if runner is None else runner.lend(connection)
        slot.add(future)
        try:
            answer = await future
        except BaseException:
            session.cancel(seq)
            raise
        finally:
            slot.discard(future)
            if lender is not None:
                session.cancel(seq)  # if no answer has come, before a wait that may be cancelled
                await lender.take_back()
        if answer.__class__ is not bytes:
            if answer is EXPIRED or answer.__class__ is CallTimeout:
                session.cancel(seq)
                raise CallTimeout(f"{method} has not answered within {timeout:g} s")
            if not isinstance(answer, Answer):
                raise answer
            if answer_metadata is not None:
                answer_metadata.update(answer.metadata.values)
            answer = answer.data
        return answer if decode is None else decode_answer(method, decode, answer)

    async def notify(
        self,
        method: str,
        body: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        """Sends a message that wants no answer, with ``metadata`` for its handler. While the socket is full it waits.

        ``codec`` as for :meth:`call`.

        Raises ConnectionClosed; EncodeError; LimitExceeded; LocalProtocolError; LoopError. That it was served is never
        known: the other side drops what it has no handler for.
        """
        name, data = self._message(method, body, codec)
        connection = self._connection
        gated = connection.blocked and await connection.notice(len(data))
        try:
            if metadata is None:
                connection.session.notify(name, data)
            else:
                connection.session.notify(name, data, trailer=connection.trailer(metadata, None))
        finally:
            if gated:
                connection.passed()

    def try_notify(
        self,
        method: str,
        body: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        codec: str | Codec | None = None,
    ) -> None:
        """As :meth:`notify`, without ever waiting: raises :class:`~arpc.Overstock` where that would have to wait."""
        name, data = self._message(method, body, codec)
        connection = self._connection
        if connection.blocked:
            connection.check_welcome()
            if not connection.session.ready:
                self._endpoint.decide_soon(connection)
                raise Overstock(
                    f"{self.address} has not sent anything yet, so it is not decided how to speak to it; "
                    f"{method} was not sent: use notify, or try again after hello_timeout"
                )
            if not connection.writable:
                raise Overstock(f"the socket to {self.address} is full; {method} was not sent")
        made = b"" if metadata is None else connection.trailer(metadata, None)
        connection.session.notify(name, data, trailer=made)

    async def ping(self, timeout: float | Default | None = DEFAULT) -> float:
        """Asks for a sign of life; returns the seconds it took. Raises CallTimeout, ConnectionClosed, LoopError."""
        endpoint = self._endpoint
        endpoint.check()
        limit = self._timeout(timeout)
        connection = self._connection
        slot = NEVER if limit is None else endpoint.wheel.slots[limit]
        gated = connection.blocked and await connection.answered(16, slot)
        future: asyncio.Future[Any] = endpoint.loop.create_future()
        started = monotonic()
        connection.session.ping(future)
        if gated:
            connection.passed()
        connection.flush()
        slot.add(future)
        try:
            answer = await future
        except BaseException:
            connection.session.forget_ping(future)
            raise
        finally:
            slot.discard(future)
        if answer is EXPIRED:
            connection.session.forget_ping(future)
            raise CallTimeout(f"{self.address} has not answered a ping within {limit:g} s")
        if isinstance(answer, ArpcError):
            raise answer
        return monotonic() - started

    def _message(self, method: str, body: Any, codec: str | Codec | None) -> tuple[bytes, bytes]:
        endpoint = self._endpoint
        if endpoint.thread != get_ident() or not endpoint.loop.is_running():
            raise endpoint.misused()
        if body.__class__ is bytes:
            data = body
        else:
            data = encode_body(endpoint.codec if codec is None else endpoint.codec_of(codec), body)
        return _methods.get(method) or _method(method), data

    def _timeout(self, timeout: float | Default | None, name: str = "timeout") -> float | None:
        if timeout is DEFAULT:
            return self._endpoint.options.timeout
        if timeout is None or timeout == inf:
            return None
        if not is_time(timeout):
            raise ValueError(f"{name} is seconds above 0, or None to wait for ever, not {timeout!r}")
        return timeout
