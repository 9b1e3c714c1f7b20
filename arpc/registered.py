"""A function as it was registered: its name, and what its parameters and its result are."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Final, NoReturn, get_origin, get_type_hints

from .codecs import Codec, get_codec
from .context import Context
from .errors import LocalProtocolError, RegistrationError
from .frame import encode_method
from .middleware import Middleware, checked

log = logging.getLogger("arpc")

__all__ = ["ITERATORS", "Registered", "called_by", "evaluated", "is_stream", "method_name", "own_codec"]


ITERATORS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)
"""What brings items, where a parameter is annotated so, and yields them, where a result is."""


class Registered:
    """What handlers of messages and of streams have in common.

    Parameters: at most one annotated with :class:`~arpc.Context`; the others are the body, unless a subclass takes
    them.
    """

    __slots__ = (
        "_warned",
        "body",
        "codec",
        "context",
        "function",
        "is_async",
        "middleware",
        "name",
        "parameters",
        "result",
    )

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        scope: dict[str, Any] | None,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.middleware = checked(middleware)
        """Its own, innermost in every chain."""
        self.codec = own_codec(codec)
        """Its own, in place of the endpoint's."""
        self.is_async = _is_async(function)
        self.parameters: list[inspect.Parameter] = []
        self.body: list[inspect.Parameter] = []
        self.context: inspect.Parameter | None = None
        self.result: Any = Any
        self._warned = False
        self._inspect(scope)

    def refuse(self, why: str) -> NoReturn:
        """RegistrationError: this function cannot be served as it is."""
        raise RegistrationError(
            f"handler {self.name!r} ({getattr(self.function, '__qualname__', self.function)}) {why}"
        )

    def _inspect(self, scope: dict[str, Any] | None) -> None:
        function = self.function
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            self.refuse(f"has no signature that can be read: {error}")
        try:
            hints = evaluated(function, scope)
        except Exception as error:
            self.refuse(f"has annotations that cannot be evaluated: {error}")
        bound = _bound(function)
        for parameter in signature.parameters.values():
            if parameter.name in bound:
                continue  # given by functools.partial: no business of callers
            kind = hints.get(parameter.name, parameter.annotation)
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self.refuse(f"takes *{parameter.name}: name its parameters one by one")
            if kind is parameter.empty:
                self.refuse(
                    f"has no annotation on {parameter.name!r}: write its type, or Any for the codec's plain value"
                )
            parameter = parameter.replace(annotation=kind)
            self.parameters.append(parameter)
            if kind is not Context:
                self.body.append(parameter)
            elif self.context is not None:
                self.refuse("takes two Contexts; one is enough")
            else:
                self.context = parameter
        self.result = hints.get("return", Any)

    def warn_blocking(self, seconds: float) -> None:
        """Says once that this handler keeps the event loop from everything else."""
        if not self._warned:
            self._warned = True
            advice = "await something in it" if self.is_async else "register it with threaded=True"
            log.warning("handler %s blocked the event loop for %.0f ms: %s", self.name, seconds * 1000, advice)


def own_codec(codec: str | Codec | None) -> Codec | None:
    """The codec of that name, None for that of whoever is asked next. RegistrationError if there is none."""
    try:
        return None if codec is None else get_codec(codec)
    except (TypeError, ValueError) as error:
        raise RegistrationError(str(error)) from None


def method_name(method: str) -> bytes:
    """The wire's bytes of a method that is to be served. RegistrationError if it can have none."""
    try:
        return encode_method(method)
    except LocalProtocolError as error:
        raise RegistrationError(str(error)) from None


def is_stream(annotation: Any) -> bool:
    """Whether this is :class:`~arpc.Stream`, or one of its kinds."""
    return bool(getattr(get_origin(annotation) or annotation, "__arpc_stream__", False))


def evaluated(function: Any, scope: dict[str, Any] | None) -> dict[str, Any]:
    """The annotations of anything that can be called; ``scope``: local names that they may speak of."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    return get_type_hints(function, localns=scope, include_extras=True)


def called_by(function: Any) -> Any:
    """The function behind an object that can be called."""
    return function if inspect.isroutine(function) else type(function).__call__


def _is_async(function: Any) -> bool:
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called_by(function))


def _bound(function: Any) -> set[str]:
    """The parameters that partials have bound by keyword."""
    names: set[str] = set()
    while hasattr(function, "func"):
        names.update(function.keywords)
        function = function.func
    return names
