"""Mistakes in the use of streams: each is told, early and by a text that helps, or does no harm."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from weakref import ref

import pytest

import arpc
from arpc.options import Options
from tests.peer.conftest import Connect, Pair
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


# --- items of a wrong type


@pytest.mark.parametrize(("sends", "wanted"), [(float, "float"), (bytes, "bytes"), (int, "int")])
async def test_an_item_of_another_type_than_was_said_is_named(pair: Pair, sends: type, wanted: str) -> None:
    ends = await pair(sends=sends)
    for send in (ends.near.send, ends.near.try_send):
        with pytest.raises(arpc.EncodeError, match=f"^/pair sends {wanted}.*, not str$"):
            result = send("x")
            if result is not None:
                await result
    if sends is not int:
        await ends.near.send(b"1" if sends is bytes else 1.5)
        assert await ends.far.recv() in (b"1", b"1.5")
    await ends.far.send(b"x")  # the stream has taken no harm
    assert await ends.near.recv() == b"x"


async def test_a_handler_is_told_of_a_wrong_item_too(connect: Connect, logged: Callable[[], str]) -> None:
    router = arpc.Router()

    @router.stream("/floats")
    async def floats(stream: arpc.Stream[bytes, float]) -> None:
        await stream.send(cast(Any, "x"))

    link = await connect(router)
    async with link.client.open_stream("/floats") as stream:
        with pytest.raises(arpc.StreamReset, match="internal error"):
            await stream.recv()
    assert "EncodeError: /floats sends float" in logged()


# --- items that are sent in the background


async def test_items_that_leave_their_own_stream(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[Any] = []

    @router.stream("/note")
    async def note(items: AsyncIterator[int]) -> None:
        try:
            async for item in items:
                seen.append(item)
        except arpc.StreamReset as error:
            seen.append(error.message)
            raise

    link = await connect(router)
    opened: list[arpc.Stream[Any, Any]] = []
    cleaned: list[bool] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await opened[0].close()
            yield 2
        finally:
            cleaned.append(True)

    async with asyncio.timeout(5):
        async with link.client.stream("/note", items=items()) as stream:
            opened.append(stream)
            await eventually(lambda: stream.closed)
        await eventually(lambda: cleaned and len(seen) == 2)
    assert seen == [1, "left before all items were sent"]


async def test_an_upload_that_is_left_does_not_look_complete(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[str] = []
    began = asyncio.Event()

    @router.stream("/save")
    async def save(items: AsyncIterator[int]) -> int:
        count = 0
        try:
            async for _ in items:
                count += 1
                began.set()
        except arpc.StreamReset as error:
            seen.append(error.message)
            raise
        seen.append(f"{count} saved")
        return count

    link = await connect(router, options={"stream_window": 1000})
    async with link.client.stream("/save", items=numbers(300), returns=int) as stream:
        assert await stream.recv() == 300
    assert seen.pop() == "300 saved"

    began.clear()
    async with link.client.stream("/save", items=numbers(100_000), returns=int):
        await began.wait()
    await eventually(lambda: seen)
    assert seen == ["left before all items were sent"]
    await eventually(lambda: not link.client.stats.streams)


async def test_complete_tells_an_end_from_leaving(pair: Pair) -> None:
    ends = await pair()
    await ends.near.send(b"1")
    assert await ends.far.recv() == b"1"
    assert not ends.far.complete
    await ends.near.close()
    with pytest.raises(arpc.StreamEnded):
        await ends.far.recv()
    assert not ends.far.complete

    ends = await pair()
    await ends.near.send(b"1")
    await ends.near.end()
    assert [item async for item in ends.far] == [b"1"]
    assert ends.far.complete
    assert not ends.near.complete
    await ends.near.close()
    assert ends.far.complete

    ends = await pair()
    await ends.near.send(b"1")
    await ends.link.client.close()
    assert await ends.far.recv() == b"1"
    with pytest.raises(arpc.ConnectionClosed):
        await ends.far.recv()
    assert not ends.far.complete


# --- errors


async def test_an_error_without_a_text_is_no_clean_end(connect: Connect) -> None:
    router = arpc.Router()

    @router.stream("/fail")
    async def fail(stream: arpc.Stream[bytes, int]) -> None:
        await stream.send(1)
        raise arpc.RpcError("")

    @router.stream("/generate")
    async def generate() -> AsyncIterator[int]:
        yield 1
        raise arpc.RpcError("", arpc.Code.NOT_FOUND)

    link = await connect(router)
    for method in ("/fail", "/generate"):
        async with link.client.open_stream(method, returns=int) as stream:
            await stream.end()
            assert await stream.recv() == 1
            with pytest.raises(arpc.StreamReset) as caught:
                await stream.recv()
            assert caught.value.message == "error"


class Sums:
    @arpc.rpc
    async def total(self, name: str, items: AsyncIterator[int]) -> int:
        async for _ in items:
            if name == "broke":
                raise arpc.RpcError("no money")
            if name == "nothing to say":
                raise arpc.RpcError("")
            if name == "crash":
                raise ZeroDivisionError
        return 7

    @arpc.rpc
    async def nothing(self, items: AsyncIterator[int]) -> None:
        async for _ in items:
            pass

    @arpc.rpc
    async def add(self, a: int, b: int) -> int:
        raise arpc.RpcError("no money")


async def test_what_looks_like_a_call_fails_like_a_call(connect: Connect) -> None:
    router = arpc.Router()
    router.register(Sums())
    link = await connect(router)
    sums = link.client.service(Sums)
    assert await sums.total("", numbers(3)) == 7
    assert await cast(Any, sums).nothing(numbers(3)) is None
    with pytest.raises(arpc.RemoteError, match="no money"):
        await sums.add(1, 2)
    for name, text in (("broke", "no money"), ("nothing to say", "error"), ("crash", "internal error")):
        with pytest.raises(arpc.RemoteError) as caught:
            await sums.total(name, numbers(3))
        assert caught.value.message == text
        assert isinstance(caught.value.__cause__, arpc.StreamReset)
    unknown = link.client.service(Sums, name="Unknown")
    with pytest.raises(arpc.MethodNotFound):
        await unknown.total("", numbers(3))
    await eventually(lambda: not link.client.stats.streams)


@contextmanager
def no_collection() -> Iterator[None]:
    """What is gone now was held by no cycle."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_a_stream_with_a_bad_item_is_freed_at_once(connect: Connect) -> None:
    router = arpc.Router()
    streams: list[ref[Any]] = []

    @router.stream("/numbers")
    async def serve(stream: arpc.Stream[int, bytes]) -> None:
        streams.append(ref(stream))
        await stream.send(b"zzz")
        async for _ in stream:
            pass

    async def use(peer: arpc.Peer) -> None:
        async with peer.open_stream("/numbers", returns=int) as stream:
            streams.append(ref(stream))
            with pytest.raises(arpc.DecodeError, match="an item of /numbers"):
                await stream.recv()
            await stream.send(b"zzz")
            with pytest.raises(arpc.StreamReset, match="invalid item"):
                await stream.recv()

    link = await connect(router)
    with no_collection():
        await asyncio.create_task(use(link.client))
        await eventually(lambda: len(streams) == 2 and not any(stream() for stream in streams), within=1)


