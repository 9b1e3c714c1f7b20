"""Sends again what failed, where that does no harm and may help."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from enum import Enum
from math import inf
from time import monotonic
from typing import Any, Final, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import ArpcError, CallRefused, CallTimeout, ConnectionClosed, RemoteError
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time
from arpc.outgoing import Outgoing

from .budget import RetryBudget
from .matching import matching

__all__ = ["Retry"]

log = logging.getLogger("arpc")

Observer = Callable[[Outgoing, Exception, int, float], object]


LONGEST: Final = 3600
"""Seconds that the other side may ask to wait for where this side has said no time: it is not to wait for ever."""


class Default(Enum):
    BUDGET = "a budget of its own"


_NOT_EXECUTED: Final = frozenset({Code.UNAVAILABLE, Code.OVERLOADED})
_WORTH_REPEATING: Final = frozenset({Code.ABORTED, Code.DEADLINE_EXCEEDED})


class Retry(Layer):
    """Sends a call again that failed, as long as its caller waits. It stands around what goes out.

    Any call, and any notify, is sent again when it was certainly not executed; calls that ``idempotent`` names also
    when it is not known (the table in docs/middleware-calls.md says which error is which). Streams pass.

    ``attempts``: how many in all, the first one included; None for any number. ``timeout``: seconds after which no
    attempt begins; None for ever. Before attempt n + 1 it waits ``min(wait_max, wait_initial * wait_exp_base ** (n - 1)
    + random up to wait_jitter)`` seconds; where the error says ``retry_after``, that long and the jitter, unless that
    is more than an hour and there is neither a ``timeout`` nor a deadline. These names and defaults are those of
    stamina. No attempt begins that the caller's deadline, or ``timeout``, does not leave the time to wait for.

    ``idempotent``: methods, or patterns such as ``"/get*"``, that do no harm when they are executed twice; or a
    function that is asked with the context. ``budget``: shared with others, or None for none. ``on_retry``: called as
    ``on_retry(ctx, error, attempt, wait)`` before the wait for attempt number ``attempt``; what it raises is logged.

    The last error is raised as it came, with a note that says how often and why no more. Attempts from the second on
    have their number as the metadata ``retry_attempt``, where the other side takes any.
    """

    incoming = False

    def __init__(
        self,
        attempts: int | None = 10,
        *,
        timeout: float | None = 45.0,
        wait_initial: float = 0.1,
        wait_max: float = 5.0,
        wait_jitter: float = 1.0,
        wait_exp_base: float = 2.0,
        idempotent: Iterable[str] | Callable[[Outgoing], bool] = (),
        budget: RetryBudget | Default | None = Default.BUDGET,
        on_retry: Observer | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if attempts is not None and not (_is_whole(attempts) and attempts >= 1):
            raise ValueError(f"attempts is a whole number of 1 or more, or None for any number, not {attempts!r}")
        if timeout is not None and not is_time(timeout):
            raise ValueError(f"timeout is seconds above 0, or None for ever, not {timeout!r}")
        waits = {"wait_initial": wait_initial, "wait_max": wait_max, "wait_jitter": wait_jitter}
        for name, value in waits.items():
            if value != 0 and not is_time(value):
                raise ValueError(f"{name} is seconds, 0 or more, not {value!r}")
        if not 1 <= wait_exp_base < inf:
            raise ValueError(f"wait_exp_base is a number of 1 or more, not {wait_exp_base!r}")
        if not isinstance(cast(object, budget), (RetryBudget, Default, type(None))):
            raise TypeError(f"budget is a RetryBudget, or None for none, not {budget!r}")
        self._attempts = inf if attempts is None else attempts
        self._timeout = timeout
        self._wait_initial = wait_initial
        self._wait_max = wait_max
        self._wait_jitter = wait_jitter
        self._wait_exp_base = wait_exp_base
        if callable(idempotent):
            self._asked: Callable[[Outgoing], bool] | None = idempotent
            self._named = matching((), "idempotent")
        else:
            self._asked, self._named = None, matching(idempotent, "idempotent")
        self.budget: Final = RetryBudget() if budget is Default.BUDGET else budget
        """What is left to retry with; None if there is no such bound."""
        self._on_retry = on_retry
        self._clock = clock
        self._sleep = sleep

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream":
            return call_next
        named, budget, clock = self._named(target.method), self.budget, self._clock

        async def retried(ctx: Any) -> Any:
            observers, began = ctx.observers, clock()
            try:
                answer = await call_next(ctx)
            except ArpcError as error:
                first = error
            else:
                if budget is not None:
                    budget.succeeded()
                return answer
            return await self._go_on(call_next, ctx, first, named, began, observers)

        return cast(Callable[[Context], Coroutine[Any, Any, Any]], retried)

    async def _go_on(
        self, call_next: Next, ctx: Outgoing, error: ArpcError, named: bool, began: float, observers: Any
    ) -> Any:
        """The first attempt has failed: further ones, until one succeeds or no more make sense."""
        attempt = 1
        while True:
            wait = self._look(ctx, error, named, attempt, began)
            ctx.end(error, since=observers)
            attempt += 1
            self._tell(ctx, error, attempt, wait)
            await self._sleep(wait)
            if ctx.peer.closed:
                raise self._noted(error, ctx, attempt - 1, began, "the connection has ended for good")
            ctx.attach("retry_attempt", attempt)
            try:
                answer = await call_next(ctx)
            except ArpcError as again:
                error = again
            else:
                if self.budget is not None:
                    self.budget.succeeded()
                return answer

    def _look(self, ctx: Outgoing, error: ArpcError, named: bool, attempt: int, began: float) -> float:
        """Seconds to wait before the next attempt; raises the error where there is to be none."""
        if not may_repeat(error):
            if attempt > 1:
                self._noted(error, ctx, attempt, began, "an error that another attempt does not mend")
            raise error
        if not was_not_executed(error) and not self._is_idempotent(ctx, named):
            reason = "a notify is not sent twice" if ctx.kind == "notify" else "idempotent= does not name it"
            raise self._noted(error, ctx, attempt, began, f"it may have been executed, and {reason}")
        if self.budget is not None:
            self.budget.failed()
        stop = self._stop(ctx, attempt)
        if stop:
            raise self._noted(error, ctx, attempt, began, stop)
        wait = self._wait(error, attempt)
        left = ctx.remaining()
        if left is not None and wait >= left:
            why = f"its deadline leaves {left:.3g} s, and the next would wait {wait:.3g} s"
            raise self._noted(error, ctx, attempt, began, why)
        if self._timeout is not None and self._clock() - began + wait >= self._timeout:
            why = f"the next would wait {wait:.3g} s, past the timeout of {self._timeout:g} s"
            raise self._noted(error, ctx, attempt, began, why)
        if left is None and self._timeout is None and wait > max(LONGEST, self._wait_max):
            why = (
                f"the other side asks to wait {wait:.3g} s, and without a deadline or timeout= the most is {LONGEST} s"
            )
            raise self._noted(error, ctx, attempt, began, why)
        return wait

    def _stop(self, ctx: Outgoing, attempt: int) -> str:
        """Why there is to be no further attempt, if there is not."""
        if ctx.peer.closed:
            return "the connection has ended for good"
        if attempt >= self._attempts:
            return f"attempts={self._attempts}"
        if self.budget is not None and self.budget.spent:
            return "retry budget spent"
        return ""

    def _is_idempotent(self, ctx: Outgoing, named: bool) -> bool:
        if ctx.kind == "notify":
            return False
        return named if self._asked is None else bool(self._asked(ctx))

    def _wait(self, error: ArpcError, attempt: int) -> float:
        jitter = random.uniform(0, self._wait_jitter)
        after = _retry_after(error)
        if after is not None:
            return after + jitter
        try:
            grown = self._wait_initial * self._wait_exp_base ** (attempt - 1)
        except OverflowError:
            grown = inf
        return min(self._wait_max, grown + jitter)

    def _tell(self, ctx: Outgoing, error: ArpcError, attempt: int, wait: float) -> None:
        log.info("%s: %s; attempt %d comes in %.3g s", ctx.method, error, attempt, wait)
        if self._on_retry is not None:
            try:
                self._on_retry(ctx, error, attempt, wait)
            except Exception:  # the application's own: the call goes on
                log.exception("on_retry of %s failed", ctx.method)

    def _noted(self, error: ArpcError, ctx: Outgoing, attempts: int, began: float, why: str) -> ArpcError:
        many = f"{attempts} attempt{'s' if attempts > 1 else ''}"
        error.add_note(f"{ctx.method}: {many} in {self._clock() - began:.3f} s, and no more: {why}")
        return error


def was_not_executed(error: BaseException) -> bool:
    """Whether a call that failed so has certainly not been executed, and may be later."""
    if isinstance(error, ConnectionClosed):
        return not error.sent
    if isinstance(error, (RemoteError, CallRefused)):
        limited = error.code == Code.RESOURCE_EXHAUSTED and error.retry_after is not None
        return limited or error.code in _NOT_EXECUTED
    return False


def may_repeat(error: BaseException) -> bool:
    """Whether a call that failed so may succeed when it is sent again, be it that it does no harm twice."""
    if isinstance(error, (ConnectionClosed, CallTimeout)):
        return True
    return was_not_executed(error) or (isinstance(error, (RemoteError, CallRefused)) and error.code in _WORTH_REPEATING)


def _retry_after(error: ArpcError) -> float | None:
    return error.retry_after if isinstance(error, (RemoteError, CallRefused)) else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
