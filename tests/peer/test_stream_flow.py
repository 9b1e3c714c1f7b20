"""Backpressure: who waits for whom, what is queued at most, and that nobody else is delayed."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

import arpc
from arpc.options import KIB, MIB, OptionKeywords
from tests.peer.conftest import Connect, Ends, Link, Pair

pytestmark = pytest.mark.timeout(30)

ITEM = 64
"""What an item costs beside its data."""

either_side = pytest.mark.parametrize("opener", ["client", "server"])
both_transports = pytest.mark.parametrize("scheme", ["mem", "tcp"])


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


async def fill(ends: Ends, size: int = 1) -> int:
    """Sends until the other side has no room; how many items that took."""
    for count in range(100_000):
        try:
            ends.near.try_send(b"%d" % count + bytes(size))
        except arpc.Overstock:
            return count
    raise AssertionError("it always has room")


async def waiting(task: asyncio.Task[Any]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not task.done()


# --- the window


@either_side
@both_transports
@pytest.mark.parametrize("window", [0, 1, 64, 65, 500, 100_000])
async def test_all_items_pass_through_any_window(pair: Pair, opener: str, scheme: str, window: int) -> None:
    ends = await pair(opener, scheme=scheme, options={"stream_window": window})
    sent = [bytes(size % 300) for size in range(0, 30_000, 77)]

    async def send(stream: arpc.Stream[Any, Any]) -> None:
        for item in sent:
            await stream.send(item)
        await stream.end()

    *_, near, far = await asyncio.gather(*map(send, ends.both()), *map(rest, ends.both()))
    assert near == far == sent
    for peer in ends.link.both:
        assert 0 < peer.stats.stream_bytes_peak <= window + ITEM + 300


@pytest.mark.parametrize("window", [0, 1])
async def test_the_windows_of_the_two_sides_are_their_own(pair: Pair, window: int) -> None:
    for side in ("server_options", "client_options"):
        small: OptionKeywords = {"stream_window": window}
        ends = await pair("client", **{side: small})  # type: ignore[arg-type]
        narrow, wide = (ends.near, ends.far) if side == "server_options" else (ends.far, ends.near)
        sent = 0
        with pytest.raises(arpc.Overstock):
            while True:
                narrow.try_send(b"x")
                sent += 1
        assert sent == window  # one item may overdraw what is there
        for _ in range(100):
            wide.try_send(b"x")
        await narrow.close()
        await ends.close()


async def test_a_body_waits_for_a_window_that_is_closed(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/size")
    async def size(body: bytes, items: AsyncIterator[bytes]) -> int:
        return len(body) + sum([len(item) async for item in items])

    link = await connect(router, options={"stream_window": 0})
    for body, items in ((b"abc", []), (b"", []), (b"abc", [b"d", b"", b"e"]), (b"", [b"d"])):
        async with link.client.stream("/size", body, items=items, returns=int) as stream:
            assert await stream.recv(timeout=5) == len(body) + sum(map(len, items))


@either_side
async def test_a_writer_waits_for_room_and_is_woken_when_there_is(pair: Pair, opener: str) -> None:
    ends = await pair(opener, options={"stream_window": 1000})
    count = await fill(ends)
    writers = [asyncio.create_task(ends.near.send(b"%d" % number)) for number in range(count, count + 5)]
    await waiting(writers[0])
    with pytest.raises(arpc.Overstock, match="no room"):
        ends.near.try_send(b"x")  # and not before those who wait
    got = [await ends.far.recv() for _ in range(count + 5)]
    assert [int(item.rstrip(b"\0")) for item in got] == list(range(count + 5))
    await asyncio.gather(*writers)
    ends.near.try_send(b"x")
    assert await ends.far.recv() == b"x"


@either_side
async def test_what_is_cancelled_while_it_waits_was_not_sent(pair: Pair, opener: str) -> None:
    ends = await pair(opener, options={"stream_window": 100})
    count = await fill(ends)
    writers = [asyncio.create_task(ends.near.send(b"w%d" % number)) for number in range(6)]
    await waiting(writers[0])
    for number in (0, 3, 5):
        writers[number].cancel()
    ending = asyncio.create_task(ends.near.end())
    got = await rest(ends.far)
    assert got[count:] == [b"w1", b"w2", b"w4"]
    await ending
    assert [type(result) for result in await asyncio.gather(*writers, return_exceptions=True)] == [
        asyncio.CancelledError if number in (0, 3, 5) else type(None) for number in range(6)
    ]


@either_side
async def test_a_cancelled_reader_loses_nothing(pair: Pair, opener: str) -> None:
    ends = await pair(opener)
    got: list[bytes] = []

    async def read(stream: arpc.Stream[Any, Any]) -> None:
        while True:
            got.append(await stream.recv())

    for number in range(100):
        reader = asyncio.create_task(read(ends.near))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        await ends.far.send(b"%d" % number)
        for _ in range(number % 5):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
    await ends.far.end()
    got += await rest(ends.near)
    assert got == [b"%d" % number for number in range(100)]


async def test_several_writers_and_readers_share_a_stream(pair: Pair) -> None:
    ends = await pair(options={"stream_window": 300})
    got: list[bytes] = []

    async def write(name: int) -> None:
        for number in range(50):
            await ends.near.send(b"%d %03d" % (name, number))

    async def read() -> None:
        async for item in ends.far:
            got.append(item)
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.gather(*map(write, range(4)))
    await ends.near.end()
    await asyncio.gather(*readers)
    assert sorted(got) == [b"%d %03d" % (name, number) for name in range(4) for number in range(50)]
    for name in range(4):
        mine = [item for item in got if item.startswith(b"%d " % name)]
        assert mine == sorted(mine)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("iterates", [False, True], ids=["recv", "anext"])
async def test_a_reader_that_was_woken_with_others_gets_its_item(pair: Pair, ended: bool, iterates: bool) -> None:
    ends = await pair()
    readers = [asyncio.create_task(anext(ends.far) if iterates else ends.far.recv()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(4):
        ends.near.try_send(b"%d" % number)
    if ended:
        await ends.near.end()
    assert await asyncio.wait_for(asyncio.gather(*readers), 2) == [b"0", b"1", b"2"]
    assert await ends.far.recv() == b"3"


async def test_a_stream_belongs_to_its_event_loop(pair: Pair) -> None:
    ends = await pair()

    def elsewhere() -> None:
        for use in (ends.near.send(b"x"), ends.near.recv(), ends.near.end(), ends.near.close(), ends.near.reset()):
            with pytest.raises(arpc.LoopError):
                asyncio.run(use)
        with pytest.raises(arpc.LoopError):
            ends.near.try_send(b"x")

    await asyncio.to_thread(elsewhere)
    await ends.near.send(b"x")
    assert await ends.far.recv() == b"x"


# --- who waits is woken


@either_side
@pytest.mark.parametrize("how", ["reset", "leave", "return", "raise", "lost", "own reset", "own close"])
async def test_writers_that_wait_for_room_wake_when_the_stream_ends(pair: Pair, opener: str, how: str) -> None:
    ends = await pair(opener, options={"stream_window": 100})
    await fill(ends)
    writers = [asyncio.create_task(ends.near.send(b"x")) for _ in range(3)]
    writers.append(asyncio.create_task(ends.near.end()))
    await waiting(writers[0])
    error: type[Exception] = arpc.StreamReset
    if how == "reset":
        await ends.far.reset("why")
    elif how == "leave":
        await ends.far.close()
    elif how == "return":
        ends.finish.set_result(None)
    elif how == "raise":
        ends.finish.set_exception(arpc.RpcError("why"))
    elif how == "lost":
        await ends.far.peer.close()
        error = arpc.ConnectionClosed
    elif how == "own reset":
        await ends.near.reset("why")
        error = arpc.LocalProtocolError
    else:
        await ends.near.close()
        error = arpc.LocalProtocolError
    done, late = await asyncio.wait(writers, timeout=1)
    assert not late
    assert [type(writer.exception()) for writer in writers] == [error] * 3 + [type(None)]
    assert all(writer in done for writer in writers)


async def stuck(link: Link) -> None:
    """Fills the client's socket: the server does not read."""
    transport = link.peer._connection.transport
    assert transport is not None
    transport.pause_reading()
    with pytest.raises(arpc.Overstock):
        while True:
            link.client.try_notify("/nothing", bytes(64 * KIB))
            await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["timeout", "close", "lost", "cancel"])