async def test_a_stream_whose_items_have_failed_is_freed_at_once(connect: Connect) -> None:
    router = arpc.Router()
    streams: list[ref[Any]] = []

    @router.stream("/count")
    async def count(items: AsyncIterator[int]) -> int:
        return len([item async for item in items])

    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError("mine")

    async def use(peer: arpc.Peer) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with peer.stream("/count", items=failing(), returns=int) as stream:
                streams.append(ref(stream))
                await stream.recv()

    link = await connect(router)
    with no_collection():
        await asyncio.create_task(use(link.client))
        await eventually(lambda: not streams[0](), within=0.3)


# --- arguments


async def test_no_limit_may_be_said_as_infinity(pair: Pair) -> None:
    ends = await pair(timeout=math.inf, idle_timeout=math.inf)
    receiving = asyncio.create_task(ends.near.recv(timeout=math.inf))
    await asyncio.sleep(0)
    await ends.far.send(b"x")
    assert await receiving == b"x"
    for bad in (0, -1, math.nan, "1"):
        with pytest.raises(ValueError, match="timeout is seconds above 0, or None to wait for ever"):
            await ends.near.recv(timeout=cast(Any, bad))


async def test_options_of_a_stream_that_make_no_sense_are_named(connect: Connect) -> None:
    link = await connect()
    for opens in (link.client.open_stream, link.client.stream):
        untyped = cast(Any, opens)
        with pytest.raises(TypeError, match=r"return_; there are .*timeout.*idle_timeout.*metadata"):
            untyped("/x", return_=int)
        with pytest.raises(ValueError, match=r"^idle_timeout is seconds above 0"):
            untyped("/x", idle_timeout=0)
        with pytest.raises(ValueError, match=r"^timeout is seconds above 0"):
            untyped("/x", timeout=0)
    with pytest.raises(ValueError, match=r"^stream_window must be 0 or more, not -1$"):
        Options(stream_window=-1)
    with pytest.raises(ValueError, match=r"^max_streams must be 0 or more, not -1$"):
        Options(max_streams=-1)
    assert Options(stream_window=0, max_streams=0).stream_window == 0


