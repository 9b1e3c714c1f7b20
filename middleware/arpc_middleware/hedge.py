"""Asks a second time when the answer is late, and takes the one that comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, cast

from arpc.context import Context
from arpc.errors import CallRefused, RemoteError
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time
from arpc.outgoing import Outgoing

from .matching import matching
from .retry import may_repeat

__all__ = ["Hedge"]


class Hedge(Layer):
    """Sends a call once more when no answer has come after ``delay`` seconds (above 0), at most ``most`` times in all.

    It stands around what goes out, for the methods named (or patterns such as ``"/get*"``), which must do no harm when
    they are executed several times at once. The first good answer wins; the others are cancelled, over there, too.

    An attempt that fails in a way that another might not (what :class:`Retry` would send again) makes the next one
    begin at once, unless its error says ``retry_after``; that error is raised when no attempt is left. Any other error
    ends the call, and so does the caller's deadline.
    """

    incoming = False

    def __init__(self, delay: float, *, most: int = 2, methods: Iterable[str]) -> None:
        if not is_time(delay):
            raise ValueError(f"delay is seconds above 0, not {delay!r}")
        if isinstance(most, bool) or not isinstance(cast(object, most), int) or most < 2:
            raise ValueError(f"most is how often a call may be sent, a whole number of 2 or more, not {most!r}")
        self._delay = delay
        self._most = most
        self._matches = matching(methods, "methods")

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream" or not self._matches(target.method):
            return call_next

        def hedged(ctx: Any) -> Coroutine[Any, Any, Any]:
            return call_next(ctx) if ctx.kind == "notify" else self._ask(call_next, ctx)

        return cast(Callable[[Context], Coroutine[Any, Any, Any]], hedged)

    async def _ask(self, call_next: Next, ctx: Outgoing) -> Any:
        loop = asyncio.get_running_loop()
        running: dict[asyncio.Task[Any], Outgoing] = {}
        started, again_at = 0, 0.0
        try:
            while True:
                if not running or (started < self._most and loop.time() >= again_at):
                    attempt = ctx.attempt()
                    running[loop.create_task(_attempt(call_next, attempt), name=f"arpc {ctx.method}")] = attempt
                    started, again_at = started + 1, loop.time() + self._delay
                left = again_at - loop.time() if started < self._most else None
                await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                ended = [task for task in running if task.done()]
                for task in ended:
                    if not task.cancelled() and task.exception() is None:
                        ctx.answer_metadata.update(running[task].answer_metadata)
                        return task.result()
                for task in ended:
                    del running[task]
                    error = _error_of(task)
                    if not may_repeat(error) or ctx.peer.closed or ctx.remaining() == 0:
                        raise error
                    if isinstance(error, (RemoteError, CallRefused)) and error.retry_after is not None:
                        started = self._most
                    if started == self._most and not running:
                        raise error
                    again_at = 0.0
        finally:
            await _end(running)


async def _attempt(call_next: Next, attempt: Outgoing) -> Any:
    try:
        answer = await call_next(attempt)
    except BaseException as error:
        attempt.end(error)
        raise
    attempt.end(None, len(answer))
    return answer


def _error_of(task: asyncio.Task[Any]) -> BaseException:
    """What a task that has no result has raised."""
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    assert error is not None
    return error


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels those that run still, and returns when none does. Nobody asks any more what became of them."""
    running = [task for task in tasks if task.cancel()]
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # or its loss would be reported
    if running:
        await asyncio.gather(*running, return_exceptions=True)
