"""Handlers of streams in all their shapes, what their ends do to a stream, and what stands around them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Unpack, cast

import pytest

import arpc
from arpc.options import OptionKeywords
from tests.peer.conftest import Connect, Link
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


@dataclass
class Span:
    start: int
    stop: int


def shapes() -> arpc.Router:
    """One handler of each shape."""
    router = arpc.Router()

    @router.stream("/echo")
    async def echo(stream: arpc.Stream[bytes, bytes]) -> None:
        async for item in stream:
            await stream.send(item)

    @router.stream("/range")
    async def range_of(body: Span) -> AsyncIterator[int]:
        for number in range(body.start, body.stop):
            yield number

    @router.handle("/letters")
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    @router.stream("/sum")
    async def total(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @router.handle("/scale")
    async def scale(body: int, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield item * body

    @router.handle("/forget")
    async def forget(items: AsyncIterator[int]) -> None:
        async for _ in items:
            pass

    @router.handle("/size")
    def size(body: bytes) -> int:
        return len(body)

    return router


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


async def wait_closed(stream: arpc.Stream[Any, Any]) -> None:
    await eventually(lambda: stream.closed)


async def both(connect: Connect, router: arpc.Router, **options: Unpack[OptionKeywords]) -> Link:
    return await connect(router, router, options=options)


async def test_every_shape_of_handler_from_both_sides(connect: Connect) -> None:
    link = await both(connect, shapes())
    for peer in link.both:
        async with peer.stream("/range", Span(2, 6), returns=int) as numbers:
            assert await rest(numbers) == [2, 3, 4, 5]
        async with peer.stream("/letters", returns=str) as text:
            assert await rest(text) == ["a", "b", "c"]
        async with peer.stream("/sum", items=range(10), returns=int) as answer:
            assert await answer.recv() == 45
            with pytest.raises(arpc.StreamEnded):
                await answer.recv()
        async with peer.stream("/scale", 3, items=[1, 2, 3], returns=int) as scaled:
            assert await rest(scaled) == [3, 6, 9]
        async with peer.stream("/forget", items=[1], returns=int) as nothing:
            assert await rest(nothing) == []
        async with peer.stream("/echo", b"first", items=[b"second", b"third"], returns=bytes) as echoed:
            assert await rest(echoed) == [b"first", b"second", b"third"]
        async with peer.stream("/sum", returns=int) as answer:
            assert await answer.recv() == 0


async def test_plain_values_where_no_type_is_asked_for(connect: Connect) -> None:
    link = await both(connect, shapes())
    async with link.client.stream("/range", {"start": 0, "stop": 2}) as numbers:
        assert await rest(numbers) == [0, 1]


async def test_a_service_streams(connect: Connect) -> None:
    class Numbers:
        @arpc.rpc
        async def upto(self, limit: int) -> AsyncIterator[int]:
            for number in range(limit):
                yield number

        @arpc.rpc
        async def total(self, items: AsyncIterator[int]) -> int:
            return sum([item async for item in items])

    router = arpc.Router()
    router.register(Numbers())
    link = await both(connect, router)
    async with link.client.stream("Numbers.upto", 3, returns=int) as numbers:
        assert await rest(numbers) == [0, 1, 2]
    async with link.client.stream("Numbers.total", items=[1, 2], returns=int) as answer:
        assert await answer.recv() == 3


# --- how handlers end


def ending(end: Callable[[], Any]) -> arpc.Router:
    router = arpc.Router()

    @router.stream("/stream")
    async def stream(stream: arpc.Stream[bytes, int]) -> None:
        for number in range(5):
            await stream.send(number)
        end()

    @router.stream("/generator")
    async def generator() -> AsyncIterator[int]:
        for number in range(5):
            yield number
        end()

    return router


def fail(error: BaseException) -> Callable[[], None]:
    def end() -> None:
        raise error

    return end


@pytest.mark.parametrize("method", ["/stream", "/generator"])
async def test_a_handler_that_returns_ends_cleanly_after_its_items(connect: Connect, method: str) -> None:
    link = await both(connect, ending(lambda: None))
    for peer in link.both:
        stream = await peer.open_stream(method, returns=int)
        assert await rest(stream) == [0, 1, 2, 3, 4]
        if method == "/stream":
            await wait_closed(stream)
            with pytest.raises(arpc.StreamReset, match="the other side has left"):
                await stream.send(b"x")
        await stream.close()


@pytest.mark.parametrize("method", ["/stream", "/generator"])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (arpc.RpcError("sold out", "not_found"), "sold out"),
        (ValueError("secret"), "internal error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
    ids=["RpcError", "ValueError", "cancelled"],
)
async def test_a_handler_that_raises_resets_after_its_items(
    connect: Connect, logged: Callable[[], str], method: str, error: BaseException, text: str
) -> None:
    link = await both(connect, ending(fail(error)))
    for peer in link.both:
        async with peer.stream(method, returns=int) as stream:
            got: list[int] = []
            with pytest.raises(arpc.StreamReset) as caught:
                async for item in stream:
                    got.append(item)
            assert got == [0, 1, 2, 3, 4]
            assert caught.value.message == text
    assert ("secret" in logged()) == isinstance(error, ValueError)


async def test_an_answer_of_another_type_and_an_item_of_another_type(
    connect: Connect, logged: Callable[[], str]
) -> None:
    router = arpc.Router()

    @router.handle("/answer")
    async def answer(items: AsyncIterator[int]) -> int:
        return cast(int, "text")

    @router.handle("/items")
    async def items() -> AsyncIterator[int]:
        wrong: Any = "text"
        yield 1
        yield wrong

    link = await both(connect, router)
    async with link.client.stream("/answer", returns=int) as stream:
        with pytest.raises(arpc.StreamReset, match="internal error"):
            await stream.recv()
    async with link.client.stream("/items", returns=int) as stream:
        assert await stream.recv() == 1
        with pytest.raises(arpc.StreamReset, match="internal error"):
            await stream.recv()
    assert "text" in logged() or "str" in logged()


async def test_items_and_bodies_that_cannot_be_decoded_are_told(connect: Connect, logged: Callable[[], str]) -> None:
    link = await both(connect, shapes())
    async with link.client.stream("/sum", items=[1, "two"], returns=int) as stream:
        with pytest.raises(arpc.StreamReset, match="invalid item: an item of /sum"):
            await stream.recv()
    async with link.client.stream("/range", {"start": 1}, returns=int) as stream:
        with pytest.raises(arpc.StreamReset, match="stop"):
            await stream.recv()
    assert "Traceback" not in logged()


async def test_a_reset_cancels_who_waits_for_something_else_and_tells_who_waits_for_it(connect: Connect) -> None:
    router = arpc.Router()
    ended: list[str] = []

    @router.stream("/elsewhere")
    async def elsewhere(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            await stream.send(b"here")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @router.stream("/recv")
    async def recv(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            await stream.send(b"here")
            await stream.recv()
        except arpc.StreamReset as error:
            await asyncio.sleep(0.01)  # it may clean up
            ended.append(error.message)

    @router.stream("/send")
    async def send(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            while True:
                await stream.send(b"here")
        except arpc.StreamReset as error:
            await asyncio.sleep(0.01)
            ended.append(error.message)

    link = await both(connect, router, stream_window=100)
    for peer in link.both:
        for method, text in (("/elsewhere", "cancelled"), ("/recv", "why"), ("/send", "why")):
            stream = await peer.open_stream(method, returns=bytes)
            assert await stream.recv() == b"here"
            await asyncio.sleep(0.01)
            await stream.reset("why")
            await eventually(lambda: ended)
            assert ended == [text]
            ended.clear()


async def test_who_was_just_left_works_on_with_what_has_come(connect: Connect) -> None:
    router = arpc.Router()
    counts: list[int] = []

    @router.stream("/works-on")
    async def works_on(items: AsyncIterator[bytes]) -> None:
        got = [item async for item in items]
        await asyncio.sleep(0.02)
        counts.append(len(got))

    link = await both(connect, router)
    for peer in link.both:
        stream = await peer.open_stream("/works-on")
        for _ in range(3):
            await stream.send(b"x")
        await stream.close()
        await eventually(lambda: counts)
        assert counts == [3]
        counts.clear()


@pytest.mark.parametrize("text", ["", "enough"])
async def test_a_generator_finds_out_that_nobody_wants_its_items(connect: Connect, text: str) -> None:
    router = arpc.Router()
    cleaned: list[bool] = []

    @router.stream("/wait")
    async def wait() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    link = await both(connect, router)
    for peer in link.both:
        stream = await peer.open_stream("/wait", returns=int)
        assert await stream.recv() == 1
        await stream.reset(text)
        await eventually(lambda: cleaned)
        cleaned.clear()


# --- around a handler


async def test_a_dropped_stream_leaves_nothing(connect: Connect) -> None:
    """Its user takes nothing, closes nothing and forgets it; the other side has ended it."""
    link = await both(connect, ending(fail(arpc.RpcError("mine"))))
    for peer in link.both:
        for _ in range(10):
            await wait_closed(await peer.open_stream("/stream", returns=int))
        gc.collect()
        assert peer.stats.streams == 0
        assert peer.stats.stream_bytes == 0


def stream_of(context: Any) -> arpc.Stream[Any, Any]:
    stream: arpc.Stream[Any, Any] = context.stream
    return stream


async def test_current_context_and_middleware_of_a_stream(dial: Any) -> None:
    router, seen = arpc.Router(), list[object]()

    @router.stream("/ctx")
    async def ctx(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
        assert arpc.current() is ctx
        assert stream_of(ctx) is stream
        seen.extend((ctx.kind, ctx.method, ctx.body, dict(ctx.metadata)))
        ctx.state["x"] = 1

    @router.handle("/generator")
    async def generator(body: bytes) -> AsyncIterator[bytes]:
        seen.extend((arpc.current().kind, arpc.current().method))
        yield body

    async def around(context: arpc.Context, call_next: Any) -> Any:
        seen.append(("before", context.kind, context.method, stream_of(context).id))
        try:
            return await call_next(context)
        finally:
            seen.append("after")

    async with arpc.serve("mem://0", router, middleware=[around]) as server:
        link = await dial(server)
        async with link.client.open_stream("/ctx", metadata={"a": 1}) as stream:
            assert await rest(stream) == []
        before = ("before", "stream", "/ctx", stream.id)
        assert seen == [before, "stream", "/ctx", b"", {"a": 1}, "after"]
        seen.clear()
        async with link.client.stream("/generator", b"item", returns=bytes) as stream:
            assert await rest(stream) == [b"item"]
        assert seen == [("before", "stream", "/generator", stream.id), "stream", "/generator", "after"]


async def test_middleware_may_refuse_a_stream_and_use_it(dial: Any) -> None:
    async def around(context: arpc.Context, call_next: Any) -> Any:
        if context.metadata.get("no"):
            raise arpc.RpcError("not you")
        await stream_of(context).send(b"hello")
        await call_next(context)

    async with arpc.serve("mem://0", shapes(), middleware=[around]) as server:
        link = await dial(server)
        async with link.client.open_stream("/echo", returns=bytes, metadata={"no": 1}) as stream:
            with pytest.raises(arpc.StreamReset, match="not you"):
                await stream.recv()
        async with link.client.stream("/echo", b"x", returns=bytes) as stream:
            assert await rest(stream) == [b"hello", b"x"]
