"""The contract of a middleware, and the way to the middlewares themselves.

They live in the package ``arpc_middleware`` and are loaded when first used: ``from arpc.middleware import Timeout``.

A chain is composed once for each method of an endpoint, never for a message, the first middleware outermost: those of
``serve`` or ``connect``, those of the routers from the outside in, those of the handler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Sized
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, cast

from .codes import Code
from .context import Context
from .errors import CallRefused, RegistrationError, RpcError

if TYPE_CHECKING:
    from arpc_middleware import (
        Auth,
        BearerToken,
        Cache,
        Certificates,
        CircuitBreaker,
        ConcurrencyLimit,
        Credential,
        Credentials,
        Graceful,
        Hedge,
        LoadShed,
        Logger,
        Metrics,
        Password,
        Passwords,
        RateLimit,
        Recover,
        Require,
        Retry,
        RetryBudget,
        Scheme,
        SignedTokens,
        Timeout,
        Tokens,
        Tracing,
        Validate,
        authenticate,
        hash_password,
    )

__all__ = [
    "Auth",
    "BearerToken",
    "Cache",
    "Certificates",
    "CircuitBreaker",
    "ConcurrencyLimit",
    "Credential",
    "Credentials",
    "Encoded",
    "Graceful",
    "Hedge",
    "Layer",
    "LoadShed",
    "Logger",
    "Metrics",
    "Middleware",
    "Next",
    "Password",
    "Passwords",
    "RateLimit",
    "Recover",
    "Require",
    "Retry",
    "RetryBudget",
    "Scheme",
    "SignedTokens",
    "Target",
    "Timeout",
    "Tokens",
    "Tracing",
    "Validate",
    "authenticate",
    "compose",
    "hash_password",
    "refusal",
]

Next = Callable[[Context], Coroutine[Any, Any, Any]]
"""The rest of the chain: what it returns is the handler's result, what it raises is answered as an error."""


class Around(Protocol):
    """A middleware as a function: ``async def mw(ctx, call_next)``, or an object with such a call."""

    def __call__(self, ctx: Context, call_next: Next, /) -> Coroutine[Any, Any, Any]:
        """Returns the result for the caller: that of ``await call_next(ctx)``, or another; or raises."""
        ...


class Encoded(NamedTuple):
    """A result that is a body already: a middleware may return it in place of a handler's result."""

    data: bytes


class Census(Protocol):
    """An endpoint, as far as a middleware may want to count what it has."""

    @property
    def connections(self) -> Sized:
        """Those that are open."""
        ...

    @property
    def streams(self) -> int:
        """Handlers of streams that run."""
        ...


@dataclass(frozen=True)
class Nobody:
    """The census of a chain that belongs to no endpoint."""

    connections: Sized = ()
    streams: int = 0


NOBODY: Final = Nobody()

FALLBACK: Final = "(fallback)"
"""What a chain around a fallback has in place of a method's name."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a chain is composed for: one method of one endpoint."""

    method: str
    """Its name; ``"(fallback)"`` where a fallback serves what has no name of its own."""
    kind: Literal["message", "stream"]
    """Calls and notifies share a chain, streams have another."""
    outgoing: bool
    """The chain stands around what this side sends, not around a handler."""
    encode: Callable[[Any], bytes]
    """From a result to the body of its answer; EncodeError. Around what goes out results are bodies already."""
    endpoint: Census = NOBODY


class Layer:
    """A middleware as a wrapper of handlers: what can be found out before there is a message is found out once.

    Subclass it and write :meth:`wrap`. ``incoming`` and ``outgoing`` say on which sides it may stand.
    """

    incoming = True
    """It may stand around handlers: ``middleware=``."""
    outgoing = True
    """It may stand around what this side sends: ``outgoing=``."""

    def wrap(self, call_next: Next, target: Target) -> Next:
        """A function from a context to a coroutine that stands around ``call_next``, or ``call_next`` itself.

        Called once for each method of each endpoint. The function may be a plain one that looks at the context and
        returns ``call_next(ctx)``: that costs no coroutine of its own.
        """
        raise NotImplementedError(f"{type(self).__name__} has no wrap()")


Middleware = Around | Layer


def compose(middleware: Iterable[Middleware], innermost: Next, target: Target) -> Next:
    """One function out of a chain, the first middleware outermost."""
    chain = innermost
    for one in reversed(tuple(middleware)):
        if not isinstance(one, Layer):
            chain = _around(one, chain)
            continue
        chain = one.wrap(chain, target)
        if not callable(cast(object, chain)):
            raise RegistrationError(f"{type(one).__name__}.wrap() returns a function or call_next, not {chain!r}")
    return chain


def _around(middleware: Around, call_next: Next) -> Next:
    return lambda ctx: middleware(ctx, call_next)


def checked(middleware: Iterable[Middleware], *, outgoing: bool = False) -> tuple[Middleware, ...]:
    """The same, as a tuple. RegistrationError for what is no middleware, or not one for this side."""
    given = cast(object, middleware)
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise RegistrationError(f"middleware is a list: [{middleware!r}]")
    found = tuple(middleware)
    for one in found:
        name = type(one).__name__
        if isinstance(one, Layer):
            if outgoing and not one.outgoing:
                raise RegistrationError(f"{name} stands around handlers: write middleware=[{name}(...)], not outgoing=")
            if not outgoing and not one.incoming:
                raise RegistrationError(f"{name} stands around what goes out: write outgoing=[{name}(...)]")
            continue
        called: Any = one if inspect.isroutine(one) else type(one).__call__
        if isinstance(one, type) or not inspect.iscoroutinefunction(called):
            made = f": make an object of it, {one.__name__}(...)" if isinstance(one, type) else ""
            raise RegistrationError(f"a middleware is an async def (ctx, call_next), or calls like one: {one!r}{made}")
    return found


def refusal(
    ctx: Context, message: str, code: Code, *, retry_after: float | None = None, **details: Any
) -> RpcError | CallRefused:
    """The error to raise for a message that a middleware does not let through.

    Around a handler it is answered; around what goes out the caller gets a :class:`~arpc.CallRefused`. ``details``, and
    ``retry_after`` in seconds, are for the caller.
    """
    if retry_after is not None:
        details["retry_after"] = ceil(retry_after * 1000) / 1000  # never too early
    kind = CallRefused if ctx.outgoing else RpcError
    return kind(message, code, details or None)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in __all__:
        import arpc_middleware

        return getattr(arpc_middleware, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
