"""Handlers of streams, and what they are compiled to for one endpoint.

Three shapes, all plain Python: one that takes a :class:`~arpc.Stream`; an async generator, whose items are the answers;
one that takes an ``AsyncIterator[T]``, which brings the caller's items. Of the last two the other parameters are the
body, which is the first item (none: an empty body); what the last one returns is its only answer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from inspect import Parameter, isasyncgenfunction
from typing import Any, NamedTuple, NoReturn, Protocol, cast, get_args, get_origin

from .bodies import body_decoder
from .codecs import Codec
from .codes import Code
from .context import StreamContext
from .errors import RpcError
from .handler import INLINE, Known, Route, RunInThread, Source, arguments_of, bad_result, kinds
from .middleware import NOBODY, Census, Middleware, Target, compose
from .registered import ITERATORS, Registered, called_by, is_stream

__all__ = ["StreamRoute", "StreamingHandler", "streams_items"]


class Items(Protocol):
    """A stream, as far as what is compiled here needs to know it."""

    def __aiter__(self) -> Items: ...

    def __anext__(self) -> Coroutine[Any, Any, Any]: ...

    async def body(self) -> bytes:
        """The first item as it came."""
        ...

    async def send(self, item: Any) -> None: ...

    async def end(self) -> None: ...


class StreamSource(Source, Protocol):
    """Where a stream's handler gets its context."""

    def context(self) -> StreamContext: ...


class StreamRoute(NamedTuple):
    """What an endpoint runs for each stream of a method."""

    run: Callable[[Any, Any], Coroutine[Any, Any, Any]]
    """From a stream and a source of its context to the handler's coroutine."""
    decode: Callable[[bytes], Any] | None
    """From an item's data to an item; None takes it as it is."""
    sends: tuple[type, ...] | None
    """What items that are sent must be, if that can be checked."""
    handler: StreamingHandler
    method: bytes
    """The one copy of its name that all its streams share."""
    codec: Codec


class StreamingHandler(Registered):
    """A function that serves the streams of one method, as it was registered."""

    __slots__ = ("generates", "idle_timeout", "items", "stream", "timeout")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        middleware: Iterable[Middleware] = (),
        codec: str | Codec | None = None,
        scope: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, function, scope, middleware, codec)
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        self.generates = isasyncgenfunction(function) or isasyncgenfunction(called_by(function))
        self.stream: Parameter | None = None
        self.items: Parameter | None = None
        for parameter in list(self.body):
            if is_stream(parameter.annotation):
                self._take("stream", parameter)
            elif get_origin(parameter.annotation) in ITERATORS or parameter.annotation in ITERATORS:
                self._take("items", parameter)
        if self.stream is not None and (self.items is not None or self.body or self.generates):
            self.refuse("takes a Stream: then it takes nothing else but a Context, and yields nothing")
        if any(p.kind is p.POSITIONAL_ONLY for p in self.parameters):
            self.refuse("has positional-only parameters: leave out the '/'")
        if self.generates and self.result is not Any and (get_origin(self.result) or self.result) not in ITERATORS:
            self.refuse(f"yields items, and says that it returns {self.result}: write AsyncIterator[...]")
        if not self.generates:
            if not self.is_async:
                self.refuse("serves streams, and is no async def")
            self._check_taken()

    def _take(self, kind: str, parameter: Parameter) -> None:
        if getattr(self, kind) is not None:
            self.refuse(f"takes two of {parameter.annotation}; one is enough")
        setattr(self, kind, parameter)
        self.body.remove(parameter)

    def _check_taken(self) -> None:
        if self.stream is None and self.items is None:
            self.refuse("takes no stream: annotate a parameter with arpc.Stream[...], or yield items")

    @property
    def produces(self) -> bool:
        """It yields, and reads nothing: when nobody wants its items any more it does not find out by itself."""
        return self.generates and self.items is None

    def compile(
        self,
        codec: Codec,
        run_in_thread: RunInThread,
        middleware: Sequence[Middleware] = (),
        endpoint: Census = NOBODY,
        method: str = "",
    ) -> Route:
        """What answers those who call this method in place of opening a stream."""

        def start(source: Source, data: bytes) -> NoReturn:
            raise RpcError(f"{self.name} serves streams, not calls: open one", Code.UNIMPLEMENTED)

        return start, _no_answer, INLINE, self

    def compile_stream(
        self, method: bytes, codec: Codec, middleware: Sequence[Middleware] = (), endpoint: Census = NOBODY
    ) -> StreamRoute:
        """What an endpoint runs for each stream. RegistrationError if this codec cannot serve the types."""
        received, sent = self._types()
        try:
            decode = None if received is bytes else body_decoder(codec, received)
            read = arguments_of(self, codec)
        except TypeError as error:
            self.refuse(f"cannot be served with the {codec.name} codec: {error}")
        if self.stream is not None:
            run = _with_stream(self, self.stream.name)
        else:
            run = _with_items(self, read)
        if middleware:
            run = _chained(run, middleware, Target(method.decode(), "stream", False, _no_answer, endpoint))
        return StreamRoute(run, decode, kinds_of(sent), self, method, codec)

    def _types(self) -> tuple[Any, Any]:
        """The types of items that come in, and of those that go out."""
        if self.stream is not None:
            given = get_args(self.stream.annotation)
            return given if len(given) == 2 else (Any, Any)
        received = _item_of(self.items.annotation) if self.items is not None else bytes
        return received, _item_of(self.result) if self.generates else self.result


