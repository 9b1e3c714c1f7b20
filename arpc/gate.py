"""Where calls and notifies wait, in order, while the socket is full."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from .wheel import EXPIRED, Slot

OVERHEAD = 64
"""Bytes that a frame costs beside its data: so many small ones do not pass at once."""


class Gate:
    """Lets waiters through in batches of at most ``batch`` bytes, so that opening it cannot flood what it protects."""

    __slots__ = ("_batch", "_gone", "_loop", "_passing", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, batch: int) -> None:
        self._loop = loop
        self._batch = batch
        self._passing = 0
        self._gone = 0
        self._waiters: deque[tuple[asyncio.Future[Any], int]] = deque()

    @property
    def idle(self) -> bool:
        """Nobody waits here or is on the way through."""
        return not self._waiters and not self._passing

    async def wait(self, size: int, slot: Slot) -> bool:
        """True when ``size`` bytes may be written: the caller writes at once, then says :meth:`passed`.

        False when ``slot`` has expired first.
        """
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiters.append((waiter, size + OVERHEAD))
        slot.add(waiter)
        try:
            answer = await waiter
        except BaseException:
            if waiter.cancelled() or waiter.result() is EXPIRED:
                self._forget()
            else:
                self._passing -= 1
            raise
        finally:
            slot.discard(waiter)
        if answer is EXPIRED:
            self._forget()
        return answer is not EXPIRED

    def _forget(self) -> None:
        """One has given up. When that holds for half of them, they are taken out of the queue."""
        self._gone += 1
        if self._gone > len(self._waiters) // 2:
            self._waiters = deque(entry for entry in self._waiters if not entry[0].done())
            self._gone = 0

    def passed(self) -> None:
        """One that was let through has written, or has given up."""
        self._passing -= 1

    @property
    def passing(self) -> bool:
        """Some were let through and have not written yet."""
        return self._passing > 0

    def open(self) -> None:
        """Lets the next batch through, once all of the one before has passed."""
        if self._passing > 0:
            return
        room = self._batch
        while self._waiters and room > 0:
            waiter, size = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                self._passing += 1
                room -= size

    def open_for_all(self) -> None:
        """The connection has ended: everyone goes on, to find that out."""
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                self._passing += 1