async def test_writers_that_wait_for_the_socket_wake_when_the_stream_ends(pair: Pair, how: str) -> None:
    ends = await pair(scheme="tcp", timeout=0.5 if how == "timeout" else None)
    await stuck(ends.link)
    with pytest.raises(arpc.Overstock, match="the socket to"):
        ends.near.try_send(b"x")
    writers = [asyncio.create_task(ends.near.send(b"x")) for _ in range(3)]
    await waiting(writers[0])
    errors: list[type[Any]] = [arpc.CallTimeout] * 3
    if how == "close":
        await ends.near.close()
        errors = [arpc.LocalProtocolError] * 3
    elif how == "lost":
        transport = ends.link.client._connection.transport
        assert transport is not None
        transport.abort()
        errors = [arpc.ConnectionClosed] * 3
    elif how == "cancel":
        writers[1].cancel()
        errors = [type(None), asyncio.CancelledError, type(None)]
    if how == "cancel":
        await asyncio.wait([writers[1]], timeout=1)
    else:
        _, late = await asyncio.wait(writers, timeout=2)
        assert not late
    transport = ends.link.peer._connection.transport
    if transport is not None:
        transport.resume_reading()
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert [type(result) for result in results] == errors
    if how == "cancel":
        assert [await ends.far.recv() for _ in range(2)] == [b"x", b"x"]


