"""Token buckets by key, in a bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from .refusing import EARLY

__all__ = ["Buckets"]


class Buckets:
    """A bucket for each key, of ``burst`` tokens at most, that gets ``rate`` tokens a second.

    A bucket is one number, the time at which it will be full again (GCRA, the generic cell rate algorithm). One that
    nobody has taken from for the time that an empty one needs is full: so the keys of two such times are kept, as two
    generations, and the older is dropped as a whole.
    """

    __slots__ = ("_clock", "_early", "_lifetime", "_old", "_tolerance", "_turn", "_young", "interval")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self.interval = 1 / rate
        """Seconds until there is another token."""
        self._tolerance = (burst - 1) * self.interval
        self._early = min(EARLY, self.interval / 2)
        self._lifetime = max(burst * self.interval, 1.0)
        self._clock = clock
        self._young: dict[Hashable, float] = {}
        self._old: dict[Hashable, float] = {}
        self._turn = clock() + self._lifetime

    def take(self, key: Hashable) -> float:
        """Takes a token, and returns 0; or, where there is none, the seconds until there is one."""
        now = self._clock()
        if now >= self._turn:
            self._turn_over(now)
        full = self._young.get(key)
        if full is None:
            full = self._old.get(key, now)
        if full < now:
            full = now
        missing = full - now - self._tolerance
        if missing > self._early:
            return missing
        self._young[key] = full + self.interval
        return 0.0

    def delay(self, key: Hashable) -> float:
        """Seconds until there is a token."""
        full = self._young.get(key)
        if full is None:
            full = self._old.get(key, 0.0)
        return max(full - self._clock() - self._tolerance, 0.0)

    def _turn_over(self, now: float) -> None:
        self._old = self._young if now < self._turn + self._lifetime else {}
        self._young = {}
        self._turn = now + self._lifetime

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._young) + len(self._old)
