"""A registered function, and what it is compiled to for one endpoint: decode, call, encode, nothing left to find out.

Shapes: at most one parameter annotated with :class:`~arpc.Context`; of the others, none (the body must be empty), one
(the body), or several (the named fields of one object).
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn, Protocol, get_origin, get_type_hints, is_typeddict

from .bodies import body_decoder, encode_body
from .codecs import Codec
from .context import Context
from .errors import METHOD_NOT_FOUND, DecodeError, EncodeError, RegistrationError, RpcError
from .frame import MAX_METHOD
from .middleware import Middleware, compose

log = logging.getLogger("arpc")

INLINE: Final = 0
ASYNC: Final = 1
ORDERED: Final = 2
"""Added to one of the others."""


class Source(Protocol):
    """Where a handler's context comes from, if it asks for one."""

    def context(self) -> Context: ...


Start = Callable[[Source, bytes], Any]
"""From a body to a result (INLINE) or to a coroutine that returns it (ASYNC). RpcError: what is wrong with a body."""
Finish = Callable[[Any], bytes]
"""From a result to the body of the answer. EncodeError if there is none."""
RunInThread = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a function with its arguments in a thread, and ends no sooner than it does."""
Route = tuple[Start, Finish, int, "Handler"]


class Handler:
    """A function that serves one method, as it was registered."""

    __slots__ = (
        "_warned",
        "body",
        "context",
        "function",
        "is_async",
        "name",
        "ordered",
        "parameters",
        "result",
        "threaded",
    )

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        threaded: bool = False,
        ordered: bool = False,
        scope: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.threaded = threaded
        self.ordered = ordered
        self.is_async = _is_async(function)
        self._warned = False
        if threaded and self.is_async:
            self._refuse("is async and cannot be threaded=True: make it a plain def, or leave threaded out")
        called = _called(function)
        if any(
            kind(target)
            for kind in (inspect.isasyncgenfunction, inspect.isgeneratorfunction)
            for target in (function, called)
        ):
            self._refuse("is a generator; a handler returns its one answer")
        self.parameters: list[inspect.Parameter] = []
        self.body: list[inspect.Parameter] = []
        self.context: inspect.Parameter | None = None
        self.result: Any = Any
        self._inspect(scope)

    def _refuse(self, why: str) -> NoReturn:
        raise RegistrationError(
            f"handler {self.name!r} ({getattr(self.function, '__qualname__', self.function)}) {why}"
        )

    def _inspect(self, scope: dict[str, Any] | None) -> None:
        function = self.function
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            self._refuse(f"has no signature that can be read: {error}")
        hints = self._hints(scope)
        bound = _bound(function)
        for parameter in signature.parameters.values():
            if parameter.name in bound:
                continue  # given by functools.partial: no business of callers
            kind = hints.get(parameter.name, parameter.annotation)
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._refuse(f"takes *{parameter.name}: name its parameters one by one")
            if kind is parameter.empty:
                self._refuse(
                    f"has no annotation on {parameter.name!r}: write its type, or Any for the codec's plain value"
                )
            parameter = parameter.replace(annotation=kind)
            self.parameters.append(parameter)
            if kind is not Context:
                self.body.append(parameter)
            elif self.context is not None:
                self._refuse("takes two Contexts; one is enough")
            else:
                self.context = parameter
        if self.by_name and any(p.kind is p.POSITIONAL_ONLY for p in self.parameters):
            self._refuse("has positional-only parameters beside others that go by name: leave out the '/'")
        self.result = hints.get("return", Any)
        if get_origin(self.result) in (AsyncIterator, AsyncGenerator):
            self._refuse("returns an async iterator; a handler returns its one answer")

    def _hints(self, scope: dict[str, Any] | None) -> dict[str, Any]:
        function: Any = self.function
        while hasattr(function, "func"):  # functools.partial
            function = function.func
        if not inspect.isroutine(function):
            function = type(function).__call__
        try:
            return get_type_hints(function, localns=scope, include_extras=True)
        except Exception as error:
            self._refuse(f"has annotations that cannot be evaluated: {error}")

    @property
    def by_name(self) -> bool:
        """The parameters are passed by name: none of them is the body itself, or some are keyword-only."""
        return len(self.body) != 1 or any(p.kind is p.KEYWORD_ONLY for p in self.parameters)

    def warn_blocking(self, seconds: float) -> None:
        """Says once that this handler keeps the event loop from everything else."""
        if not self._warned:
            self._warned = True
            advice = "await something in it" if self.is_async else "register it with threaded=True"
            log.warning("handler %s blocked the event loop for %.0f ms: %s", self.name, seconds * 1000, advice)

    def compile(self, codec: Codec, run_in_thread: RunInThread, middleware: Sequence[Middleware] = ()) -> Route:
        """What an endpoint runs for each message. RegistrationError if this codec cannot serve the types."""
        try:
            start = _compile_start(self, codec)
        except TypeError as error:
            self._refuse(f"cannot be served with the {codec.name} codec: {error}")
        mode = ASYNC if self.is_async else INLINE
        if self.threaded:
            start, mode = _threaded(start, run_in_thread), ASYNC
        if middleware:
            start, mode = _chained(start, mode, middleware), ASYNC
        return start, _compile_finish(self, codec), mode + ORDERED if self.ordered else mode, self


class MissingHandler(Handler):
    """Stands for every method that nobody serves."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("(not found)", _not_served)

    def compile(self, codec: Codec, run_in_thread: RunInThread, middleware: Sequence[Middleware] = ()) -> Route:
        def start(source: Source, data: bytes) -> NoReturn:
            raise RpcError(METHOD_NOT_FOUND)

        return start, _no_answer, INLINE, self

    def route_invalid(self, method: bytes) -> Route:
        """The route of a method that the wire does not allow; the answer says why."""

        def start(source: Source, data: bytes) -> NoReturn:
            raise RpcError(f"a method has 1 to {MAX_METHOD} bytes, this one has {len(method)} or is cut off")

        return start, _no_answer, INLINE, self


