"""A registered function, and what it is compiled to for one endpoint: decode, call, encode, nothing left to find out.

Shapes: at most one parameter annotated with :class:`~arpc.Context`; of the others, none (the body must be empty), one
(the body), or several (the named fields of one object).
"""

from __future__ import annotations

import contextvars
import inspect
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, NoReturn, Protocol, cast, get_origin, is_typeddict

from .bodies import body_decoder, encode_body
from .codecs import Codec
from .codes import Code
from .context import Context
from .errors import METHOD_NOT_FOUND, DecodeError, EncodeError, RpcError
from .frame import MAX_METHOD
from .middleware import NOBODY, Census, Encoded, Middleware, Next, Target, compose
from .registered import Registered, called_by

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
Route = tuple[Start, Finish, int, Registered]


class Handler(Registered):
    """A function that serves one method, as it was registered."""

    __slots__ = ("ordered", "threaded")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        threaded: bool = False,
        ordered: bool = False,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
        scope: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, function, scope, middleware, codec)
        self.threaded = threaded
        self.ordered = ordered
        if threaded and self.is_async:
            self.refuse("is async and cannot be threaded=True: make it a plain def, or leave threaded out")
        if any(inspect.isgeneratorfunction(target) for target in (function, called_by(function))):
            self.refuse("is a generator; a handler returns its one answer, or yields several as an async def")
        if self.by_name and any(p.kind is p.POSITIONAL_ONLY for p in self.parameters):
            self.refuse("has positional-only parameters beside others that go by name: leave out the '/'")
        if get_origin(self.result) in (AsyncIterator, AsyncGenerator):
            self.refuse("returns an async iterator; yield the items, and it serves a stream of them")

    @property
    def by_name(self) -> bool:
        """The parameters are passed by name: none of them is the body itself, or some are keyword-only."""
        return len(self.body) != 1 or any(p.kind is p.KEYWORD_ONLY for p in self.parameters)

    def compile(
        self,
        codec: Codec,
        run_in_thread: RunInThread,
        middleware: Sequence[Middleware] = (),
        endpoint: Census = NOBODY,
        method: str = "",
    ) -> Route:
        """What an endpoint runs for each message of ``method``.

        RegistrationError if this codec cannot serve the types.
        """
        try:
            start = _compile_start(self, codec)
        except TypeError as error:
            self.refuse(f"cannot be served with the {codec.name} codec: {error}")
        mode = ASYNC if self.is_async else INLINE
        finish = _compile_finish(self, codec)
        if self.threaded:
            start, mode = _threaded(start, run_in_thread), ASYNC
        if middleware:
            target = Target(method or self.name, "message", False, lambda value: bytes(finish(value)), endpoint)
            start, mode = _chained(self, start, mode, middleware, target), ASYNC
            finish = _finish_chained(finish)
        return start, finish, mode + ORDERED if self.ordered else mode, self


class MissingHandler(Handler):
    """Stands for every method that nobody serves."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("(not found)", _not_served)

    def compile(
        self,
        codec: Codec,
        run_in_thread: RunInThread,
        middleware: Sequence[Middleware] = (),
        endpoint: Census = NOBODY,
        method: str = "",
    ) -> Route:
        def start(source: Source, data: bytes) -> NoReturn:
            raise RpcError(METHOD_NOT_FOUND, Code.UNIMPLEMENTED)

        return start, _no_answer, INLINE, self

    def route_invalid(self, method: bytes) -> Route:
        """The route of a method that the wire does not allow; the answer says why."""

        def start(source: Source, data: bytes) -> NoReturn:
            text = f"a method has 1 to {MAX_METHOD} bytes, this one has {len(method)} or is cut off"
            raise RpcError(text, Code.INVALID_ARGUMENT)

        return start, _no_answer, INLINE, self


def _not_served() -> None: ...


def _no_answer(value: Any) -> bytes:
    return b""


def bad_body(error: DecodeError) -> RpcError:
    """What a caller gets for a body that its handler cannot read."""
    return RpcError(f"invalid body: {error}", Code.INVALID_ARGUMENT)


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
    function, read = handler.function, arguments_of(handler, codec)
    return lambda source, data: function(**read(source, data))


def arguments_of(handler: Registered, codec: Codec) -> Callable[[Source, bytes], dict[str, Any]]:
    """From a body to the arguments of a function, by name. RpcError: what is wrong with a body."""
    context = handler.context.name if handler.context is not None else None
    names = [p.name for p in handler.body]
    read = _fields_decoder(handler, codec) if len(names) > 1 else None
    only = body_decoder(codec, handler.body[0].annotation) if len(names) == 1 else None
    optional = all(p.default is not p.empty for p in handler.body)

    def arguments(source: Source, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {} if context is None else {context: source.context()}
        try:
            if not names and data:
                raise DecodeError(f"expected an empty body, got {len(data)} bytes")
            if data or not optional:
                if read is not None:
                    value = read(data)
                    for name in names:
                        found[name] = getattr(value, name)
                elif only is not None:
                    found[names[0]] = only(data)
        except DecodeError as error:
            raise bad_body(error) from None
        return found

    return arguments


def _fields_decoder(handler: Registered, codec: Codec) -> Callable[[bytes], Any]:
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


class Known:
    """Where a handler inside a chain gets the context that the chain was given."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def context(self) -> Context:
        return self._context


def _chained(handler: Handler, start: Start, mode: int, middleware: Sequence[Middleware], target: Target) -> Start:
    """The handler as the innermost of a chain; its body is decoded there, so the chain may refuse it unread."""
    chain = compose(middleware, _innermost(handler, start, mode), target)
    return lambda source, data: chain(source.context())


def _innermost(handler: Handler, start: Start, mode: int) -> Next:
    if mode == ASYNC and handler.context is None:
        # Nobody asks where a context comes from, and what starts it is a coroutine: nothing is left to do around it.
        return lambda context: start(_NOWHERE, context.body)

    async def innermost(context: Context) -> Any:
        value = start(Known(context), context.body)
        return await value if mode == ASYNC or value.__class__ is types.CoroutineType else value

    return innermost


_NOWHERE: Final = cast(Source, None)


def _finish_chained(finish: Finish) -> Finish:
    def finish_chained(value: Any) -> bytes:
        if value.__class__ is Encoded:
            data = cast(object, value.data)
            if not isinstance(data, bytes):
                raise EncodeError(f"a middleware returned an Encoded of a {type(data).__name__}, which has bytes")
            return data
        try:
            return finish(value)
        except EncodeError as error:
            raise EncodeError(f"{error} (unless a middleware around it did)") from error.__cause__

    return finish_chained


def _compile_finish(handler: Handler, codec: Codec) -> Finish:
    expected = kinds(handler.result)
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
            raise bad_result(handler, value)
        return encode_body(codec, value)

    return finish_checked


def bad_result(handler: Registered, value: Any) -> EncodeError:
    """A handler returned something else than it says."""
    wanted = getattr(handler.result, "__name__", handler.result)
    return EncodeError(f"it returned a {type(value).__name__}, and its annotation says {wanted}")


def kinds(result: Any) -> Any:
    """What ``isinstance`` can check of a return annotation, or None."""
    if not isinstance(result, type) or result is Any or is_typeddict(result) or getattr(result, "_is_protocol", False):
        return None
    return {float: (float, int), bytes: (bytes, bytearray, memoryview)}.get(result, result)