# --- nobody else is delayed


@both_transports
async def test_a_slow_stream_delays_neither_calls_nor_other_streams(connect: Connect, scheme: str) -> None:
    router = arpc.Router()
    finish = asyncio.Event()

    @router.stream("/slow")
    async def slow(stream: arpc.Stream[bytes, bytes]) -> None:
        await finish.wait()

    @router.stream("/echo")
    async def echo(stream: arpc.Stream[bytes, bytes]) -> None:
        async for item in stream:
            await stream.send(item)

    @router.handle("/call")
    def call(body: bytes) -> bytes:
        return body

    link = await connect(router, router, scheme=scheme)
    for peer in link.both:
        slow_ones = [await peer.open_stream("/slow") for _ in range(20)]

        async def press(stream: arpc.Stream[Any, Any]) -> None:
            while True:
                await stream.send(bytes(10 * KIB))

        pressing = [asyncio.create_task(press(stream)) for stream in slow_ones]
        await waiting(pressing[0])
        began = time.monotonic()
        async with peer.open_stream("/echo", returns=bytes) as stream:
            for number in range(200):
                await stream.send(b"%d" % number)
                assert await stream.recv(timeout=5) == b"%d" % number
                assert await peer.call("/call", b"x", returns=bytes, timeout=5) == b"x"
        assert time.monotonic() - began < 5
        finish.set()
        results = await asyncio.gather(*pressing, return_exceptions=True)
        assert {type(result) for result in results} == {arpc.StreamReset}
        finish.clear()


# --- bounded however long it lasts


@pytest.mark.parametrize("size", [1, 64 * KIB])
async def test_a_sender_without_end_is_held_back_by_a_slow_receiver(connect: Connect, size: int) -> None:
    window = 256 * KIB
    router = arpc.Router()

    @router.stream("/slow")
    async def slow(stream: arpc.Stream[bytes, bytes]) -> None:
        chunk = max(window // (size + ITEM) // 8, 1)
        while True:
            for _ in range(chunk):
                await stream.recv()
            await asyncio.sleep(0.002)

    link = await connect(router, scheme="tcp", options={"stream_window": window})
    stream = await link.client.open_stream("/slow")
    item, sent = bytes(size), 0

    async def send(seconds: float) -> None:
        nonlocal sent
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await stream.send(item)
            sent += 1

    await send(0.3)
    tracemalloc.start()
    try:
        await send(0.2)
        before = tracemalloc.get_traced_memory()[0]
        await send(0.7)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sent * (size + ITEM) > 2 * window  # it went on
    assert link.peer.stats.stream_bytes_peak <= window + ITEM + size
    assert link.client._connection.unwritten + link.client._connection.session.held < 2 * MIB
    assert grown < 4 * MIB
    await stream.reset("enough")
