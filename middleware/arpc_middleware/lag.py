"""How late an event loop is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

__all__ = ["Lag"]

IN_TIME: Final = 0.001
"""Seconds by which timers are late on a loop that has nothing else to do."""


class Lag:
    """By how much the running event loop is behind, measured by a timer that runs only while somebody asks.

    It rises at once, also while the timer is overdue, and halves with each look that finds the loop in time: one good
    look does not prove that all is well. When nobody asks any more, and the loop is in time, nothing is left.
    """

    __slots__ = ("_asked", "_clock", "_due", "_interval", "_last")

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._asked = False
        self._due: float | None = None
        """When the timer should fire; None while there is none."""
        self._last = 0.0

    def seconds(self) -> float:
        """Has to be asked on the loop."""
        self._asked = True
        now = self._clock()
        if self._due is None:
            self._look_later(now)
            return 0.0
        return max(now - self._due, self._last)

    def _look_later(self, now: float) -> None:
        self._due = now + self._interval
        # Not in the context of the handler that asks, which would outlive it there.
        asyncio.get_running_loop().call_later(self._interval, self._look, self._due, context=Context())

    def _look(self, due: float) -> None:
        now = self._clock()
        self._last = max(now - due, self._last / 2)
        if self._asked or self._last > IN_TIME:
            self._asked = False
            self._look_later(now)
        else:
            self._due = None
            self._last = 0.0
