"""Hands what handlers raise to an error reporter."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import RpcError
from arpc.middleware import Layer, Next, Target

__all__ = ["Recover"]

REPORTED: Final = "arpc.reported"
"""In ``ctx.state``: the exception of this message that an inner Recover has reported."""

log = logging.getLogger("arpc")


class Recover(Layer):
    """Calls ``report(ctx, error)`` for what a handler raises and did not mean as an answer.

    Then the exception goes on: its caller gets a generic text, and it is logged with its traceback, as without this.
    RpcError is an answer, and so is, for a stream, an item of the caller's that cannot be read, a timeout, or the end
    of the stream; a cancellation is nobody's fault. None of these is reported, nor what is an instance of ``ignore``.

    ``report`` runs in the handler's task, with the context variables as the handler left them. If it is async the
    answer waits for it. What it raises is logged. Of several of these around a handler the innermost reports.
    """

    outgoing = False

    def __init__(
        self,
        report: Callable[[Context, BaseException], object | Awaitable[object]],
        *,
        ignore: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> None:
        if not callable(cast(object, report)):
            raise TypeError(f"report is called with a context and an exception, and {report!r} cannot be called")
        kinds = ignore if isinstance(ignore, tuple) else (ignore,)
        for kind in cast("tuple[object, ...]", kinds):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"ignore is a class of exceptions, or a tuple of such, and {kind!r} is none")
        self._report = report
        self._answers: tuple[type[BaseException], ...] = (RpcError, *kinds)

    def wrap(self, call_next: Next, target: Target) -> Next:
        answers, tell = self._answers, self._tell

        async def watched(ctx: Context) -> Any:
            try:
                return await call_next(ctx)
            except Exception as error:
                if not isinstance(error, answers) and ctx.code_of(error) == Code.INTERNAL:
                    await tell(ctx, error)
                raise

        return watched

    async def _tell(self, ctx: Context, error: Exception) -> None:
        if ctx.state.get(REPORTED) is error:
            return
        ctx.state[REPORTED] = error
        ctx.on_end(_forget)
        try:
            result = self._report(ctx, error)
            if isawaitable(result):
                await result
        except Exception:  # the reporter's own: the handler's goes on
            log.exception("the report of what a handler of %s raised failed", ctx.method)


def _forget(ctx: Context, error: BaseException | None, size: int) -> None:
    """An exception that its own traceback can reach would wait for the garbage collector."""
    ctx.state.pop(REPORTED, None)
