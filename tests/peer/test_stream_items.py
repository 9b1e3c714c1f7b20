"""``peer.stream(items=...)``: sent in the background, whatever they are, and closed however the stream ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any, Unpack

import pytest

import arpc
from arpc.options import OptionKeywords
from tests.peer.conftest import Connect, Link
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


def reading() -> arpc.Router:
    router = arpc.Router()

    @router.stream("/sum")
    async def total(items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @router.handle("/scale")
    async def scale(body: int, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield item * body

    return router


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


async def both(connect: Connect, router: arpc.Router, **options: Unpack[OptionKeywords]) -> Link:
    return await connect(router, router, options=options)


async def test_items_sync_and_async_with_a_body(connect: Connect) -> None:
    link = await both(connect, reading(), stream_window=100)

    async def later() -> AsyncIterator[int]:
        for number in range(50):
            await asyncio.sleep(0)
            yield number

    def at_once() -> Iterator[int]:
        yield from range(50)

    for items in (later(), at_once(), list(range(50))):
        async with link.client.stream("/scale", 2, items=items, returns=int) as stream:
            assert await rest(stream) == [2 * number for number in range(50)]


@pytest.mark.parametrize("text", ["RpcError", "ValueError"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_items_raise_resets_the_stream_and_is_raised_where_it_is_read(
    connect: Connect, kind: str, text: str
) -> None:
    error = arpc.RpcError("mine") if text == "RpcError" else ValueError("secret")

    def broken() -> Iterator[bytes]:
        yield from (b"1", b"2")
        raise error

    async def broken_later() -> AsyncIterator[bytes]:
        for item in (b"1", b"2"):
            yield item
        raise error

    router = arpc.Router()
    seen: list[object] = []

    @router.stream("/read")
    async def read(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            async for item in stream:  # it waits for each: the window is for one
                seen.append(item)
        except arpc.StreamReset as caught:
            seen.append(caught.message)

    link = await both(connect, router, stream_window=0)
    async with link.client.stream("/read", items=broken() if kind == "sync" else broken_later()) as stream:
        with pytest.raises(type(error)) as caught:
            await stream.recv()
        assert caught.value is error
    await eventually(lambda: len(seen) == 3)
    assert seen == [b"1", b"2", "mine" if text == "RpcError" else "internal error"]


class Source:
    """Items without end, sync or async, plain or by an iterator of their own; notes that it was closed."""

    def __init__(self, *, wait: bool = False) -> None:
        self.closed = False
        self.wait = wait

    def sync(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            self.closed = True

    async def asynchronous(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                if self.wait:
                    await asyncio.Event().wait()
        finally:
            self.closed = True

    __aiter__ = asynchronous

    async def wait_closed(self) -> None:
        await eventually(lambda: self.closed, within=1, why="items are not closed")


def kinds(*, wait: bool) -> list[tuple[Source, Any]]:
    made = [Source(wait=wait) for _ in range(3)]
    found: list[tuple[Source, Any]] = [(made[1], made[1].asynchronous()), (made[2], made[2])]
    return found if wait else [(made[0], made[0].sync()), *found]


@pytest.mark.parametrize("wait", [False, True], ids=["full", "waits"])
@pytest.mark.parametrize("how", ["leave", "close", "reset", "remote", "timeout", "lost"])
async def test_items_are_closed_however_the_stream_ends(connect: Connect, how: str, wait: bool) -> None:
    router = arpc.Router()
    enough = asyncio.Event()

    @router.stream("/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        await stream.recv()
        await enough.wait()

    for source, items in kinds(wait=wait):
        enough.clear()
        link = await both(connect, router, stream_window=1000)
        stream = await link.client.stream("/take", items=items, timeout=0.05 if how == "timeout" else None)
        await asyncio.sleep(0.01)
        if how == "leave":
            async with stream:
                pass
        elif how == "close":
            await stream.close()
        elif how == "reset":
            await stream.reset("why")
        elif how == "remote":
            enough.set()
        elif how == "lost":
            await link.peer.close()
        gc.collect()
        await source.wait_closed()
        enough.set()
        await stream.close()


async def test_items_that_are_cancelled_themselves_end_the_stream(connect: Connect) -> None:
    link = await both(connect, reading())

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    stream = await link.client.stream("/sum", items=broken(), returns=int)
    with pytest.raises((arpc.StreamReset, asyncio.CancelledError)):
        await asyncio.wait_for(stream.recv(), 2)
    await stream.close()
