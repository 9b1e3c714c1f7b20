"""So many at a time, and those who wait for their turn in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Final

__all__ = ["Slots"]

Turns = OrderedDict["asyncio.Future[bool]", None]

WEIGHT: Final = 0.2
"""What the newest measurement counts for in :meth:`Slots.expected`."""


class Slots:
    """At most ``limit`` are taken. One that is freed is handed to whoever waits longest: nobody can come in between."""

    __slots__ = ("__weakref__", "_clock", "_limit", "_pace", "_since", "_turns", "taken")

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._since: float | None = None
        """When somebody first found no slot, or the last was freed since; None, and no clock is read, where all find
        one."""
        self._pace: float | None = None
        """How long it took lately from then until one was freed."""
        self._turns: Turns | None = None
        self.taken = 0

    @property
    def waiting(self) -> int:
        """So many wait for one."""
        return len(self._turns) if self._turns else 0

    def take(self) -> bool:
        """Takes a slot, if one is free."""
        if self.taken < self._limit:
            self.taken += 1
            return True
        if self._since is None:
            self._since = self._clock()
        return False

    def free(self) -> None:
        """A slot that was taken is needed no more."""
        if self._since is not None:
            now = self._clock()
            lasted = now - self._since
            self._pace = lasted if self._pace is None else self._pace + WEIGHT * (lasted - self._pace)
            self._since = now if self._turns else None
        while self._turns:
            turn, _ = self._turns.popitem(last=False)
            if not turn.done():  # one that was cancelled has not gone yet
                turn.set_result(True)
                return
        self.taken -= 1

    async def wait(self, seconds: float | None) -> bool:
        """Returns when a slot has been handed over; False when ``seconds`` (None: for ever) have passed before."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        turns = self._turns
        if turns is None:
            turns = self._turns = OrderedDict()
        turns[turn] = None
        # Not in the handler's context: a timer that is cancelled keeps its own for a while.
        timer = None if seconds is None else loop.call_later(seconds, _give_up, turns, turn, context=Context())
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.result():
                self.free()  # it was handed over, and is not wanted any more
            else:
                turns.pop(turn, None)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def expected(self) -> float | None:
        """Seconds until one more than those who wait may get a slot, by what was seen lately; None if nothing was."""
        return None if self._pace is None else self._pace * (self.waiting + 1)


def _give_up(turns: Turns, turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        del turns[turn]
        turn.set_result(False)
