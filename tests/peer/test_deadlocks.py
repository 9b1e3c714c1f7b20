"""Load under which peers of a careless kind wait for each other for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

import arpc
from arpc.options import OptionKeywords
from tests.peer.conftest import Connect
from tests.peer.raw import Raw
from tests.tools import eventually

pytestmark = pytest.mark.timeout(30)

KIB = 1024
MIB = 1024 * KIB

both_transports = pytest.mark.parametrize("scheme", ["mem", "tcp"])


def calling_back() -> arpc.Router:
    """Handlers that go back and forth between the two sides."""
    router = arpc.Router()

    @router.handle("/deep")
    async def deep(depth: int, ctx: arpc.Context) -> int:
        return 0 if not depth else 1 + await ctx.peer.call("/deep", depth - 1, returns=int, timeout=20)

    @router.handle("/deep-large")
    async def deep_large(body: bytes, ctx: arpc.Context) -> bytes:
        if body[0]:
            below = await ctx.peer.call("/deep-large", bytes([body[0] - 1]) + body[1:], returns=bytes, timeout=20)
            assert len(below) == len(body)
        return body

    @router.handle("/echo")
    def echo(body: bytes) -> bytes:
        return body

    @router.handle("/echo-later")
    async def echo_later(body: bytes) -> bytes:
        await asyncio.sleep(0)
        return body

    @router.handle("/of-size")
    def of_size(size: int) -> bytes:
        return bytes(size)

    @router.handle("/of-size-later")
    async def of_size_later(size: int) -> bytes:
        await asyncio.sleep(0)
        return bytes(size)

    return router


@pytest.fixture
async def loop_lives() -> AsyncIterator[None]:
    """The loop must not be held up for long, whatever runs."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.02)
            longest = max(longest, time.perf_counter() - before)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()
    assert longest < 5


# --- both sides call back


@both_transports
@pytest.mark.parametrize("slots", [1, 2, 64])
async def test_both_sides_call_back_at_full_load(connect: Connect, scheme: str, slots: int) -> None:
    router = calling_back()
    link = await connect(router, router, scheme=scheme, options={"max_inflight": slots})
    calls = [peer.call("/deep", 3, returns=int, timeout=20) for peer in link.both for _ in range(500)]
    assert await asyncio.gather(*calls) == [3] * 1000


@both_transports
async def test_both_sides_call_back_with_one_slot_for_all_connections(connect: Connect, scheme: str) -> None:
    router = calling_back()
    link = await connect(router, router, scheme=scheme, options={"max_inflight_total": 1})
    others = [await arpc.connect(link.server.address, router, max_inflight_total=1) for _ in range(5)]
    await eventually(lambda: len(link.server.peers) == 6)
    everyone = [link.client, *others, *link.server.peers]
    calls = [peer.call("/deep", 3, returns=int, timeout=20) for peer in everyone for _ in range(50)]
    assert await asyncio.gather(*calls) == [3] * len(calls)
    for other in others:
        await other.close()


@both_transports
async def test_both_sides_call_back_deep_on_one_slot(connect: Connect, scheme: str) -> None:
    router = calling_back()
    link = await connect(router, router, scheme=scheme, options={"max_inflight": 1})
    calls = [peer.call("/deep", 100, returns=int, timeout=20) for peer in link.both for _ in range(10)]
    assert await asyncio.gather(*calls) == [100] * 20


@both_transports
async def test_both_sides_call_back_with_more_than_the_sockets_hold(connect: Connect, scheme: str) -> None:
    router = calling_back()
    link = await connect(router, router, scheme=scheme, options={"max_inflight": 8, "write_buffer": 16 * KIB})
    body = b"\3" + bytes(256 * KIB)
    calls = [peer.call("/deep-large", body, returns=bytes, timeout=20) for peer in link.both for _ in range(20)]
    assert await asyncio.gather(*calls) == [body] * 40


