"""Refuses work while there is too much of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from math import ceil, log2
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from arpc.codes import Code
from arpc.context import Context
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time

from .lag import Lag
from .matching import matching
from .refusing import check_count, refused
from .slots import Slots

__all__ = ["LoadShed"]


class LoadShed(Layer):
    """Answers ``overloaded`` at once while more than ``max_inflight`` messages would be under way in this object's
    chains, or while the event loop is more than ``max_lag`` seconds late.

    The loop is looked at every ``interval`` seconds, while there is traffic. Its lag counts as soon as it is seen, and
    halves with each look that finds it gone. Everything is refused meanwhile, but the methods of ``exempt``
    (patterns such as ``"/health/*"``), which always pass and do not count.
    """

    def __init__(
        self,
        *,
        max_inflight: int | None = None,
        max_lag: float | None = None,
        interval: float = 0.1,
        exempt: Iterable[str] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if max_inflight is None and max_lag is None:
            raise ValueError("LoadShed needs max_inflight= (messages), max_lag= (seconds), or both")
        if max_inflight is not None:
            check_count("max_inflight", max_inflight, 1)
        for name, value in (("max_lag", max_lag), ("interval", interval)):
            if value is not None and not is_time(value):
                raise ValueError(f"{name} is seconds above 0, not {value!r}")
        self.max_inflight = max_inflight
        self.max_lag = max_lag
        self.interval = interval
        self._exempt = matching(exempt, "exempt")
        self._clock = clock
        self._slots = None if max_inflight is None else Slots(max_inflight, clock)
        self._lags: WeakKeyDictionary[asyncio.AbstractEventLoop, Lag] = WeakKeyDictionary()

    def wrap(self, call_next: Next, target: Target) -> Next:
        if self._exempt(target.method):
            return call_next
        chain = call_next
        if self._slots is not None:
            chain = _bounded(chain, self._slots)
        if self.max_lag is not None:
            chain = self._in_time(chain, self.max_lag)
        return chain

    def _in_time(self, call_next: Next, limit: float) -> Next:
        lag = self._lags.setdefault(asyncio.get_running_loop(), Lag(self.interval, self._clock))

        def in_time(ctx: Context) -> Coroutine[Any, Any, Any]:
            late = lag.seconds()
            if late <= limit:
                return call_next(ctx)
            raise refused(
                ctx,
                f"overloaded, {ctx.method} was refused: the event loop is {late:.3f} s late, over {limit:g} s",
                Code.OVERLOADED,
                retry_after=self.interval * ceil(log2(late / limit)),
                limit=limit,
                lag=round(late, 3),
            )

        return in_time


def _bounded(call_next: Next, slots: Slots) -> Next:
    async def bounded(ctx: Context) -> Any:
        if not slots.take():
            raise refused(
                ctx,
                f"overloaded, {ctx.method} was refused: {slots.taken} messages are under way, which is the limit",
                Code.OVERLOADED,
                retry_after=slots.expected(),
                limit=slots.taken,
            )
        try:
            return await call_next(ctx)
        finally:
            slots.free()

    return bounded
