"""Bounds of streams with Go, which knows no flow control: one side is faster than the other, whoever dialled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

import arpc
from arpc.options import OptionKeywords
from tests.interop.conftest import StartGo
from tests.interop.go_process import PATIENCE, GoProcess
from tests.interop.python_service import Order, PythonService, numbered
from tests.tools import eventually

KIB = 1024
WINDOW = 64 * KIB
COUNT, SIZE = 6000, 8 * KIB
"""48 MiB, more than sockets and Go's own queue hold."""

CHUNK = 512 * KIB
"""More than one read of a socket brings."""

Link = Callable[[OptionKeywords], Awaitable[arpc.Peer]]


@pytest.fixture
def processes() -> list[GoProcess]:
    """Those that ``link`` has started."""
    return []


@pytest.fixture(params=["python-dials", "go-dials"])
async def link(
    request: pytest.FixtureRequest, start_go: StartGo, service: PythonService, processes: list[GoProcess]
) -> AsyncIterator[Link]:
    """Connects to Go with these options."""
    async with AsyncExitStack() as stack:

        async def dial(options: OptionKeywords) -> arpc.Peer:
            processes.append(start_go("server"))
            address: str = (await processes[0].line())["address"]
            return await stack.enter_async_context(arpc.connect(address, service.router, **options))

        async def accept(options: OptionKeywords) -> arpc.Peer:
            server = await stack.enter_async_context(arpc.serve("tcp://127.0.0.1:0", service.router, **options))
            processes.append(start_go("client", server.address))
            return await asyncio.wait_for(service.ready.get(), PATIENCE)

        yield dial if request.param == "python-dials" else accept


async def until_full(peer: arpc.Peer, stream: arpc.Stream[bytes, Order]) -> None:
    """Returns when the stream's window is full, and nothing comes any more."""
    await eventually(lambda: stream.queued >= WINDOW)
    queued = -1
    while stream.queued != queued:
        queued = stream.queued
        await asyncio.sleep(0.05)


async def read_all(stream: arpc.Stream[bytes, Order], count: int, size: int) -> None:
    """Reads to the end; the items must be these, in their order."""
    number = 0
    async for item in stream:
        assert item == numbered(number, size)
        number += 1
    assert number == count


