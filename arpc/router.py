"""Handlers by name. Client and server register on a router alike, and one router may serve several endpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, overload

from .codecs import Codec
from .errors import LocalProtocolError, RegistrationError
from .frame import MAX_METHOD, encode_method
from .handler import Handler, MissingHandler, Route, RunInThread
from .middleware import Middleware
from .options import is_time
from .registered import evaluated
from .service import callers_names, methods_of
from .streaming import StreamingHandler, StreamRoute, streams_items

__all__ = ["Router", "Routes"]

log = logging.getLogger("arpc")

F = TypeVar("F", bound=Callable[..., Any])


Served = Handler | StreamingHandler


class Router:
    """Holds handlers. What is registered later is served, too, by endpoints that already run.

    ``@router.handle("/name")`` registers for calls and notifies, ``@router.stream("/name")`` for streams,
    ``router.include`` mounts another router, ``router.register`` serves an object's methods, ``@router.fallback``
    serves whatever else is called.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Served] = {}
        self._included: list[tuple[str, Router]] = []
        self._fallback: Handler | None = None
        self._version = 0

    def handle(self, method: str, *, threaded: bool = False, ordered: bool = False) -> Callable[[F], F]:
        """Registers the decorated function for ``method`` (1 to 127 bytes of UTF-8).

        ``async def`` handlers run concurrently; plain ones run on the event loop and must not block, or with
        ``threaded=True`` in a thread. ``ordered=True``: messages of one connection for all ordered handlers are served
        one after another, in the order in which they came; an ordered handler that calls its peer back must not cause
        another ordered message to itself and wait for it. An async generator, and one that takes an ``AsyncIterator``,
        is registered as :meth:`stream` does it. Raises :class:`~arpc.RegistrationError`.
        """
        _check_kind(method, str, 'write @router.handle("/name"): a method is a string')
        scope = callers_names()

        def register(function: F) -> F:
            if _streams(function, scope):
                if threaded or ordered:
                    raise RegistrationError(f"handler {method!r} serves streams: it cannot be threaded nor ordered")
                self._add(method, StreamingHandler(method, function, scope=scope))
            else:
                self._add(method, Handler(method, function, threaded=threaded, ordered=ordered, scope=scope))
            return function

        return register

    def stream(
        self, method: str, *, timeout: float | None = None, idle_timeout: float | None = None
    ) -> Callable[[F], F]:
        """Registers the decorated function for streams of ``method`` (1 to 127 bytes of UTF-8); it is an ``async def``.

        It takes a :class:`~arpc.Stream`; or it is an async generator, whose items are sent; or it takes an
        ``AsyncIterator`` of the items that come, and what it returns is sent. The last two may take a body, which is
        the first item, and may be combined. When it returns, whatever is open is ended; when it raises, the stream is
        reset.

        ``timeout``: seconds that a stream may take; ``idle_timeout``: seconds without any item, either way, after which
        it is reset (default: the option ``stream_idle_timeout``). Raises :class:`~arpc.RegistrationError`.
        """
        _check_kind(method, str, 'write @router.stream("/name"): a method is a string')
        for name, value in (("timeout", timeout), ("idle_timeout", idle_timeout)):
            if value is not None and not is_time(value):
                raise RegistrationError(f"{name} is seconds above 0, or None, not {value!r}")
        scope = callers_names()

        def register(function: F) -> F:
            made = StreamingHandler(method, function, timeout=timeout, idle_timeout=idle_timeout, scope=scope)
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
        self._fallback = Handler("(fallback)", function, scope=scope)
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
        _checked(prefix + "x")
        for name in other.handlers():
            _checked(prefix + name)
        self._included.append((prefix, other))
        self._version += 1

    def register(self, service: object, *, name: str | None = None) -> None:
        """Serves every method of ``service`` that is marked ``@arpc.rpc``, as ``Name.method``.

        Name is that of the class that marked it, so an implementation is served under its interface's name;
        ``name=`` sets another.
        """
        if isinstance(service, type):
            raise RegistrationError(f"register an object, not its class: {service.__name__}(...)")
        found = methods_of(type(service))
        if not found:
            raise RegistrationError(f"{type(service).__name__} has no method that is marked @arpc.rpc")
        scope = callers_names()
        made: list[Served] = []
        for attribute, owner in found.items():
            function = getattr(service, attribute)
            kind = StreamingHandler if _streams(function, scope) else Handler
            made.append(kind(f"{name or owner}.{attribute}", function, scope=scope))
        for handler in made:
            if handler.context is not None:
                raise RegistrationError(f"{handler.name} takes a Context: in a service arpc.current() is the context")
            self._check(handler.name)
        for handler in made:
            self._add(handler.name, handler)

    def handlers(self) -> dict[str, Served]:
        """Every handler by its full method, included routers' too; of two with one name the one that is nearer."""
        merged: dict[str, Served] = {}
        for prefix, other in reversed(self._included):
            merged.update((prefix + name, handler) for name, handler in other.handlers().items())
        return merged | self._handlers

    def fallbacks(self) -> Iterator[tuple[str, Handler]]:
        """Fallbacks with the prefix that they serve, the longest prefix first."""
        found = [("", self._fallback)] if self._fallback is not None else []
        found += [(prefix + rest, h) for prefix, other in self._included for rest, h in other.fallbacks()]
        return iter(sorted(found, key=lambda entry: -len(entry[0])))

    @property
    def version(self) -> int:
        """Grows with every registration, here and in included routers."""
        return self._version + sum(other.version for _, other in self._included)

    def _routers(self) -> Iterator[Router]:
        for _, other in self._included:
            yield other
            yield from other._routers()

    def _check(self, method: str) -> None:
        _checked(method)
        if method in self.handlers():
            raise RegistrationError(f"registered already: {method}")

    def _add(self, method: str, handler: Served) -> None:
        self._check(method)
        self._handlers[method] = handler
        self._version += 1


