"""Handlers by name. Client and server register on a router alike, and one router may serve several endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, overload

from .codecs import Codec
from .errors import RegistrationError
from .handler import Handler
from .middleware import FALLBACK, Middleware, checked
from .options import is_time
from .registered import evaluated, method_name, own_codec
from .service import callers_names, methods_of, middleware_of
from .streaming import StreamingHandler, streams_items

__all__ = ["Mounted", "Router", "Served"]

F = TypeVar("F", bound=Callable[..., Any])


Served = Handler | StreamingHandler


class Mounted(NamedTuple):
    """A handler where it stands: with what its router, and those around that, put around it."""

    handler: Served
    middleware: tuple[Middleware, ...]
    """Outermost first, the handler's own last."""
    codec: Codec | None
    """The nearest one that was said; None for the endpoint's."""


class Router:
    """Holds handlers. What is registered later is served, too, by endpoints that already run.

    ``@router.handle("/name")`` registers for calls and notifies, ``@router.stream("/name")`` for streams,
    ``router.include`` mounts another router, ``router.register`` serves an object's methods, ``@router.fallback``
    serves whatever else is called.

    ``middleware``: stands around every handler of this router and of those that it includes, inside of the endpoint's
    and outside of theirs. ``codec``: a name or an object, for handlers that say none, in place of the endpoint's.
    """

    def __init__(self, *, middleware: Iterable[Middleware] = (), codec: str | Codec | None = None) -> None:
        self._middleware = checked(middleware)
        self._codec = own_codec(codec)
        self._handlers: dict[str, Served] = {}
        self._included: list[tuple[str, Router]] = []
        self._fallback: Handler | None = None
        self._version = 0

    def handle(
        self,
        method: str,
        *,
        threaded: bool = False,
        ordered: bool = False,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
    ) -> Callable[[F], F]:
        """Registers the decorated function for ``method`` (1 to 127 bytes of UTF-8).

        ``async def`` handlers run concurrently; plain ones run on the event loop and must not block, or with
        ``threaded=True`` in a thread. ``ordered=True``: messages of one connection for all ordered handlers are served
        one after another, in the order in which they came; an ordered handler that calls its peer back must not cause
        another ordered message to itself and wait for it. An async generator, and one that takes an ``AsyncIterator``,
        is registered as :meth:`stream` does it.

        ``middleware``: stands around this handler alone, inside of all others. ``codec``: a name or an object, in place
        of the router's or the endpoint's; callers say the same. Raises :class:`~arpc.RegistrationError`.
        """
        _check_kind(method, str, 'write @router.handle("/name"): a method is a string')
        scope = callers_names()

        def register(function: F) -> F:
            if _streams(function, scope):
                if threaded or ordered:
                    raise RegistrationError(f"handler {method!r} serves streams: it cannot be threaded nor ordered")
                self._add(method, StreamingHandler(method, function, middleware=middleware, codec=codec, scope=scope))
            else:
                made = Handler(
                    method,
                    function,
                    threaded=threaded,
                    ordered=ordered,
                    middleware=middleware,
                    codec=codec,
                    scope=scope,
                )
                self._add(method, made)
            return function

        return register

    def stream(
        self,
        method: str,
        *,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
    ) -> Callable[[F], F]:
        """Registers the decorated function for streams of ``method`` (1 to 127 bytes of UTF-8); it is an ``async def``.

        It takes a :class:`~arpc.Stream`; or it is an async generator, whose items are sent; or it takes an
        ``AsyncIterator`` of the items that come, and what it returns is sent. The last two may take a body, which is
        the first item, and may be combined. When it returns, whatever is open is ended; when it raises, the stream is
        reset.

        ``timeout``: seconds that a stream may take; ``idle_timeout``: seconds without any item, either way, after which
        it is reset (default: the option ``stream_idle_timeout``). ``middleware`` and ``codec`` as for :meth:`handle`.
        Raises :class:`~arpc.RegistrationError`.
        """
        _check_kind(method, str, 'write @router.stream("/name"): a method is a string')
        for name, value in (("timeout", timeout), ("idle_timeout", idle_timeout)):
            if value is not None and not is_time(value):
                raise RegistrationError(f"{name} is seconds above 0, or None, not {value!r}")
        scope = callers_names()

        def register(function: F) -> F:
            made = StreamingHandler(
                method,
                function,
                timeout=timeout,
                idle_timeout=idle_timeout,
                middleware=middleware,
                codec=codec,
                scope=scope,
            )
            self._add(method, made)
            return function

        return register

    @overload
    def fallback(self, function: F) -> F: ...

    @overload
    def fallback(self) -> Callable[[F], F]: ...

    def fallback(self, function: F | None = None) -> F | Callable[[F], F]:
        """Registers the function that serves every method for which there is no handler; ``ctx.method`` names it."""
        if function is None:
            return self.fallback
        if self._fallback is not None:
            raise RegistrationError(f"there is a fallback already: {self._fallback.function!r}")
        scope = callers_names()
        if _streams(function, scope):
            raise RegistrationError("a fallback serves calls and notifies; streams have no fallback")
        self._fallback = Handler(FALLBACK, function, scope=scope)
        self._version += 1
        return function

    def include(self, other: Router, prefix: str = "") -> None:
        """Serves another router's handlers, its fallback too, with ``prefix`` put before their methods.

        Handlers that ``other`` gets later are served as well.
        """
        _check_kind(other, Router, "a router includes routers")
        _check_kind(prefix, str, "a prefix is a string")
        if other is self or any(inner is self for inner in other._routers()):
            raise RegistrationError("a router cannot include itself")
        taken = self.handlers().keys() & {prefix + name for name in other.handlers()}
        if taken:
            raise RegistrationError(f"registered already: {', '.join(sorted(taken))}")
        method_name(prefix + "x")
        for name in other.handlers():
            method_name(prefix + name)
        self._included.append((prefix, other))
        self._version += 1

    def register(
        self,
        service: object,
        *,
        name: str | None = None,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
    ) -> None:
        """Serves every method of ``service`` that is marked ``@arpc.rpc``, as ``Name.method``.

        Name is that of the class that marked it, so an implementation is served under its interface's name;
        ``name=`` sets another. ``middleware`` stands around each of its methods, outside of those that
        ``@arpc.rpc(middleware=...)`` gives to one; ``codec`` as for :meth:`handle`.
        """
        if isinstance(service, type):
            raise RegistrationError(f"register an object, not its class: {service.__name__}(...)")
        found = methods_of(type(service))
        if not found:
            raise RegistrationError(f"{type(service).__name__} has no method that is marked @arpc.rpc")
        scope = callers_names()
        made: list[Served] = []
        around = checked(middleware)
        for attribute, owner in found.items():
            function = getattr(service, attribute)
            kind = StreamingHandler if _streams(function, scope) else Handler
            own = (*around, *middleware_of(type(service), attribute))
            made.append(kind(f"{name or owner}.{attribute}", function, middleware=own, codec=codec, scope=scope))
        for handler in made:
            if handler.context is not None:
                raise RegistrationError(f"{handler.name} takes a Context: in a service arpc.current() is the context")
            self._check(handler.name)
        for handler in made:
            self._add(handler.name, handler)

    def handlers(self) -> dict[str, Mounted]:
        """Every handler by its full method, included routers' too; of two with one name the one that is nearer."""
        merged: dict[str, Mounted] = {}
        for prefix, other in reversed(self._included):
            merged.update((prefix + name, self._around(mounted)) for name, mounted in other.handlers().items())
        return merged | {name: self._mount(handler) for name, handler in self._handlers.items()}

    def fallbacks(self) -> Iterator[tuple[str, Mounted]]:
        """Fallbacks with the prefix that they serve, the longest prefix first."""
        found = [("", self._mount(self._fallback))] if self._fallback is not None else []
        for prefix, other in self._included:
            found += [(prefix + rest, self._around(mounted)) for rest, mounted in other.fallbacks()]
        return iter(sorted(found, key=lambda entry: -len(entry[0])))

    def _mount(self, handler: Served) -> Mounted:
        return Mounted(handler, (*self._middleware, *handler.middleware), handler.codec or self._codec)

    def _around(self, mounted: Mounted) -> Mounted:
        handler, middleware, codec = mounted
        return Mounted(handler, (*self._middleware, *middleware), codec or self._codec)

    @property
    def version(self) -> int:
        """Grows with every registration, here and in included routers."""
        return self._version + sum(other.version for _, other in self._included)

    def _routers(self) -> Iterator[Router]:
        for _, other in self._included:
            yield other
            yield from other._routers()

    def _check(self, method: str) -> None:
        method_name(method)
        if method in self.handlers():
            raise RegistrationError(f"registered already: {method}")

    def _add(self, method: str, handler: Served) -> None:
        self._check(method)
        self._handlers[method] = handler
        self._version += 1


def _check_kind(value: object, kind: type, why: str) -> None:
    if not isinstance(value, kind):
        raise RegistrationError(f"{why}, not {value!r}")


def _streams(function: Callable[..., Any], scope: dict[str, Any]) -> bool:
    try:
        annotations = evaluated(function, scope)
    except Exception:  # its handler will say so
        annotations = {}
    return streams_items(function, annotations)
