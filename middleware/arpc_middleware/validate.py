"""Bounds the sizes of bodies, method by method."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from fnmatch import fnmatchcase
from typing import Any, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import EncodeError, LimitExceeded
from arpc.middleware import Encoded, Layer, Next, Target

from .refusing import check_count, refused

__all__ = ["Validate"]

Limits = int | tuple[int | None, int | None] | None


class Validate(Layer):
    """Refuses requests of over ``max_request`` bytes before they are decoded, and answers of over ``max_answer`` bytes,
    with the code ``resource_exhausted``.

    ``methods`` has limits for methods by name or pattern (``"/files/*"``; a name goes before patterns, of which the
    first counts): bytes of a request, or ``(request, answer)``, None for no limit; an int leaves the answer to
    ``max_answer``. Items of streams are bounded by the option ``max_item``.
    """

    def __init__(
        self,
        max_request: int | None = None,
        max_answer: int | None = None,
        *,
        methods: Mapping[str, Limits] | None = None,
    ) -> None:
        if methods is not None and not isinstance(cast(object, methods), Mapping):
            raise TypeError(f"methods maps methods, or patterns, to their limits, and is no {type(methods).__name__}")
        self._default = (max_request, max_answer)
        self._methods = {method: self._pair(method, given) for method, given in (methods or {}).items()}
        for name, value in (("max_request", max_request), ("max_answer", max_answer)):
            if value is not None:
                check_count(name, value, 0)
        if self._default == (None, None) and not self._methods:
            raise ValueError("Validate limits nothing: give max_request=, max_answer= (bytes) or methods={...}")

    def _pair(self, method: str, given: Limits) -> tuple[int | None, int | None]:
        if given is None:
            return None, None
        name = f"methods[{method!r}]"
        if not isinstance(given, tuple):
            check_count(name, given, 0)
            return given, self._default[1]
        if len(given) != 2:
            raise ValueError(f"{name} is bytes, (bytes of a request, bytes of an answer), or None, not {given!r}")
        for value in given:
            if value is not None:
                check_count(name, value, 0)
        return given

    def _limits(self, method: str) -> tuple[int | None, int | None]:
        if method in self._methods:
            return self._methods[method]
        return next((pair for known, pair in self._methods.items() if fnmatchcase(method, known)), self._default)

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream":
            return call_next
        request, answer = self._limits(target.method)
        chain = call_next
        if answer is not None:
            chain = _small_answers(chain, answer) if target.outgoing else _encoded(chain, target, answer)
        return chain if request is None else _small_requests(chain, request)


def _small_requests(call_next: Next, limit: int) -> Next:
    def check(ctx: Context) -> Coroutine[Any, Any, Any]:
        size = len(ctx.body)
        if size > limit:
            text = f"the request of {ctx.method} has {size} bytes, over its limit of {limit}"
            raise refused(ctx, text, Code.RESOURCE_EXHAUSTED, limit=limit, size=size)
        return call_next(ctx)

    return check


def _encoded(call_next: Next, target: Target, limit: int) -> Next:
    """Around a handler: its result is encoded here, and not again."""

    async def check(ctx: Context) -> Any:
        result = await call_next(ctx)
        if ctx.kind == "notify":
            return result  # which nobody gets
        if result.__class__ is not Encoded:
            try:
                result = Encoded(target.encode(result))
            except EncodeError:
                return result  # who answers finds that, too, and says so
        if len(result.data) > limit:
            text = _too_large(ctx, len(result.data), limit)
            raise refused(ctx, text, Code.RESOURCE_EXHAUSTED, limit=limit, size=len(result.data))
        return result

    return check


def _small_answers(call_next: Next, limit: int) -> Next:
    """Around a call: what comes is a body."""

    async def check(ctx: Context) -> Any:
        answer = await call_next(ctx)
        if answer is not None and len(answer) > limit:
            raise LimitExceeded(_too_large(ctx, len(answer), limit))
        return answer

    return check


def _too_large(ctx: Context, size: int, limit: int) -> str:
    return f"the answer of {ctx.method} has {size} bytes, over its limit of {limit}; the call was executed"