def _not_served() -> None: ...


def _no_answer(value: Any) -> bytes:
    return b""


def _is_async(function: Any) -> bool:
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_called(function))


def _bound(function: Any) -> set[str]:
    """The parameters that partials have bound by keyword."""
    names: set[str] = set()
    while hasattr(function, "func"):
        names.update(function.keywords)
        function = function.func
    return names


def _called(function: Any) -> Any:
    """The function behind an object that can be called."""
    return function if inspect.isroutine(function) else type(function).__call__


def bad_body(error: DecodeError) -> RpcError:
    """What a caller gets for a body that its handler cannot read."""
    return RpcError(f"invalid body: {error}", code="invalid_argument")


def _compile_start(handler: Handler, codec: Codec) -> Start:
    if handler.by_name:
        return _start_with_names(handler, codec)
    function, body, alone = handler.function, handler.body[0], handler.context is None
    decode = body_decoder(codec, body.annotation)
    if body.default is not body.empty:
        decode = _with_default(decode, body.default)
    elif body.annotation is bytes and alone:
        return lambda source, data: function(data)
    if alone:

        def start(source: Source, data: bytes) -> Any:
            try:
                value = decode(data)
            except DecodeError as error:
                raise bad_body(error) from None
            return function(value)

        return start
    body_first = handler.parameters[0] is body

    def start_with_context(source: Source, data: bytes) -> Any:
        try:
            value = decode(data)
        except DecodeError as error:
            raise bad_body(error) from None
        return function(value, source.context()) if body_first else function(source.context(), value)

    return start_with_context