@both_transports
async def test_both_sides_call_back_while_queues_are_short(connect: Connect, scheme: str) -> None:
    """Nobody deadlocks; what the other side cannot take it refuses."""
    router = calling_back()
    link = await connect(router, router, scheme=scheme, options={"max_inflight": 2, "max_queued": 8})
    calls = [peer.call("/deep", 3, returns=int, timeout=20) for peer in link.both for _ in range(200)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert 3 in results
    for result in results:
        assert result == 3 or (
            isinstance(result, arpc.RemoteError) and result.message in ("overloaded", "internal error")
        )
    assert [await peer.call("/deep", 3, returns=int) for peer in link.both] == [3, 3]


# --- full sockets


@both_transports
@pytest.mark.parametrize("method", ["/echo", "/echo-later"])
async def test_both_sides_send_large_bodies_at_once(connect: Connect, scheme: str, method: str) -> None:
    router = calling_back()
    link = await connect(router, router, scheme=scheme)
    body = bytes(4 * MIB)
    calls = [peer.call(method, body, returns=bytes, timeout=20) for peer in link.both for _ in range(8)]
    for answer in await asyncio.gather(*calls):
        assert len(answer) == len(body)


@both_transports
async def test_both_sides_notify_more_than_fits(connect: Connect, scheme: str) -> None:
    seen: list[int] = []
    router = arpc.Router()

    @router.handle("/note")
    async def note(body: bytes) -> None:
        await asyncio.sleep(0)
        seen.append(len(body))

    options: OptionKeywords = {"max_inflight": 2, "max_queued": 50, "max_queued_bytes": MIB}
    link = await connect(router, router, scheme=scheme, options=options)

    async def send(peer: arpc.Peer) -> None:
        for _ in range(1000):
            await peer.notify("/note", bytes(20 * KIB))

    await asyncio.gather(*(send(peer) for peer in link.both))
    dropped = sum(peer.stats.notifies_dropped for peer in link.both)
    await eventually(lambda: len(seen) + sum(peer.stats.notifies_dropped for peer in link.both) == 2000)
    assert dropped < 2000


@both_transports
async def test_handlers_that_notify_back_more_than_fits(connect: Connect, scheme: str) -> None:
    served, router, quiet = 0, arpc.Router(), arpc.Router()

    @router.handle("/storm")
    async def storm(body: bytes, ctx: arpc.Context) -> bytes:
        for _ in range(20):
            await ctx.peer.notify("/drop", body)
        return body

    @router.handle("/drop")
    @quiet.handle("/drop")
    def drop(body: bytes) -> None:
        nonlocal served
        served += 1

    link = await connect(router, router, scheme=scheme, options={"max_inflight": 4, "write_buffer": 16 * KIB})
    body = bytes(50 * KIB)
    calls = [peer.call("/storm", body, returns=bytes, timeout=20) for peer in link.both for _ in range(20)]
    await asyncio.gather(*calls)
    dropped = sum(peer.stats.notifies_dropped for peer in link.both)
    await eventually(lambda: served + dropped == 800)


# --- everything at once


@pytest.mark.parametrize(("scheme", "count"), [("tcp", 100_000), ("mem", 30_000)])
@pytest.mark.usefixtures("loop_lives")
async def test_a_hundred_thousand_calls_at_once(connect: Connect, scheme: str, count: int) -> None:
    link = await connect(calling_back(), scheme=scheme)
    call = link.client.call
    answers = await asyncio.gather(*(call("/echo", b"x", returns=bytes, timeout=25) for _ in range(count)))
    assert answers.count(b"x") == count


@pytest.mark.parametrize(("scheme", "count"), [("tcp", 100_000), ("mem", 20_000)])
@pytest.mark.usefixtures("loop_lives")
async def test_answers_larger_than_their_requests(connect: Connect, scheme: str, count: int) -> None:
    link = await connect(calling_back(), scheme=scheme)
    call, total = link.client.call, 0

    async def ask() -> None:
        nonlocal total
        size = len(await call("/of-size-later", 1500, returns=bytes, timeout=25))
        total += size

    await asyncio.gather(*(ask() for _ in range(count)))
    assert total == count * 1500


@both_transports
@pytest.mark.parametrize("method", ["/of-size", "/of-size-later"])
@pytest.mark.usefixtures("loop_lives")
async def test_a_thousand_large_answers_at_once(connect: Connect, scheme: str, method: str) -> None:
    link = await connect(calling_back(), scheme=scheme)
    total = 0

    async def ask() -> None:
        nonlocal total
        size = len(await link.client.call(method, MIB, returns=bytes, timeout=25))
        total += size

    await asyncio.gather(*(ask() for _ in range(1000)))
    assert total == 1000 * MIB


@both_transports
async def test_a_large_body_takes_linear_time(connect: Connect, scheme: str) -> None:
    link = await connect(calling_back(), scheme=scheme)
    largest = 64 * MIB - 16 - len("/echo")

    async def seconds(size: int) -> float:
        body = bytes(size)
        started = time.perf_counter()
        assert len(await link.client.call("/echo", body, returns=bytes)) == size
        return time.perf_counter() - started

    await seconds(MIB)
    small = sorted([await seconds(8 * MIB) for _ in range(5)])[2]
    large = min([await seconds(largest) for _ in range(2)])
    assert large < 8 * small * 3 + 0.2


async def test_ten_thousand_connections_in_a_row(connect: Connect) -> None:
    link = await connect(calling_back(), scheme="tcp")
    endpoint = link.server._endpoint
    for number in range(10_000):
        if number % 10:
            (await Raw.connect(link.server.address)).reset()
        else:
            client = await arpc.connect(link.server.address)
            assert await client.call("/echo", b"x", returns=bytes) == b"x"
            client._connection.abort(arpc.ConnectionClosed("enough"))
    await eventually(lambda: endpoint.connections == {link.peer._connection})
    assert await link.client.call("/echo", b"x", returns=bytes) == b"x"
