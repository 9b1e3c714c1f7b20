"""Functions that serve streams: which of them can, and what they are compiled to. Over connections: tests/peer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest

import arpc
from arpc import Context, RegistrationError, Router, RpcError, Stream
from arpc.codecs import RawCodec
from arpc.context import StreamContext
from arpc.frame import STREAM, STREAM_LOCAL
from arpc.handler import INLINE, Handler
from arpc.routes import Routes
from arpc.streaming import StreamingHandler, StreamRoute, streams_items
from tests.unit.handling import JSON, in_thread, run


@dataclass
class Point:
    x: int


class Canned:
    """A stream whose items are known, and which keeps what is sent."""

    def __init__(self, *items: Any, body: bytes = b"") -> None:
        self._items = list(items)
        self._body = body
        self.sent: list[Any] = []

    def __aiter__(self) -> Canned:
        return self

    async def __anext__(self) -> Any:
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop(0)

    async def body(self) -> bytes:
        return self._body

    async def send(self, item: Any) -> None:
        self.sent.append(item)

    async def end(self) -> None:
        self.sent.append("END")


class Source:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def context(self) -> StreamContext:
        return StreamContext(cast("arpc.Peer", None), (STREAM | STREAM_LOCAL, 0, 0, 1, b"/it", b""), self._stream)


def compiled(function: Any, **options: Any) -> StreamRoute:
    return StreamingHandler("/it", function).compile_stream(b"/it", JSON, **options)


async def served(function: Any, stream: Canned, **options: Any) -> list[Any]:
    """What the handler has sent."""
    await compiled(function, **options).run(stream, Source(stream))
    return stream.sent


# --- what serves streams


async def takes_stream(stream: Stream[int, str]) -> None: ...


async def takes_bare_stream(stream: Stream) -> None:  # type: ignore[type-arg]
    ...


async def takes_stream_and_context(stream: Stream[int, str], ctx: Context) -> None: ...


async def generates(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


async def generates_alone() -> AsyncGenerator[Point]:
    yield Point(1)


async def reads(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


async def reads_bare(numbers: AsyncIterator) -> None:  # type: ignore[type-arg]
    async for _ in numbers:
        pass


async def both(numbers: AsyncIterable[int], factor: int) -> AsyncIterator[str]:
    async for number in numbers:
        yield str(number * factor)


class Serves:
    async def __call__(self, n: int) -> AsyncIterator[int]:
        yield n

    async def method(self, items: AsyncIterator[int], ctx: Context) -> str:
        return f"{ctx.kind} {[item async for item in items]}"


SERVED = [
    takes_stream,
    takes_bare_stream,
    takes_stream_and_context,
    generates,
    generates_alone,
    reads,
    reads_bare,
    both,
    Serves(),
    Serves().method,
    partial(both, factor=3),
]


@pytest.mark.parametrize("function", SERVED, ids=lambda f: getattr(f, "__name__", type(f).__name__))
def test_a_router_tells_them_by_what_they_are(function: Any) -> None:
    router = Router()
    router.handle("/one")(function)
    router.stream("/two")(function)
    assert all(isinstance(mounted.handler, StreamingHandler) for mounted in router.handlers().values())
    routes = Routes(router, JSON, in_thread)
    for name in (b"/one", b"/two"):
        route = routes.stream(name)
        assert route is not None
        assert route.method == name
        assert route.handler is routes[name][3]
    for register in (router.handle("/three", threaded=True), router.handle("/three", ordered=True)):
        with pytest.raises(RegistrationError, match="'/three' serves streams: it cannot be threaded nor ordered"):
            register(function)


def test_others_serve_calls() -> None:
    def plain(n: int) -> int:
        return n

    async def later(numbers: Iterable[int]) -> int:
        return sum(numbers)

    router = Router()
    router.handle("/plain")(plain)
    router.handle("/later")(later)
    assert all(isinstance(mounted.handler, Handler) for mounted in router.handlers().values())
    assert Routes(router, JSON, in_thread).stream(b"/plain") is None
    assert not streams_items(plain, {"n": int, "return": AsyncIterator[int]})


def test_a_generator_that_only_yields_never_finds_out_that_nobody_listens() -> None:
    functions = (generates, generates_alone, both, reads, takes_stream)
    produces = [StreamingHandler("/it", function).produces for function in functions]
    assert produces == [True, True, False, False, False]


# --- what is refused


def no_async(stream: Stream[int, int]) -> None: ...


def reads_without_async(numbers: AsyncIterator[int]) -> None: ...


async def takes_none(n: int) -> int:
    return n


async def takes_two(one: Stream[int, int], two: Stream[int, int]) -> None: ...


async def reads_two(one: AsyncIterator[int], two: AsyncIterator[int]) -> None: ...


async def takes_stream_and_body(stream: Stream[int, int], n: int) -> None: ...


async def takes_stream_and_items(stream: Stream[int, int], items: AsyncIterator[int]) -> None: ...


async def takes_stream_and_yields(stream: Stream[int, int]) -> AsyncIterator[int]:
    yield 1


async def takes_by_position(stream: Stream[int, int], /) -> None: ...


async def takes_two_contexts(one: Context, stream: Stream[int, int], two: Context) -> None: ...


async def takes_args(*streams: Stream[int, int]) -> None: ...


REFUSED = [
    (no_async, "serves streams, and is no async def"),
    (reads_without_async, "serves streams, and is no async def"),
    (takes_none, r"takes no stream: annotate a parameter with arpc\.Stream"),
    (takes_two, "takes two of .*Stream.*; one is enough"),
    (reads_two, "takes two of .*AsyncIterator.*; one is enough"),
    (takes_stream_and_body, "takes a Stream: then it takes nothing else but a Context, and yields nothing"),
    (takes_stream_and_items, "takes a Stream: then it takes nothing else"),
    (takes_stream_and_yields, "takes a Stream: then it takes nothing else"),
    (takes_by_position, "has positional-only parameters: leave out the '/'"),
    (takes_two_contexts, "takes two Contexts"),
    (takes_args, r"takes \*streams"),
]


@pytest.mark.parametrize(("function", "why"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_serve_a_stream_is_told_so(function: Any, why: str) -> None:
    with pytest.raises(RegistrationError, match=rf"^handler '/it' \(.*{function.__name__}\) {why}"):
        Router().stream("/it")(function)


@pytest.mark.parametrize("name", ["timeout", "idle_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, "5", float("inf"), float("nan")])
def test_a_time_that_makes_no_sense(name: str, seconds: Any) -> None:
    with pytest.raises(RegistrationError, match=f"^{name} is seconds above 0, or None, not "):
        Router().stream("/it", **{name: seconds})


def test_types_that_a_codec_cannot_serve_are_refused_when_compiled() -> None:
    async def points(items: AsyncIterator[Point]) -> None: ...

    handler = StreamingHandler("/it", points, scope={"Point": Point})
    assert handler.compile_stream(b"/it", JSON).decode is not None
    with pytest.raises(RegistrationError, match=r"cannot be served with the raw codec: "):
        handler.compile_stream(b"/it", RawCodec())


# --- what they are compiled to


@pytest.mark.parametrize(
    ("function", "data", "item", "sends"),
    [
        (takes_stream, b"5", 5, str),
        (takes_bare_stream, b'{"x": 5}', {"x": 5}, None),
        (reads, b"5", 5, int),
        (reads_bare, b"[5]", [5], type(None)),
        (both, b"5", 5, str),
    ],
)
def test_items_have_types(function: Any, data: bytes, item: Any, sends: Any) -> None:
    route = compiled(function)
    assert route.decode is not None
    assert route.decode(data) == item
    assert route.sends == (None if sends is None else (sends,))


def test_what_only_yields_reads_no_items() -> None:
    assert compiled(generates).decode is None
    assert compiled(generates_alone).sends == (Point,)


async def test_a_call_is_told_to_open_a_stream() -> None:
    route = StreamingHandler("/it", generates).compile(JSON, in_thread)
    with pytest.raises(RpcError, match=r"^/it serves streams, not calls: open one$") as caught:
        await run(route)
    assert caught.value.code == arpc.Code.UNIMPLEMENTED
    assert route[1](None) == b""
    assert route[2] == INLINE


async def test_each_shape_is_run() -> None:
    assert await served(generates, Canned(body=b"3")) == [0, 1, 2, "END"]
    assert await served(generates_alone, Canned()) == [Point(1), "END"]
    assert await served(reads, Canned(1, 2, 3)) == [6, "END"]
    assert await served(reads_bare, Canned(1)) == ["END"], "None is no answer"
    assert await served(both, Canned(1, 2, body=b"10")) == ["10", "20", "END"]
    assert await served(partial(both, factor=3), Canned(1, 2)) == ["3", "6", "END"]
    assert await served(Serves().method, Canned(1, 2)) == ["stream [1, 2]", "END"]


async def test_a_handler_gets_the_stream_itself() -> None:
    seen: list[Any] = []

    async def plain(stream: Stream[int, int]) -> None:
        seen.append(stream)

    async def with_context(ctx: Context, stream: Stream[int, int]) -> None:
        seen.extend([stream, ctx.method, ctx.kind])

    stream = Canned()
    await served(plain, stream)
    await served(with_context, stream)
    assert seen == [stream, stream, "/it", "stream"]
    assert stream.sent == [], "it ends by itself"


@pytest.mark.parametrize("body", [b"", b"x", b'"3"', b"{}"])
async def test_a_wrong_body_is_named(body: bytes) -> None:
    with pytest.raises(RpcError, match=r"^invalid body: ") as caught:
        await served(generates, Canned(body=body))
    assert caught.value.code == arpc.Code.INVALID_ARGUMENT


async def test_a_wrong_answer_is_not_sent() -> None:
    async def wrong(numbers: AsyncIterator[int]) -> int:
        return cast(int, "text")

    stream = Canned()
    with pytest.raises(arpc.EncodeError, match="it returned a str, and its annotation says int"):
        await served(wrong, stream)
    assert stream.sent == []


async def test_a_generator_is_closed_when_its_stream_breaks() -> None:
    closed: list[str] = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append("closed")

    class Breaking(Canned):
        async def send(self, item: Any) -> None:
            raise arpc.StreamReset("")

    with pytest.raises(arpc.StreamReset, match="the other side has left the stream"):
        await served(endless, Breaking())
    assert closed == ["closed"]


async def test_middleware_wraps_a_stream_whole() -> None:
    seen: list[str] = []

    async def around(ctx: Context, call_next: Any) -> Any:
        seen.append(f"before {ctx.kind} {type(ctx).__name__}")
        try:
            return await call_next(ctx)
        finally:
            seen.append("after")

    assert await served(both, Canned(1, body=b"2"), middleware=[around]) == ["2", "END"]
    assert seen == ["before stream StreamContext", "after"]
