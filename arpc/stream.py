"""A stream: items in both directions beside each other, each half ended by who sends on it (PROTOCOL, Streams)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from .codecs import Codec
from .errors import DEADLINE_OVER, CallTimeout, ConnectionClosed, RpcError, StreamReset
from .flow import Flow
from .sending import Sending

if TYPE_CHECKING:
    from .connection import Connection
    from .peer import Peer

__all__ = ["Stream"]

R = TypeVar("R")
S = TypeVar("S")

IDLE_LOOKS = 4
"""So often an idle stream is looked at before it is reset: it may take a quarter longer than asked for."""


class Watcher(Protocol):
    """Who is told that a stream was reset before its handler has ended."""

    def broken(self, *, clean: bool, told: bool) -> None:
        """``clean``: the other side just left, or all of its items had come; ``told``: somebody waits for the stream,
        or has items of it yet to take, and will find out so."""


class Stream(Sending[R, S], Generic[R, S]):
    """Items of type ``R`` come in, items of type ``S`` go out; the two directions know nothing of each other.

    ``async for`` and :meth:`recv` take items, :meth:`send` sends them and waits while the other side is slow,
    :meth:`end` ends this side's half. Leaving ``async with`` ends whatever is still open, on both sides. It belongs to
    one connection and one event loop.
    """

    __slots__ = ("_closing", "_idle", "_limit", "watcher")

    __arpc_stream__ = True  # how annotations of handlers are recognised, from below

    def __init__(
        self,
        connection: Connection,
        decode: Callable[[bytes], R] | None,
        sends: tuple[type, ...] | None,
        codec: Codec,
    ) -> None:
        super().__init__(connection, decode, sends, codec)
        self._limit: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[BaseException | None] | None = None
        self.watcher: Watcher | None = None

    def begin(self, flow: Flow, *, limit: float | None = None, idle: float | None = None) -> None:
        """The stream is open; ``limit`` and ``idle`` are seconds."""
        self._flow = flow
        self._flows = self._connection.session.make_flows()
        endpoint = self._connection.endpoint
        if limit is not None:
            self._limit = endpoint.loop.call_later(limit, self._expire, context=endpoint.variables)
        if idle is not None:
            self._watch(idle, -1)

    # --- what it is

    @property
    def id(self) -> int:
        """Its number on the wire; unique on its connection together with who opened it."""
        return self._flow.id

    @property
    def peer(self) -> Peer:
        """The other side."""
        return self._connection.peer

    @property
    def closed(self) -> bool:
        """Nothing goes in or out any more; items that have arrived can still be taken."""
        return not self._flow.sending and not self._flow.receiving

    @property
    def complete(self) -> bool:
        """The other side has ended its half: all of its items have come. False where it has just left, or may go on."""
        return self._complete

    def __repr__(self) -> str:
        return f"<arpc.Stream {self.id} {self.method!r} with {self.peer!r}{' closed' if self.closed else ''}>"

    # --- the end

    async def end(self) -> None:
        await super().end()
        if self.closed:
            self._over()

    async def wait_closed(self) -> BaseException | None:
        """Returns when nothing goes in or out any more, with what ended it; None for a clean end.

        Items that have arrived can still be taken then.
        """
        self._connection.endpoint.check()
        if self.closed:
            return None if clean(self._error) else self._error
        if self._closing is None:
            self._closing = self._connection.endpoint.loop.create_future()
        return await asyncio.shield(self._closing)

    async def reset(self, error: str | BaseException = "") -> None:
        """Ends both halves at once: the other side gets what was sent before, then ``error`` as a StreamReset.

        An empty text is a clean end there. Peers without CANCEL (Go) see the end of this half, and no error.
        """
        self._connection.endpoint.check()
        self.break_off(str(error))

    async def close(self) -> None:
        """Leaves the stream: whatever is open is ended on both sides. ``async with`` does so at its end."""
        self._connection.endpoint.check()
        self.leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):  # an iteration that was broken off is left, too
            await self.close()
        else:
            self.break_off(error_text(error), error)

    def __del__(self) -> None:
        if self.waiting:  # nobody will take them: they count no more
            endpoint, size = self._connection.endpoint, self.queued + self._taken
            if endpoint.thread == get_ident():
                self._flows.drop(size)
            elif not endpoint.loop.is_closed():  # collected in whatever thread
                endpoint.loop.call_soon_threadsafe(self._flows.drop, size)

    def leave(self) -> None:
        """Nobody reads or writes here any more."""
        self._flow.owner = None
        self._flows.leave(self._flow)
        self._leave()

    def break_off(self, text: str, error: BaseException | None = None) -> None:
        """Ends the stream by an error, of this side."""
        self._flow.owner = None
        self._flows.reset(self._flow, text)
        self._leave(error or (StreamReset(text) if text else None))

    def fail(self, error: BaseException, text: str) -> None:
        """Ends the stream by an error that readers and writers here get, too."""
        if not self.closed:
            self._flow.owner = None
            self._flows.reset(self._flow, text)
            self.lose(error)

    def lose(self, error: BaseException) -> None:
        """The stream can go on no more, because of ``error``."""
        if self._error is None:
            self._error = error
        self._flow.sending = self._flow.receiving = False
        by_peer = isinstance(error, (StreamReset, ConnectionClosed))
        told = by_peer and (self._readers is not None or bool(self._senders) or self.waiting)
        self._wake()
        self._over(error)
        if self.watcher is not None:
            whole = clean(error) or (self._complete and isinstance(error, ConnectionClosed))
            self.watcher.broken(clean=whole, told=told)

    def _leave(self, error: BaseException | None = None) -> None:
        self._left = True
        if self.waiting:
            self._flows.drop(self.queued + self._taken)
        self._ready = self._arrived = self._error = None
        self._wake()
        self._over(error)

    def _over(self, error: BaseException | None = None) -> None:
        """The stream has ended, by this error if it is one; a handler that has not ended keeps its deadline."""
        closing, self._closing = self._closing, None
        if closing is not None and not closing.done():
            closing.set_result(None if clean(error) else error)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._limit is not None and self.watcher is None:
            self._limit.cancel()
            self._limit = None

    # --- what the other side does (StreamOwner)

    def on_end(self) -> None:
        self._complete = True
        self._wake_readers()
        if not self._flow.sending:
            self._over()

    def on_reset(self, text: str) -> None:
        if text == DEADLINE_OVER and self._limit is not None:
            self.lose(CallTimeout(f"{self.method} took too long: its timeout is over"))
        else:
            self.lose(StreamReset(text))

    def on_lost(self, error: BaseException) -> None:
        self.lose(error)

    def on_overflow(self) -> bool:
        return self._connection.overflowed(self)

    # --- time

    def _expire(self) -> None:
        self._limit = None
        if not self.closed:
            self.fail(CallTimeout(f"{self.method} took too long: its timeout is over"), DEADLINE_OVER)
        elif self.watcher is not None:
            self.watcher.broken(clean=False, told=False)

    def _watch(self, idle: float, quiet: int) -> None:
        """Looks whether an item has come or gone since the last look; ``quiet``: looks in a row that saw none."""
        quiet = 0 if self._active else quiet + 1
        self._active = False
        if quiet >= IDLE_LOOKS:
            text = f"no item for {idle:g} s (idle timeout)"
            self.fail(CallTimeout(f"{self.method}: {text}"), text)
            return
        endpoint = self._connection.endpoint
        wait = idle / IDLE_LOOKS
        self._idle = endpoint.loop.call_later(wait, self._watch, idle, quiet, context=endpoint.variables)


def clean(error: BaseException | None) -> bool:
    """Whether a stream ended by this has just ended: the other side left it, and had nothing to say about that."""
    return error is None or (isinstance(error, StreamReset) and not error.message)


def error_text(error: BaseException) -> str:
    """What the other side may know of an error that ended a stream here."""
    if isinstance(error, RpcError):
        return error.message or "error"  # an empty text would be a clean end
    if isinstance(error, TimeoutError):
        return "timed out"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal error"
