"""One circuit of a breaker: closed, open or half open, by what is told of the calls that it let through."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from .refusing import EARLY

__all__ = ["Circuit", "State"]

State = Literal["closed", "open", "half-open"]


class Circuit:
    """Counts failures in a row. It knows no calls: whoever has one let through says how that ended.

    Each change begins a new ``period``; what is told of a call of an earlier one is past, and changes nothing.
    """

    __slots__ = ("_changed", "_clock", "_failed", "_reset", "_trial", "_window", "closed", "opened", "period", "trials")

    def __init__(
        self,
        failures: int,
        window: float,
        reset: float,
        trial: int,
        changed: Callable[[State], None],
        clock: Callable[[], float],
    ) -> None:
        self._failed: deque[float] = deque(maxlen=failures)
        """When the last calls failed, with no success since."""
        self._window = window
        self._reset = reset
        self._trial = trial
        self._changed = changed
        self._clock = clock
        self.closed = True
        self.opened: float | None = None
        """When it opened; None while it is closed or half open."""
        self.period = 0
        self.trials = 0
        """Calls that are under way to try whether it may close."""

    @property
    def state(self) -> State:
        """As the next call finds it."""
        if self.closed:
            return "closed"
        return "half-open" if self.opened is None or self.wait <= EARLY else "open"

    @property
    def failures(self) -> int:
        """So many in a row, as far as they matter."""
        return len(self._failed)

    @property
    def age(self) -> float:
        """Seconds since it opened."""
        return 0.0 if self.opened is None else self._clock() - self.opened

    @property
    def wait(self) -> float:
        """Seconds until it is half open, if it is open; below EARLY it is."""
        return 0.0 if self.opened is None else max(self._reset - self.age, 0.0)

    def admit(self) -> bool:
        """Whether a call is let through; how it ended is told by :meth:`succeeded`, :meth:`failed` or :meth:`left`."""
        if self.closed:
            return True
        if self.opened is not None:
            if self.wait > EARLY:
                return False
            self._turn("half-open")
        if self.trials >= self._trial:
            return False
        self.trials += 1
        return True

    def succeeded(self, period: int) -> None:
        """A call of that period was answered."""
        if period != self.period:
            return
        if self.closed:
            self._failed.clear()
        else:  # a trial's
            self._turn("closed")

    def failed(self, period: int) -> None:
        """A call of that period has failed."""
        if period != self.period:
            return
        if not self.closed:
            self._turn("open")
            return
        now = self._clock()
        self._failed.append(now)
        if len(self._failed) == self._failed.maxlen and now - self._failed[0] <= self._window:
            self._turn("open")

    def left(self, period: int) -> None:
        """A call of that period has ended without saying anything about the other side: its place is free."""
        if period == self.period and self.trials:
            self.trials -= 1

    def _turn(self, state: State) -> None:
        self.closed = state == "closed"
        self.opened = self._clock() if state == "open" else None
        self.period += 1
        self.trials = 0
        if self.closed:
            self._failed.clear()
        self._changed(state)
