"""The receiving half of a stream: items that have arrived, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from .context import Serving, serving
from .errors import (
    BadItem,
    CallTimeout,
    ConnectionClosed,
    DecodeError,
    LocalProtocolError,
    StreamEnded,
    StreamReset,
)
from .flow import ITEM, Flow, Flows
from .options import is_time
from .wheel import EXPIRED, NEVER, Slot

if TYPE_CHECKING:
    from .connection import Connection

R = TypeVar("R")


class Receiving(Generic[R]):
    """What comes in on a stream, and what both of its halves know."""

    __slots__ = (
        "__weakref__",
        "_active",
        "_arrived",
        "_complete",
        "_connection",
        "_decode",
        "_error",
        "_flow",
        "_flows",
        "_left",
        "_readers",
        "_ready",
        "_taken",
    )

    def __init__(self, connection: Connection, decode: Callable[[bytes], R] | None) -> None:
        self._connection = connection
        self._decode = decode
        """None for bytes, which are taken as they are."""
        self._flow: Flow
        self._flows: Flows
        self._ready: list[bytes] | None = None
        """Items to take, the next one last."""
        self._arrived: list[bytes] | None = None
        """Those that came after them, in order."""
        self._taken = 0
        """The cost of those that were taken, as far as the other side has not been told."""
        self._readers: asyncio.Future[Any] | list[asyncio.Future[Any]] | None = None
        """Who waits for an item: nearly always one, without a list that would cost 88 bytes."""
        self._error: BaseException | None = None
        """Why the stream has ended: writers get it at once, readers after the last item."""
        self._complete = False
        """The other side has ended its half: all of its items are here."""
        self._left = False
        """This side has left: nobody reads or writes here any more."""
        self._active = False
        """An item has come or gone since the last look."""

    @property
    def method(self) -> str:
        """The name that it was opened by."""
        return self._flow.method.decode("utf-8", "replace")

    @property
    def queued(self) -> int:
        """Bytes of items that wait here to be taken, 64 for each beside its data: at most the window and one item."""
        return sum(len(data) + ITEM for items in (self._ready, self._arrived) for data in items or ())

    @property
    def waiting(self) -> bool:
        """Items wait here to be taken."""
        return bool(self._ready or self._arrived)

    async def recv(self, timeout: float | None = None) -> R:
        """The next item, decoded and validated. Waits for it, at most ``timeout`` seconds where that is said.

        Raises StreamEnded when the other side has ended its half; StreamReset when it ended the stream by an error,
        after the items that came before; CallTimeout (the stream goes on) for ``timeout``, and for the stream's own;
        ConnectionClosed; DecodeError for an item of another shape (the next one can be taken); ValueError for
        ``timeout``. Cancelling it loses no item. Several tasks may receive: each item goes to one of them.
        """
        slot = NEVER if timeout is None else self._slot_of(timeout)
        while not self.waiting:
            expired = await self._wait(slot)
            if (expired or slot.over) and not self.waiting:
                raise CallTimeout(f"no item of {self.method} has come within {timeout:g} s")
        return self._decoded(self._take())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        # As recv(), written out: an iteration is the hot path, and a coroutine less that waits is 250 bytes less.
        ready = self._ready
        if not ready:
            while not self.waiting:
                try:
                    waiter = self._listen(NEVER)
                except StreamEnded:
                    raise StopAsyncIteration from None
                lender = self._lend()
                try:
                    await waiter
                finally:
                    self._stop_listening(waiter, NEVER)
                    if lender is not None:
                        await lender.take_back()
            data = self._take()
        else:
            data = ready.pop()
            taken = self._taken + ITEM + len(data)
            if ready and taken < self._flows.step:
                self._taken = taken
            else:
                self._tell(taken)
        return self._decoded(data)

    async def body(self) -> bytes:
        """The next item as it came, or nothing if there is none: what a handler takes as its body."""
        while not self.waiting:
            try:
                await self._wait(NEVER)
            except StreamEnded:
                return b""
        return self._take()

    async def _wait(self, slot: Slot) -> bool:
        """Returns when an item may have come; whether the slot's time is up. Raises where none will come."""
        waiter = self._listen(slot)
        lender = self._lend()
        try:
            return await waiter is EXPIRED
        finally:
            self._stop_listening(waiter, slot)
            if lender is not None:
                await lender.take_back()

    def _lend(self) -> Serving | None:
        """A handler of a call from this peer waits for a stream with it: others may run meanwhile (Runner.lend)."""
        connection = self._connection
        handler = serving.get() if connection.inbox is not None else None
        return None if handler is None else handler.lend(connection)

    def _take(self) -> bytes:
        """The next item, of which there is one."""
        ready = self._ready
        if not ready:
            assert self._arrived is not None
            ready, self._arrived = self._arrived, None
            if len(ready) > 1:
                ready.reverse()
            self._ready = ready
        data = ready.pop()
        self._tell(self._taken + ITEM + len(data))
        return data

    def _tell(self, taken: int) -> None:
        """Items of this cost were taken."""
        self._taken = 0
        if not self._ready:
            self._ready = None
        self._flows.read(self._flow, taken)

    def _decoded(self, data: bytes) -> R:
        if self._decode is None:
            return data  # type: ignore[return-value]  # None is given for bytes alone: R is bytes then
        try:
            return self._decode(data)
        except DecodeError as error:
            raise self._bad(error) from error.__cause__

    def is_of(self, error: BadItem) -> bool:
        """The error was raised by this very stream."""
        return error.flow is self._flow

    def _bad(self, error: DecodeError) -> DecodeError:
        return BadItem(f"an item of {self.method}: {error}", self._flow)

    def _slot_of(self, timeout: float) -> Slot:
        if timeout == inf:
            return NEVER
        if not is_time(timeout):
            raise ValueError(f"timeout is seconds above 0, or None to wait for ever, not {timeout!r}")
        return self._connection.endpoint.wheel.slots[timeout]

    def _listen(self, slot: Slot) -> asyncio.Future[Any]:
        """A future that is done when an item has come, or the stream has ended. Raises where none will come."""
        endpoint = self._connection.endpoint
        endpoint.check()
        if self._left:
            raise LocalProtocolError(f"the stream {self.method} was left by this side: nothing comes any more")
        if not self._flow.receiving:
            raise self._no_more()
        self._connection.stream_waits(1)
        self._flows.wanted(self._flow)
        waiter: asyncio.Future[Any] = endpoint.loop.create_future()
        if self._readers is None:
            self._readers = waiter
        elif isinstance(self._readers, list):
            self._readers.append(waiter)
        else:
            self._readers = [self._readers, waiter]
        if slot is not NEVER:
            slot.add(waiter)
        return waiter

    def _stop_listening(self, waiter: asyncio.Future[Any], slot: Slot) -> None:
        self._connection.stream_waits(-1)
        if slot is not NEVER:
            slot.discard(waiter)
        if self._readers is waiter:
            self._readers = None
        elif isinstance(self._readers, list) and waiter in self._readers:
            self._readers.remove(waiter)
            self._readers = self._readers or None

    def _no_more(self) -> BaseException:
        error = self._error
        clean = error is None or (isinstance(error, StreamReset) and not error.message)
        if clean or (self._complete and isinstance(error, ConnectionClosed)):
            return StreamEnded(f"the other side has ended {self.method}: no more items")
        return again(cast(BaseException, error))

    def on_items(self, items: list[bytes]) -> None:
        self._active = True
        if self._arrived is None:
            self._arrived = items
            if self._readers is not None:
                self._wake_readers()
        else:
            self._arrived += items

    def _wake_readers(self) -> None:
        readers, self._readers = self._readers, None
        if readers is None:
            return
        for waiter in readers if isinstance(readers, list) else (readers,):
            if not waiter.done():
                waiter.set_result(None)


def again(error: BaseException) -> BaseException:
    """The same error, for one more who waits: one exception object gathers the tracebacks of all who raise it."""
    if isinstance(error, StreamReset):
        return StreamReset(error.message)
    if isinstance(error, ConnectionClosed):
        made = ConnectionClosed(str(error), sent=error.sent)
        made.__cause__ = error.__cause__
        return made
    if isinstance(error, CallTimeout):
        return CallTimeout(str(error))
    return error
