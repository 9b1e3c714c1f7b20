"""One timer for the timeouts of all calls of an event loop.

Timeouts that are asked for within one tick share a slot, a plain set: asking costs one dict look-up and one ``add``,
and a call that ends takes itself out with one ``discard``. No clock is read for a call, and no timer is made.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

TICK: Final = 0.01
"""Seconds. A timeout comes never early and at most two ticks late."""

EXPIRED: Final = object()
"""The result that a future gets when its time is up."""


class Slot(set["asyncio.Future[Any]"]):
    """Futures whose time is up together."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False
        """Their time is up: what is put in now would wait for ever."""


NEVER: Final = Slot()
"""The slot of what may wait for ever."""


class Wheel:
    """The timeouts of one event loop. It ticks only while there is something to wait for."""

    __slots__ = ("_closed", "_swept", "_ticking", "slots")

    def __init__(self) -> None:
        self._closed: list[tuple[float, int, Slot]] = []
        self._swept = 0
        self._ticking = False
        self.slots = _Slots(self)
        """``slots[timeout]`` is a set that gives each future in it the result ``EXPIRED`` after so many seconds."""

    def _tick(self) -> None:
        # A slot's time starts when it is closed, after the last future was put in: so nothing expires early, even
        # where the loop was held up for longer than a tick.
        now = monotonic()
        closed = self._closed
        for timeout, slot in self.slots.items():
            if slot:
                _shrink(slot)
                heappush(closed, (now + timeout, id(slot), slot))
        self.slots.clear()
        while closed and closed[0][0] <= now:
            slot = heappop(closed)[2]
            for future in slot:
                if not future.done():
                    future.set_result(EXPIRED)
            slot.clear()
            slot.over = True
        if len(closed) > 2 * self._swept + 32:
            closed[:] = [entry for entry in closed if entry[2]]
            heapify(closed)
            self._swept = len(closed)
        if closed and not any(entry[2] for entry in closed):
            closed.clear()
        self._ticking = bool(closed)
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK, self._tick)

    def wake(self) -> None:
        """There is a slot to close."""
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(TICK, self._tick)


class _Slots(dict[float, Slot]):
    """The slots of this tick, each made when it is first asked for."""

    __slots__ = ("_wheel",)

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel

    def __missing__(self, timeout: float) -> Slot:
        slot = self[timeout] = Slot()
        self._wheel.wake()
        return slot


def _shrink(slot: Slot) -> None:
    """Gives back the table of a set that once held many; the same set, since its futures' calls hold it."""
    left = list(slot)
    slot.clear()
    slot.update(left)


_wheels: WeakKeyDictionary[asyncio.AbstractEventLoop, Wheel] = WeakKeyDictionary()


def wheel_of(loop: asyncio.AbstractEventLoop) -> Wheel:
    """The one wheel of that event loop."""
    wheel = _wheels.get(loop)
    if wheel is None:
        wheel = _wheels[loop] = Wheel()
    return wheel
