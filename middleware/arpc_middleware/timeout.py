"""Bounds the time of handlers."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import RpcError
from arpc.middleware import Next
from arpc.options import is_time

__all__ = ["Timeout"]


class Timeout:
    """Cancels a handler after ``seconds`` (above 0) and answers its caller with an error.

    It bounds what suspends: a plain function that blocks the event loop, and the thread of a ``threaded=True`` handler,
    cannot be stopped. Streams, which may last, have timeouts of their own: ``router.stream(..., timeout=)``.
    """

    def __init__(self, seconds: float) -> None:
        if not is_time(seconds):
            raise ValueError(f"a handler's time is seconds above 0, not {seconds!r}")
        self.seconds = seconds

    async def __call__(self, ctx: Context, call_next: Next) -> Any:
        if ctx.kind == "stream":
            return await call_next(ctx)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                # In a context of its own: a timer that is cancelled keeps its context for a while, and the runner
                # would take that for a task that the handler has left behind.
                variables = contextvars.Context()
                variables.run(scope.reschedule, asyncio.get_running_loop().time() + self.seconds)
                return await call_next(ctx)
        except TimeoutError:
            if not scope.expired():
                raise  # the handler's own
            raise RpcError(f"{ctx.method} took longer than {self.seconds:g} s", Code.DEADLINE_EXCEEDED) from None