def streams_items(function: Any, annotations: dict[str, Any]) -> bool:
    """Whether a function with these annotations serves streams by what it takes and how it answers."""
    if isasyncgenfunction(function) or isasyncgenfunction(called_by(function)):
        return True
    return any(
        is_stream(kind) or kind in ITERATORS or get_origin(kind) in ITERATORS
        for name, kind in annotations.items()
        if name != "return"
    )


def kinds_of(annotation: Any) -> tuple[type, ...] | None:
    """What items of that type must be one of, if that can be checked."""
    found: Any = kinds(annotation)
    if found is None:
        return None
    return cast("tuple[type, ...]", found) if isinstance(found, tuple) else (found,)


def _item_of(annotation: Any) -> Any:
    return (get_args(annotation) or (Any,))[0]


def _with_stream(handler: StreamingHandler, name: str) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
    function, context = handler.function, handler.context
    if context is None:
        return lambda stream, source: function(**{name: stream})
    known = context.name
    return lambda stream, source: function(**{name: stream, known: source.context()})


def _with_items(
    handler: StreamingHandler, read: Callable[[Source, bytes], dict[str, Any]]
) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
    function, takes_body = handler.function, bool(handler.body)
    items = handler.items.name if handler.items is not None else None
    expected = None if handler.generates else kinds(handler.result)

    def call(stream: Items, source: StreamSource, body: bytes) -> Any:
        arguments = read(source, body)
        if items is not None:
            arguments[items] = stream
        return function(**arguments)

    async def generate(stream: Items, source: StreamSource) -> None:
        async with aclosing(call(stream, source, await stream.body() if takes_body else b"")) as answers:
            async for answer in answers:
                await stream.send(answer)
        await stream.end()

    async def give(stream: Items, source: StreamSource) -> None:
        answer = await call(stream, source, await stream.body() if takes_body else b"")
        if expected is not None and not isinstance(answer, expected):
            raise bad_result(handler, answer)
        if answer is not None:
            await stream.send(answer)
        await stream.end()

    return generate if handler.generates else give


def _no_answer(value: Any) -> bytes:
    return b""


def _chained(
    run: Callable[[Any, Any], Coroutine[Any, Any, Any]], middleware: Sequence[Middleware], target: Target
) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
    """The handler as the innermost of a chain."""

    async def innermost(context: Any) -> Any:
        return await run(context.stream, Known(context))

    chain = compose(middleware, innermost, target)

    async def begin(stream: Any, source: StreamSource) -> Any:
        return await chain(source.context())  # in the stream's task: a chain may raise where it is called

    return begin
