"""Opening streams: the first frame, and what is sent by itself in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .bodies import NO_BODY, encode_body
from .codecs import Codec
from .deadlines import left_of
from .errors import StreamReset
from .frame import encode_method
from .opening import Opening
from .stream import Stream, error_text
from .streaming import kinds_of
from .wheel import NEVER

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["OpeningStream", "Opens", "open_stream"]

R = TypeVar("R")
S = TypeVar("S")


Items = AsyncIterable[Any] | Iterable[Any] | None


@dataclass(slots=True)
class Opens:
    """What a stream is opened with."""

    method: str
    returns: Any
    sends: Any
    body: Any = NO_BODY
    items: Items = None
    ends: bool = False
    """Nothing is sent beside body and items."""
    metadata: Mapping[str, Any] | None = None
    limit: float | None = None
    """Seconds for all of it."""
    idle: float | None = None
    """Seconds without any item."""
    codec: str | Codec | None = None
    """In place of the endpoint's."""


class OpeningStream(Opening[Stream[R, S]]):
    """A stream that is not open yet: ``await`` it, or enter it with ``async with``, which ends it at the end."""

    def __init__(self, opens: Opens, open: Callable[[Opens], Coroutine[Any, Any, Stream[R, S]]]) -> None:
        super().__init__("peer.stream(...)" if opens.ends else "peer.open_stream(...)", lambda: open(opens))

    if not TYPE_CHECKING:  # checkers know what there is

        def __aiter__(self) -> NoReturn:
            raise TypeError(f"open it first: async with {self._call} as stream, then async for item in stream")


async def open_stream(connection: Connection, opens: Opens) -> Stream[Any, Any]:
    """Sends the first frame, as soon as that may be; then what opens says goes on in the background."""
    endpoint = connection.endpoint
    endpoint.check()
    method = encode_method(opens.method)
    codec = endpoint.codec if opens.codec is None else endpoint.codec_of(opens.codec)
    decode = None if opens.returns is bytes else endpoint.decoder(opens.returns, codec)
    data = b"" if opens.body is NO_BODY else encode_body(codec, opens.body)
    limit = opens.limit
    fed = opens.items is not None
    made: Stream[Any, Any] = (Fed if fed else Stream)(connection, decode, kinds_of(opens.sends), codec)
    slot = NEVER if limit is None else endpoint.wheel.slots[limit]
    gated = False
    if connection.blocked:
        started = monotonic()
        gated = await connection.admission(len(data), slot)
        limit = left_of(limit, started)
    session = connection.session
    try:
        # A window that is not open yet, or an item that only EMPTY can carry, takes a frame of its own.
        alone = fed if not data else session.credits and not session.remote.stream_window
        alone = alone and opens.body is not NO_BODY
        flow = session.open_stream(
            method,
            made,
            b"" if alone else data,
            end=opens.ends and not fed and not alone,
            trailer=connection.trailer(opens.metadata, limit),
        )
    finally:
        if gated:
            connection.passed()
    made.begin(flow, limit=limit, idle=opens.idle)
    try:
        if alone:
            await made.send(data)
            if not fed:
                await made.end()
    except StreamReset:
        pass  # who reads it finds out, after what had come
    except BaseException as error:
        made.break_off(error_text(error))
        raise
    if isinstance(made, Fed) and opens.items is not None:
        made.feed(opens.items)
    return made


class Fed(Stream[R, S]):
    """A stream whose items are sent in the background."""

    __slots__ = ("_feeding",)

    def __init__(
        self,
        connection: Connection,
        decode: Callable[[bytes], R] | None,
        sends: tuple[type, ...] | None,
        codec: Codec,
    ) -> None:
        super().__init__(connection, decode, sends, codec)
        self._feeding: asyncio.Task[None] | None = None

    def feed(self, items: AsyncIterable[S] | Iterable[S]) -> None:
        """Sends them all, then ends this side's half."""
        self._feeding = self._connection.endpoint.loop.create_task(self._feed(items))

    async def _feed(self, items: AsyncIterable[S] | Iterable[S]) -> None:
        iterator: Any = None
        try:
            if isinstance(items, AsyncIterable):
                iterator = aiter(items)
                async for item in iterator:
                    await self.send(item)
            else:
                iterator = iter(items)
                for item in iterator:
                    await self.send(item)
            await self.end()
        except BaseException as error:
            # Where the stream has ended whoever reads it finds out; else what the items raise ends it.
            if not self.closed:
                given_up = isinstance(error, asyncio.CancelledError)
                self.fail(StreamReset("its items were cancelled") if given_up else error, error_text(error))
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        finally:
            if hasattr(iterator, "aclose"):
                await iterator.aclose()
            elif isinstance(iterator, Generator):
                iterator.close()

    def lose(self, error: BaseException) -> None:
        super().lose(error)
        self._stop_feeding()

    def leave(self) -> None:
        if self._flow.sending:  # what would look like all of them is not
            self.break_off("left before all items were sent")
        else:
            super().leave()

    def _leave(self, error: BaseException | None = None) -> None:
        super()._leave(error)
        self._stop_feeding()

    def _stop_feeding(self) -> None:
        if self._feeding is not None and self._feeding is not asyncio.current_task():
            self._feeding.cancel()

    async def _fed(self) -> None:
        """Returns when nothing is sent in the background any more."""
        if self._feeding is not None and self._feeding is not asyncio.current_task():
            await asyncio.wait([self._feeding])

    async def close(self) -> None:
        await super().close()
        await self._fed()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        await self._fed()
