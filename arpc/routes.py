"""A router compiled for one endpoint: what is run for each message and stream of a method."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from .codecs import Codec
from .errors import RegistrationError
from .frame import MAX_METHOD
from .handler import MissingHandler, Route, RunInThread
from .middleware import NOBODY, Census, Middleware
from .registered import method_name
from .router import Mounted, Router
from .streaming import StreamingHandler, StreamRoute

__all__ = ["Routes"]

log = logging.getLogger("arpc")

_missing: Final = MissingHandler()


class Routes(dict[bytes, Route]):
    """A router compiled for one endpoint: one look-up by the wire's method bytes."""

    __slots__ = (
        "_codec",
        "_endpoint",
        "_fallbacks",
        "_middleware",
        "_router",
        "_run_in_thread",
        "_streams",
        "_version",
    )

    def __init__(
        self,
        router: Router,
        codec: Codec,
        run_in_thread: RunInThread,
        middleware: Sequence[Middleware] = (),
        endpoint: Census = NOBODY,
    ) -> None:
        self._router = router
        self._codec = codec
        self._run_in_thread = run_in_thread
        self._middleware = middleware
        self._endpoint = endpoint
        self._version = router.version
        self._streams: dict[bytes, StreamRoute] = {}
        for name, mounted in router.handlers().items():
            self._compile(name, mounted)
        self._fallbacks = [(prefix.encode(), self._route("", mounted)) for prefix, mounted in router.fallbacks()]

    def stream(self, method: bytes) -> StreamRoute | None:
        """What serves the streams of this method, if anything does."""
        if self._version != self._router.version:
            self._catch_up()
        return self._streams.get(method)

    def _compile(self, name: str, mounted: Mounted) -> None:
        method = method_name(name)
        self[method] = self._route(name, mounted)
        handler, middleware, codec = mounted
        if isinstance(handler, StreamingHandler):
            chain = (*self._middleware, *middleware)
            self._streams[method] = handler.compile_stream(method, codec or self._codec, chain, self._endpoint)

    def _route(self, name: str, mounted: Mounted) -> Route:
        handler, middleware, codec = mounted
        chain = (*self._middleware, *middleware)
        return handler.compile(codec or self._codec, self._run_in_thread, chain, self._endpoint, name)

    def _catch_up(self) -> None:
        """Compiles what was registered since. What cannot be served here is logged, and not served."""
        self._version = self._router.version
        for name, mounted in self._router.handlers().items():
            try:
                self._compile(name, mounted)
            except RegistrationError as error:
                log.error("%s is not served: %s", name, error)
        fallbacks: list[tuple[bytes, Route]] = []
        for prefix, mounted in self._router.fallbacks():
            try:
                fallbacks.append((prefix.encode(), self._route("", mounted)))
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