def _check_kind(value: object, kind: type, why: str) -> None:
    if not isinstance(value, kind):
        raise RegistrationError(f"{why}, not {value!r}")


def _checked(method: str) -> bytes:
    try:
        return encode_method(method)
    except LocalProtocolError as error:
        raise RegistrationError(str(error)) from None


def _streams(function: Callable[..., Any], scope: dict[str, Any]) -> bool:
    try:
        annotations = evaluated(function, scope)
    except Exception:  # its handler will say so
        annotations = {}
    return streams_items(function, annotations)


_missing: Final = MissingHandler()


class Routes(dict[bytes, Route]):
    """A router compiled for one endpoint: one look-up by the wire's method bytes."""

    __slots__ = ("_codec", "_fallbacks", "_middleware", "_router", "_run_in_thread", "_streams", "_version")

    def __init__(
        self, router: Router, codec: Codec, run_in_thread: RunInThread, middleware: Sequence[Middleware] = ()
    ) -> None:
        self._router = router
        self._codec = codec
        self._run_in_thread = run_in_thread
        self._middleware = middleware
        self._version = router.version
        self._streams: dict[bytes, StreamRoute] = {}
        for name, handler in router.handlers().items():
            self._compile(name, handler)
        self._fallbacks = [(prefix.encode(), self._route(handler)) for prefix, handler in router.fallbacks()]

    def stream(self, method: bytes) -> StreamRoute | None:
        """What serves the streams of this method, if anything does."""
        if self._version != self._router.version:
            self._catch_up()
        return self._streams.get(method)

    def _compile(self, name: str, handler: Served) -> None:
        method = _checked(name)
        self[method] = self._route(handler)
        if isinstance(handler, StreamingHandler):
            self._streams[method] = handler.compile_stream(method, self._codec, self._middleware)

    def _route(self, handler: Served) -> Route:
        return handler.compile(self._codec, self._run_in_thread, self._middleware)

    def _catch_up(self) -> None:
        """Compiles what was registered since. What cannot be served here is logged, and not served."""
        self._version = self._router.version
        for name, handler in self._router.handlers().items():
            try:
                self._compile(name, handler)
            except RegistrationError as error:
                log.error("%s is not served: %s", name, error)
        fallbacks: list[tuple[bytes, Route]] = []
        for prefix, handler in self._router.fallbacks():
            try:
                fallbacks.append((prefix.encode(), self._route(handler)))
            except RegistrationError as error:
                log.error("the fallback is not served: %s", error)
        self._fallbacks = fallbacks

    def __missing__(self, method: bytes) -> Route:
        if not 0 < len(method) <= MAX_METHOD:
            return _missing.route_invalid(method)
        if self._version != self._router.version:
            self._catch_up()
            if method in self:
                return self[method]
        for prefix, route in self._fallbacks:
            if method.startswith(prefix):
                return route
        return _missing.compile(self._codec, self._run_in_thread)
