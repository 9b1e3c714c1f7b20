"""Many streams, one after another and at once: what they leave behind is nothing."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import arpc
from arpc.options import KIB, MIB, OptionKeywords
from tests.peer.conftest import Connect, Link
from tests.peer.raw import STREAM, frame
from tests.peer.target import under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(60)

LOCAL = 0x80
RESET = 8
ROUND = 2_000
ROUNDS = 5
"""Of each way to use a stream, on each loop: with 5 ways 100,000 streams."""


def serving() -> arpc.Router:
    router = arpc.Router()

    @router.stream("/echo")
    async def echo(stream: arpc.Stream[bytes, bytes]) -> None:
        async for item in stream:
            await stream.send(item)

    @router.stream("/numbers")
    async def numbers(body: int) -> AsyncIterator[int]:
        for number in range(body):
            yield number

    @router.stream("/count")
    async def count(items: AsyncIterator[int]) -> int:
        return len([item async for item in items])

    @router.stream("/fail")
    async def fail(stream: arpc.Stream[bytes, bytes]) -> None:
        await stream.send(b"x")
        raise arpc.RpcError("mine")

    return router


async def echo(peer: arpc.Peer) -> None:
    async with peer.open_stream("/echo", returns=bytes, timeout=60, idle_timeout=60) as stream:
        await stream.send(b"x")
        assert await stream.recv() == b"x"
        await stream.end()
        assert [item async for item in stream] == []


async def numbers(peer: arpc.Peer) -> None:
    async with peer.stream("/numbers", 3, returns=int) as stream:
        assert await stream.recv() == 0  # the rest is left


async def count(peer: arpc.Peer) -> None:
    async with peer.stream("/count", items=[1, 2], returns=int) as stream:
        assert await stream.recv() == 2


async def fail(peer: arpc.Peer) -> None:
    stream = await peer.open_stream("/fail", returns=bytes)
    with pytest.raises(arpc.StreamReset, match="mine"):
        while True:
            await stream.recv(timeout=30)


async def reset(peer: arpc.Peer) -> None:
    stream = await peer.open_stream("/echo", returns=bytes)
    await stream.reset("at once")


def nothing_is_left(link: Link) -> bool:
    for peer in link.both:
        flows = peer._connection.session.flows
        if peer._connection.acceptor is not None or (flows is not None and (len(flows) or flows.queued)):
            return False
    return True


@pytest.mark.parametrize("use", [echo, numbers, count, fail, reset])
async def test_streams_leave_memory_flat(connect: Connect, use: Callable[[arpc.Peer], Awaitable[None]]) -> None:
    link = await connect(serving(), serving())

    async def some(total: int) -> None:
        async def one_after_another(peer: arpc.Peer) -> None:
            for _ in range(total // 20):
                await use(peer)

        await asyncio.gather(*(one_after_another(peer) for peer in link.both for _ in range(10)))
        await eventually(lambda: nothing_is_left(link))

    async def held() -> int:
        await asyncio.sleep(0.05)  # the wheel ticks
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    await some(ROUND)
    tracemalloc.start()
    try:
        await some(200)
        sizes = [await held()]
        for _ in range(2):
            await some(ROUND)
            sizes.append(await held())
    finally:
        tracemalloc.stop()
    # A leak grows in every round; a table of the process that happens to be made larger grows once.
    assert min(sizes[1] - sizes[0], sizes[2] - sizes[1]) < 50 * KIB  # 25 bytes a stream would be more
    for _ in range(ROUNDS - 3):
        await some(ROUND)


async def test_many_streams_at_once_and_what_an_idle_one_costs(connect: Connect) -> None:
    count = 2_000
    link = await connect(serving(), serving())
    for _ in range(20):
        await echo(link.client)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        streams = [await link.client.open_stream("/echo", returns=bytes) for _ in range(count)]
        await eventually(lambda: link.peer.stats.streams == count)
        await asyncio.sleep(0.01)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held / count < 2 * 2 * KIB + 1 * KIB  # both sides are here, and the Task of a handler
    await asyncio.gather(*(stream.send(b"x") for stream in streams))
    assert await asyncio.gather(*(stream.recv() for stream in streams)) == [b"x"] * count
    await asyncio.gather(*(stream.close() for stream in streams))
    await eventually(lambda: nothing_is_left(link))


async def test_opening_and_resetting_fast_is_bounded() -> None:
    """Handlers that clean up slowly are no way around ``max_streams``."""
    options: OptionKeywords = {"max_streams": 50}
    async with under_attack(**options) as target:
        running, most = 0, 0
        free = asyncio.Event()

        @target.router.stream("/slow")
        async def slow(stream: arpc.Stream[bytes, bytes]) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await free.wait()
            except asyncio.CancelledError:
                await free.wait()
            finally:
                running -= 1

        raw = await target.connect()
        await raw.send(frame(4, data=b"arpc+\x01" + (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3))
        await raw.receive_frame()
        peer = next(iter(target.server.peers - {target.honest.state["accepted"]}))
        for start in range(1, 20_001, 100):
            await raw.send(
                b"".join(
                    frame(STREAM | LOCAL, seq, b"/slow") + frame(RESET | LOCAL, seq, data=b"x")
                    for seq in range(start, start + 100)
                )
            )
            await asyncio.sleep(0)
        acceptor: Any = None
        await eventually(lambda: not peer._connection.session.splitter.unfinished)
        acceptor = peer._connection.acceptor
        assert most <= 100
        assert acceptor is None or len(acceptor.tasks) <= 100
        assert peer.stats.streams <= 50
        free.set()


async def test_items_for_streams_that_were_left_are_held_by_nobody(connect: Connect) -> None:
    """A sender that has not heard yet that it is left may go on for a window, for each of many streams."""
    link = await connect(serving(), serving(), scheme="tcp", options={"stream_window": 64 * KIB})
    tracemalloc.start()
    try:
        for _ in range(200):
            stream = await link.client.open_stream("/echo", returns=bytes)
            for _ in range(3):
                await stream.send(bytes(20 * KIB))
            await stream.close()
        await eventually(lambda: nothing_is_left(link))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 2 * MIB
    finally:
        tracemalloc.stop()
