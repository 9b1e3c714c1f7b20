"""Calls under way whose answer others wait for: one at a time for each key."""

from __future__ import annotations

import asyncio
from typing import Final

from .entries import Key, Outcome

__all__ = ["Flight", "Flights"]


class Flight:
    """One call, made by its first caller, and those who wait for what comes of it."""

    __slots__ = ("_waiters", "key")

    def __init__(self, key: Key) -> None:
        self.key: Final = key
        self._waiters: dict[asyncio.Future[Outcome | None], None] = {}

    def join(self) -> asyncio.Future[Outcome | None]:
        """Resolved with what came of the call; or with None for the one that has to make it now."""
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: asyncio.Future[Outcome | None]) -> bool:
        """One waits no more; whether it was its turn to make the call."""
        self._waiters.pop(waiter, None)
        return waiter.done() and not waiter.cancelled() and waiter.result() is None

    def tell(self, outcome: Outcome) -> None:
        """All who wait get this."""
        while self._next(outcome):
            pass

    def hand_on(self) -> bool:
        """The next one makes the call; whether there is one."""
        return self._next(None)

    def _next(self, outcome: Outcome | None) -> bool:
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(outcome)
                return True
        return False


class Flights:
    """Those that can be joined."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Key, Flight] = {}

    def get(self, key: Key) -> Flight | None:
        return self._open.get(key)

    def begin(self, key: Key) -> Flight:
        """A first caller's."""
        flight = self._open[key] = Flight(key)
        return flight

    def land(self, flight: Flight, outcome: Outcome) -> bool:
        """Its call was answered: tells who waits. Whether it could be joined until now."""
        flight.tell(outcome)
        return self._close(flight)

    def fail(self, flight: Flight) -> None:
        """Nothing came of its call, or who was to make it is gone: the next one makes it."""
        if not flight.hand_on():
            self._close(flight)

    def detach(self, method: str | None) -> None:
        """Nobody joins those of a method, or any, from now on."""
        for key in [key for key in self._open if method is None or key[0] == method]:
            del self._open[key]

    def _close(self, flight: Flight) -> bool:
        if self._open.get(flight.key) is not flight:
            return False
        del self._open[flight.key]
        return True