class TestPause:
    async def test_nothing_is_lost_and_memory_is_bounded(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        async with peer.stream("/stream/make", Order(COUNT, SIZE), returns=bytes) as stream:
            await until_full(peer, stream)
            assert stream.queued < WINDOW + CHUNK
            assert peer.stats.stream_bytes == stream.queued
            await read_all(stream, COUNT, SIZE)
        assert peer.stats.stream_bytes_peak < WINDOW + CHUNK
        assert peer.stats.stream_bytes == 0
        assert peer.stats.streams_overflowed == 0
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_reading_in_bursts(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        async with peer.stream("/stream/make", Order(COUNT // 2, SIZE), returns=bytes) as stream:
            number = 0
            for _ in range(10):
                await until_full(peer, stream)
                while stream.queued > WINDOW // 4:
                    assert await stream.recv() == numbered(number, SIZE)
                    number += 1
        assert peer.stats.stream_bytes_peak < WINDOW + CHUNK
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_a_call_gets_its_answer_while_the_stream_is_full(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        async with peer.stream("/stream/make", Order(COUNT, KIB), returns=bytes) as stream:
            await until_full(peer, stream)
            assert await peer.call("/text", "meanwhile", returns=str) == "meanwhile, said Go"
            assert await peer.ping() > 0
            await read_all(stream, COUNT, KIB)
        assert peer.stats.streams_overflowed == 0

    async def test_another_stream_goes_on_when_the_full_one_is_read(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        async with (
            peer.stream("/stream/make", Order(COUNT, KIB), returns=bytes) as stream,
            peer.open_stream("/stream/text", returns=str) as other,
        ):
            await until_full(peer, stream)
            await other.send("meanwhile")
            waiting = asyncio.create_task(other.recv(timeout=PATIENCE))
            await read_all(stream, COUNT, KIB)
            assert await waiting == "meanwhile, said Go"
        assert peer.stats.streams_overflowed == 0

    async def test_a_stream_that_is_left_full(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        async with peer.stream("/stream/make", Order(COUNT, SIZE), returns=bytes) as stream:
            await until_full(peer, stream)
        assert peer.stats.stream_bytes == 0
        await eventually(lambda: peer.stats.frames_dropped > COUNT // 2)  # it is read on, for nobody
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_streams_beside_each_other_lose_nothing(self, link: Link) -> None:
        peer = await link({"stream_window": WINDOW})
        make = Order(COUNT, KIB)
        async with (
            peer.stream("/stream/make", make, returns=bytes) as one,
            peer.stream("/stream/make", make, returns=bytes) as other,
        ):
            await eventually(lambda: max(one.queued, other.queued) >= WINDOW)  # the other may have nothing then
            await asyncio.gather(read_all(one, COUNT, KIB), read_all(other, COUNT, KIB))

    async def test_go_opens_and_a_handler_is_slow(self, link: Link, service: PythonService) -> None:
        go_on = asyncio.Event()
        streams: asyncio.Queue[arpc.Stream[bytes, Order]] = asyncio.Queue()

        @service.router.stream("/stream/take")
        async def take(stream: arpc.Stream[bytes, Order]) -> None:
            streams.put_nowait(stream)
            await go_on.wait()
            await read_all(stream, COUNT, SIZE)

        peer = await link({"stream_window": WINDOW})
        await peer.call("/stream/push", Order(COUNT, SIZE))
        stream = await asyncio.wait_for(streams.get(), 10)
        await until_full(peer, stream)
        go_on.set()
        await eventually(lambda: stream.closed, within=PATIENCE)
        assert stream.queued == 0
        assert peer.stats.stream_bytes_peak < WINDOW + CHUNK
        assert await peer.call("/stream/pushed", returns=str) == "EOF"  # the handler has returned, and did not raise

    async def test_more_than_max_queued_bytes_ends_the_stream(self, link: Link) -> None:
        events: list[arpc.Event] = []
        peer = await link({"stream_window": WINDOW, "max_queued_bytes": 512 * KIB, "on_event": events.append})
        async with peer.stream("/stream/make", Order(COUNT, KIB), returns=bytes) as stream:
            waiting = asyncio.create_task(peer.call("/hold", returns=str))  # nothing is paused while this one waits
            await eventually(lambda: stream.closed)
            assert stream.queued < 512 * KIB + CHUNK
            with pytest.raises(arpc.StreamReset, match="overflow"):
                await read_all(stream, COUNT, KIB)
        assert [event.name for event in events].count("stream_overflow") == 1
        async with asyncio.timeout(5):
            while not await peer.call("/release", returns=int):
                pass  # Go may begin it before the call that waits
        assert await waiting == "released"

    async def test_go_dies_while_a_stream_is_full(self, link: Link, processes: list[GoProcess]) -> None:
        peer = await link({"stream_window": WINDOW})
        async with peer.stream("/stream/make", Order(COUNT, SIZE), returns=bytes) as stream:
            await until_full(peer, stream)
            processes[0].process.kill()
            got = 0
            with pytest.raises(arpc.ConnectionClosed):
                async for item in stream:
                    assert item == numbered(got, SIZE)
                    got += 1
            assert got * (SIZE + 64) >= WINDOW
        await asyncio.wait_for(peer.wait_closed(), 10)


class TestSlowGo:
    """A handler of Go that does not read blocks Go's reader, and so its whole connection."""

    async def test_sending_waits(self, link: Link) -> None:
        peer = await link({"write_buffer": WINDOW})
        async with peer.open_stream("/stream/slow", returns=int) as stream:
            await stream.send(150)
            most = 0
            for _ in range(COUNT):
                await stream.send(bytes(SIZE))
                most = max(most, peer._connection.unwritten)
            await stream.end()
            assert await stream.recv() == COUNT
        assert most < WINDOW + CHUNK
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_a_call_meanwhile_times_out_and_the_next_does_not(self, link: Link) -> None:
        peer = await link({"write_buffer": WINDOW})
        async with peer.open_stream("/stream/slow", returns=int) as stream:
            await stream.send(150)
            with pytest.raises(arpc.Overstock):
                for _ in range(COUNT):
                    stream.try_send(bytes(SIZE))
            with pytest.raises(arpc.CallTimeout):
                await peer.call("/text", "meanwhile", timeout=0.05)
            assert await peer.call("/text", "meanwhile", returns=str) == "meanwhile, said Go"
            await stream.end()
            assert 10 < await stream.recv() < COUNT

    async def test_leaving_while_sending_waits(self, link: Link) -> None:
        peer = await link({"write_buffer": WINDOW})

        async def send_all(stream: arpc.Stream[int, bytes]) -> None:
            for _ in range(COUNT):
                await stream.send(bytes(SIZE))

        async with peer.open_stream("/stream/slow", returns=int) as stream:
            await stream.send(150)
            sending = asyncio.create_task(send_all(stream))
            await eventually(lambda: not peer._connection.writable)
        with pytest.raises(arpc.LocalProtocolError, match="left"):
            await asyncio.wait_for(sending, 10)
        assert await peer.call("/text", "after", returns=str) == "after, said Go"


class TestLimits:
    async def test_an_item_over_max_item(self, link: Link) -> None:
        peer = await link({"max_item": 1000})
        async with peer.open_stream("/stream/echo", returns=bytes) as stream:
            await stream.send(bytes(1000))
            assert await stream.recv() == bytes(1000)
            await stream.send(bytes(1001))
            with pytest.raises(arpc.StreamReset, match="max_item"):
                await stream.recv()
        assert await peer.call("/echo", bytes(2000), returns=bytes) == bytes(2000)

    async def test_more_streams_than_max_streams(self, link: Link, service: PythonService) -> None:
        opened: asyncio.Queue[arpc.Stream[bytes, bytes]] = asyncio.Queue()

        @service.router.stream("/stream/take")
        async def take(stream: arpc.Stream[bytes, bytes]) -> None:
            opened.put_nowait(stream)
            async for _ in stream:
                pass

        peer = await link({"max_streams": 1})
        async with peer.open_stream("/stream/echo", returns=bytes) as own:
            with pytest.raises(arpc.LimitExceeded, match="max_streams"):
                await peer.open_stream("/stream/echo")
            await own.send(b"x")
            assert await own.recv() == b"x"
        await peer.call("/stream/push", Order(COUNT, SIZE))
        first = await asyncio.wait_for(opened.get(), 10)
        await peer.call("/stream/push", Order(1, SIZE))
        await eventually(lambda: first.closed, within=PATIENCE)
        assert opened.empty()
        assert await peer.call("/stream/pushed", returns=str) == "EOF"  # of the one that was refused


class TestReset:
    async def test_that_stream_ends_and_all_else_goes_on(self, link: Link) -> None:
        events: list[arpc.Event] = []
        peer = await link({"stream_window": WINDOW, "overflow": "reset", "on_event": events.append})
        async with (
            peer.open_stream("/stream/text", returns=str) as other,
            peer.stream("/stream/make", Order(COUNT, SIZE), returns=bytes) as stream,
        ):
            await other.send("before")
            assert await other.recv() == "before, said Go"
            await eventually(lambda: stream.closed)
            assert WINDOW <= stream.queued <= WINDOW + SIZE + 64
            got = 0
            with pytest.raises(arpc.StreamReset, match="overflow"):
                async for item in stream:
                    assert item == numbered(got, SIZE)
                    got += 1
            assert got * (SIZE + 64) >= WINDOW
            assert (peer.stats.stream_bytes, peer.stats.streams, peer.stats.streams_overflowed) == (0, 1, 1)
            assert await peer.call("/text", "call", returns=str) == "call, said Go"
            await other.send("after")
            assert await other.recv() == "after, said Go"
        assert [event.detail for event in events if event.name == "stream_overflow"] == [
            "/stream/make: items came faster than they were read, its rest is dropped"
        ]
        await eventually(lambda: peer.stats.frames_dropped == COUNT + 1 - got, within=PATIENCE)
        assert not peer.closed

    async def test_go_opens_and_a_handler_is_slow(self, link: Link, service: PythonService) -> None:
        go_on = asyncio.Event()
        ends: list[str] = []

        @service.router.stream("/stream/take")
        async def take(stream: arpc.Stream[bytes, Order]) -> None:
            await go_on.wait()
            got = 0
            try:
                async for item in stream:
                    assert item == numbered(got, SIZE)
                    got += 1
            except arpc.StreamReset as reset:
                ends.append(reset.message)
            assert got * (SIZE + 64) >= WINDOW

        peer = await link({"stream_window": WINDOW, "overflow": "reset"})
        await peer.call("/stream/push", Order(COUNT, SIZE))
        assert await peer.call("/stream/pushed", returns=str) == "EOF"
        go_on.set()
        await eventually(lambda: ends == ["overflow: items came faster than they were read"])
        await eventually(lambda: peer.stats.frames_dropped > COUNT // 2)
        assert (peer.stats.stream_bytes, peer.stats.streams, peer.stats.streams_overflowed) == (0, 0, 1)
        assert len(ends) == 1  # what came late has opened nothing

    async def test_a_reader_that_keeps_up_is_not_reset(self, link: Link) -> None:
        peer = await link({"stream_window": 2 * WINDOW, "overflow": "reset"})
        async with peer.open_stream("/stream/echo", returns=bytes) as stream:
            for number in range(500):
                await stream.send(numbered(number, KIB))
                assert await stream.recv() == numbered(number, KIB)
        assert peer.stats.streams_overflowed == 0