async def test_a_stream_that_is_not_open_yet_says_how_to_open_it(connect: Connect) -> None:
    link = await connect()
    for call, opening in (
        ("peer.open_stream(...)", link.client.open_stream("/x")),
        ("peer.stream(...)", link.client.stream("/x")),
    ):
        with pytest.raises(TypeError) as caught:
            async for _ in cast(Any, opening):
                pass
        assert f"async with {call} as stream" in str(caught.value)
        with pytest.warns(RuntimeWarning) as warned:
            opening.__del__()
        assert str(warned[0].message) == f"{call} was never awaited nor entered"
        with pytest.raises(arpc.StreamReset):
            async with opening as stream:
                await stream.recv()


# --- handlers


def test_an_interface_whose_generator_has_no_yield_is_refused() -> None:
    async def count(self: Any, n: int) -> AsyncIterator[int]:
        raise NotImplementedError

    async def dotted(self: Any, n: int) -> collections.abc.AsyncIterator[int]:
        raise NotImplementedError

    for function in (count, dotted):
        with pytest.raises(arpc.RegistrationError, match="is to yield items, and has no yield"):
            arpc.rpc(function)


def test_an_interface_may_say_its_iterators_in_any_way() -> None:
    def plain(self: Any) -> AsyncIterator[int]:
        raise NotImplementedError

    def dotted(self: Any) -> collections.abc.AsyncIterator[int]:
        raise NotImplementedError

    def of_dotted(self: Any) -> AsyncIterator[collections.abc.Sized]:
        raise NotImplementedError

    def bare(self: Any) -> AsyncIterator:  # type: ignore[type-arg]
        raise NotImplementedError

    for function in (plain, dotted, of_dotted, bare):
        arpc.rpc(cast(Any, function))


def test_a_generator_that_says_another_result_is_refused() -> None:
    async def names() -> Any:
        yield "a"

    async def method(self: Any) -> Any:
        yield "a"

    names.__annotations__["return"] = method.__annotations__["return"] = int  # checkers would refuse it, too
    service = type("Named", (), {"names": arpc.rpc(method)})()

    router = arpc.Router()
    refused: list[Callable[[], Any]] = [
        lambda: router.handle("/x")(names),
        lambda: router.stream("/x")(names),
        lambda: router.register(service),
    ]
    for register in refused:
        with pytest.raises(arpc.RegistrationError, match=r"yields items, .*: write AsyncIterator"):
            register()


def test_a_fallback_refuses_streams_at_once() -> None:
    async def yields() -> AsyncIterator[int]:
        yield 1

    async def takes_items(items: AsyncIterator[int]) -> int:
        return 1

    async def takes_a_stream(stream: arpc.Stream[int, int]) -> None: ...

    async def calls() -> int:
        return 1

    router = arpc.Router()
    for function in (yields, takes_items, takes_a_stream):
        with pytest.raises(arpc.RegistrationError, match="a fallback serves calls and notifies"):
            router.fallback(function)
    router.fallback(calls)
