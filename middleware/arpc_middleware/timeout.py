"""Bounds the time of handlers, and of calls."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import CallTimeout, RpcError
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time
from arpc.outgoing import Outgoing
from arpc.stepping import resume

__all__ = ["Timeout"]


class Timeout(Layer):
    """Cancels a handler after ``seconds`` (above 0) and answers its caller with an error of the code
    ``deadline_exceeded``; around what goes out: cancels a call, its retries included, with a CallTimeout.

    It bounds what suspends: a plain function that blocks the event loop, and the thread of a ``threaded=True`` handler,
    cannot be stopped. Streams, which may last, have timeouts of their own: ``router.stream(..., timeout=)``. Notifies
    that go out pass, since they want no answer.
    """

    def __init__(self, seconds: float) -> None:
        if not is_time(seconds):
            raise ValueError(f"a time is seconds above 0, not {seconds!r}")
        self.seconds = seconds

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream":
            return call_next
        seconds = self.seconds

        def limited(ctx: Context) -> Coroutine[Any, Any, Any]:
            return cast("Coroutine[Any, Any, Any]", _limited(call_next(ctx), ctx, seconds))

        def shortened(ctx: Context) -> Coroutine[Any, Any, Any]:
            if ctx.kind == "notify":
                return call_next(ctx)  # try_notify may be called where there is no task to bound
            return cast("Coroutine[Any, Any, Any]", _shortened(call_next, cast(Outgoing, ctx), seconds))

        return shortened if target.outgoing else limited


@coroutine
def _limited(call: Coroutine[Any, Any, Any], ctx: Context, seconds: float) -> Generator[Any, Any, Any]:
    """Runs ``call`` to its end. There is no timer before it suspends, and most never do."""
    try:
        waits = call.send(None)
    except StopIteration as stop:
        return stop.value
    return (yield from _bounded(call, waits, ctx, seconds).__await__())


@coroutine
def _shortened(call_next: Next, ctx: Outgoing, seconds: float) -> Generator[Any, Any, Any]:
    """As :func:`_limited`; what stands inside, a Retry, knows meanwhile that nobody waits for longer."""
    before = ctx.shorten(seconds)
    try:
        call = call_next(ctx)
        waits = call.send(None)
        return (yield from _bounded(call, waits, ctx, seconds).__await__())
    except StopIteration as stop:
        return stop.value
    finally:
        ctx.restore(before)


async def _bounded(call: Coroutine[Any, Any, Any], waits: Any, ctx: Context, seconds: float) -> Any:
    scope = asyncio.timeout(None)
    try:
        async with scope:
            # In a context of its own: a timer that is cancelled keeps its context for a while, and the runner
            # would take that for a task that the handler has left behind.
            variables = contextvars.Context()
            variables.run(scope.reschedule, asyncio.get_running_loop().time() + seconds)
            return await resume(call, waits)
    except TimeoutError:
        if not scope.expired():
            raise  # the handler's own
        text = f"{ctx.method} took longer than {seconds:g} s"
        raise (CallTimeout(text) if ctx.outgoing else RpcError(text, Code.DEADLINE_EXCEEDED)) from None
