"""The contract of a middleware, and the way to the middlewares themselves.

They live in the package ``arpc_middleware`` and are loaded when first used: ``from arpc.middleware import Timeout``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .context import Context
from .errors import RegistrationError

if TYPE_CHECKING:
    from arpc_middleware import Timeout

__all__ = ["Middleware", "Next", "Timeout", "compose"]

Next = Callable[[Context], Coroutine[Any, Any, Any]]
"""The rest of the chain: what it returns is the handler's result, what it raises is answered as an error."""


class Middleware(Protocol):
    """Stands around every handler of an endpoint: ``async def mw(ctx, call_next)``, or an object with such a call."""

    def __call__(self, ctx: Context, call_next: Next, /) -> Coroutine[Any, Any, Any]:
        """Returns the result for the caller: that of ``await call_next(ctx)``, or another; or raises."""
        ...


def compose(middleware: Sequence[Middleware], innermost: Next) -> Next:
    """One function out of a chain, the first middleware outermost. RegistrationError for what is no middleware."""
    chain = innermost
    for one in reversed(middleware):
        called: Any = one if inspect.isroutine(one) else type(one).__call__
        if not inspect.iscoroutinefunction(called):
            raise RegistrationError(f"a middleware is an async def (ctx, call_next), or calls like one: {one!r}")
        chain = _around(one, chain)
    return chain


def _around(middleware: Middleware, call_next: Next) -> Next:
    return lambda ctx: middleware(ctx, call_next)


def __getattr__(name: str) -> Any:
    if name in __all__:
        import arpc_middleware

        return getattr(arpc_middleware, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