def _start_with_names(handler: Handler, codec: Codec) -> Start:
    """No body parameter, or several: the named fields of one object; or parameters that go by keyword only."""
    function = handler.function
    context = handler.context.name if handler.context is not None else None
    names = [p.name for p in handler.body]
    read = _fields_decoder(handler, codec) if len(names) > 1 else None
    only = body_decoder(codec, handler.body[0].annotation) if len(names) == 1 else None
    optional = all(p.default is not p.empty for p in handler.body)

    def start(source: Source, data: bytes) -> Any:
        arguments: dict[str, Any] = {} if context is None else {context: source.context()}
        try:
            if not names and data:
                raise DecodeError(f"expected an empty body, got {len(data)} bytes")
            if data or not optional:
                if read is not None:
                    value = read(data)
                    for name in names:
                        arguments[name] = getattr(value, name)
                elif only is not None:
                    arguments[names[0]] = only(data)
        except DecodeError as error:
            raise bad_body(error) from None
        return function(**arguments)

    return start


def _fields_decoder(handler: Handler, codec: Codec) -> Callable[[bytes], Any]:
    try:
        return body_decoder(codec, fields_type(handler.body))
    except TypeError as error:
        raise TypeError(f"several parameters are the fields of one object; take one parameter ({error})") from error


def fields_type(parameters: list[inspect.Parameter]) -> type:
    """A type whose fields are those parameters, for bodies like ``{"a": 1, "b": 2}``."""
    from msgspec import defstruct, field

    def one(parameter: inspect.Parameter) -> Any:
        if parameter.default is parameter.empty:
            return parameter.name, parameter.annotation
        return parameter.name, parameter.annotation, field(default_factory=lambda: parameter.default)

    made = defstruct("Fields", [one(p) for p in parameters], kw_only=True, module=__name__)
    made.__name__ = f"an object with {', '.join(p.name for p in parameters)}"  # as errors call it
    return made


def _with_default(decode: Callable[[bytes], Any], default: Any) -> Callable[[bytes], Any]:
    return lambda data: decode(data) if data else default


def _threaded(start: Start, run_in_thread: RunInThread) -> Start:
    """Decoding and the function run in a thread, with the context variables of the message."""

    def enter(source: Source, data: bytes) -> Any:
        try:
            return start(source, data)
        except StopIteration as error:  # which a future cannot hold
            raise RuntimeError("a handler raised StopIteration") from error

    async def call(source: Source, data: bytes) -> Any:
        return await run_in_thread(contextvars.copy_context().run, enter, source, data)

    return call


class _Known:
    """Where a handler inside a chain gets the context that the chain was given."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def context(self) -> Context:
        return self._context


def _chained(start: Start, mode: int, middleware: Sequence[Middleware]) -> Start:
    """The handler as the innermost of a chain; its body is decoded there, so the chain may refuse it unread."""

    async def innermost(context: Context) -> Any:
        value = start(_Known(context), context.body)
        return await value if mode == ASYNC or value.__class__ is types.CoroutineType else value

    chain = compose(middleware, innermost)
    return lambda source, data: chain(source.context())


def _compile_finish(handler: Handler, codec: Codec) -> Finish:
    expected = _checked(handler.result)
    if expected is None:

        def finish(value: Any) -> bytes:
            return value if value.__class__ is bytes else encode_body(codec, value)

        return finish

    raw = handler.result is bytes

    def finish_checked(value: Any) -> bytes:
        if raw and value.__class__ is bytes:
            result: bytes = value
            return result
        if not isinstance(value, expected):
            wanted = getattr(handler.result, "__name__", handler.result)
            raise EncodeError(f"it returned a {type(value).__name__}, and its annotation says {wanted}")
        return encode_body(codec, value)

    return finish_checked


def _checked(result: Any) -> Any:
    """What ``isinstance`` can check of a return annotation, or None."""
    if not isinstance(result, type) or result is Any or is_typeddict(result) or getattr(result, "_is_protocol", False):
        return None
    return {float: (float, int), bytes: (bytes, bytearray, memoryview)}.get(result, result)
