"""What one peer can make the other hold: metadata, cancelled requests, streams, and connections that are not read."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

import arpc
from arpc.connection import STREAMS, Connection
from arpc.hello import EVERY_CAPABILITY
from arpc.inbox import INBOX
from arpc.metadata import read_metadata
from arpc.options import KIB, MIB
from arpc.trailer import make_trailer
from tests.peer.conftest import Connect, Dial, Ends, Link, Pair
from tests.peer.raw import NOTIFY, PING, REQUEST, Raw, frame, hello, request
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

META = 1 << 1
CANCEL = 7
GOAWAY = 10
LOCAL_STREAM = 0x86
SWOLLEN = b"\x81\xa1a\xdc\xea\x60" + b"\x80" * 60_000
"""MessagePack of {"a": [{}, {}, ...]}: 60 KB on the wire, over 4 MB as objects."""


async def attack(link: Link) -> tuple[Raw, Connection]:
    """One more client of the server, which has said Hello, and the server's side of its connection."""
    known = link.server.peers
    raw = await Raw.connect(link.server.address)
    await raw.send(frame(PING, data=hello(flags=EVERY_CAPABILITY)))
    await raw.receive_frame()
    (peer,) = link.server.peers - known
    return raw, peer._connection


class Hanging:
    """A server whose handler ``/hang`` ends when the test lets it."""

    def __init__(self) -> None:
        self.router = arpc.Router()
        self.go_on = asyncio.Event()
        self.began = 0
        self.metadata: list[Any] = []

        @self.router.handle("/hang")
        async def hang(ctx: arpc.Context) -> None:
            self.began += 1
            self.metadata.append(ctx.metadata)
            await self.go_on.wait()


# --- what waits for a handler


def test_large_metadata_are_made_when_they_are_asked_for() -> None:
    message = (REQUEST, 0, META, 1, b"/hang", b"")
    read_metadata(message, b"\x80")  # what is imported at its first use does not count
    tracemalloc.start()
    try:
        read = [read_metadata(message, SWOLLEN) for _ in range(4)]
        assert tracemalloc.get_traced_memory()[0] < 200 * KIB
        assert all(metadata.size == len(SWOLLEN) for metadata in read)
    finally:
        tracemalloc.stop()
    assert read[0].values == {"a": [{}] * 60_000}
    with pytest.raises(arpc.RemoteProtocolError, match="a map, not list"):  # they are checked at once
        read_metadata(message, b"\xdc\xea\x60" + b"\x80" * 60_000)


async def test_metadata_of_waiting_messages_count(connect: Connect) -> None:
    served = Hanging()
    link = await connect(served.router, scheme="tcp", server_options={"max_inflight": 1, "max_queued_bytes": 256 * KIB})
    raw, connection = await attack(link)
    async with raw:
        for seq in range(1, 4):
            await raw.send(frame(REQUEST, seq, b"/hang", make_trailer(SWOLLEN), reserved=META))
        await eventually(lambda: connection.inbox is not None and connection.inbox.waiting == 2)
        assert connection.inbox is not None
        connection.inbox.true_up()
        assert 2 * len(SWOLLEN) < connection.inbox.waiting_bytes < 2 * len(SWOLLEN) + KIB
        assert not connection.holds
        for seq in range(4, 7):
            await raw.send(frame(REQUEST, seq, b"/hang", make_trailer(SWOLLEN), reserved=META))
        await eventually(lambda: connection.holds == INBOX)
        served.go_on.set()
        await eventually(lambda: served.began == 6)
        assert all(metadata == {"a": [{}] * 60_000} for metadata in served.metadata)
        await eventually(lambda: connection.inbox is None)


class Looked(deque[Any]):
    """A queue that counts how often all of it is looked at."""

    times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        return super().__iter__()


async def test_cancels_for_nothing_do_not_look_at_the_whole_queue_each(connect: Connect) -> None:
    served = Hanging()
    link = await connect(served.router, scheme="tcp", server_options={"max_inflight": 1})
    raw, connection = await attack(link)
    async with raw:
        await raw.send(b"".join(request(seq, b"/hang") for seq in range(1, 502)))
        await eventually(lambda: connection.inbox is not None and connection.inbox.waiting == 500)
        inbox = connection.inbox
        assert inbox is not None
        inbox.queue = looked = Looked(inbox.queue)
        cancels = [*range(2, 502), *range(10_000, 13_000)]  # all that wait, then many that never were
        await raw.send(b"".join(frame(CANCEL, seq) for seq in cancels) + frame(PING))
        await raw.receive_frame()
        assert looked.times <= 3_500 // 500
        assert inbox.withdrawn is not None
        assert set(range(2, 502)) <= inbox.withdrawn
        assert len(inbox.withdrawn) <= 2 * 500 + 1
        served.go_on.set()
        assert (await raw.receive_frame()).seq == 1
        await eventually(lambda: connection.inbox is None)
        assert served.began == 1


# --- how many streams


async def test_streams_are_bounded_over_all_connections(connect: Connect, dial: Dial) -> None:
    router = arpc.Router()
    go_on = asyncio.Event()

    @router.stream("/hang")
    async def hang(stream: arpc.Stream[bytes, bytes]) -> None:
        await stream.send(b"began")
        await go_on.wait()

    link = await connect(router, server_options={"max_streams_total": 3})
    other = await dial(link.server)

    async def begin(peer: arpc.Peer) -> arpc.Stream[bytes, Any]:
        stream = await peer.open_stream("/hang", returns=bytes)
        assert await stream.recv() == b"began"
        return stream

    begun = [await begin(link.client), await begin(other.client), await begin(link.client)]
    for client in (link.client, other.client):
        with pytest.raises(arpc.StreamReset, match=r"too many streams: 3 on all connections \(max_streams_total\)"):
            await begin(client)
    await begun.pop().close()
    with pytest.raises(arpc.StreamReset, match="too many streams"):  # its handler still runs
        await begin(other.client)
    go_on.set()
    await eventually(lambda: not endpoint_streams(link))
    await (await begin(other.client)).close()
    for stream in begun:
        await stream.close()
    await eventually(lambda: not endpoint_streams(link))


def endpoint_streams(link: Link) -> int:
    return link.peer._endpoint.streams


# --- reading is paused for a peer without flow control


async def test_the_pause_holds_for_a_handler_that_sends(connect: Connect) -> None:
    router = arpc.Router()
    count = 6_000

    @router.stream("/answering")
    async def answering(stream: arpc.Stream[bytes, bytes]) -> None:
        number = 0
        async for _ in stream:
            number += 1
            if number % 50 == 0:
                await asyncio.sleep(0.001)  # so that more can come meanwhile
            if number % 3:
                await stream.send(b"ack")
            else:
                stream.try_send(b"ack")
                await stream.peer.notify("/note", b"")

    link = await connect(
        router,
        scheme="tcp",
        server_options={"max_queued_bytes": 2 * MIB, "stream_window": 1000},
        client_options={"extensions": False},
    )

    async def send(stream: arpc.Stream[Any, Any]) -> None:
        for _ in range(count):
            await stream.send(bytes(1000))
        await stream.end()

    async with link.client.open_stream("/answering", returns=bytes) as stream:
        sending = asyncio.create_task(send(stream))
        assert [item async for item in stream] == [b"ack"] * count
        await sending
    stats = link.peer.stats
    assert stats.streams_overflowed == 0
    assert 1000 < stats.stream_bytes_peak < MIB


async def paused(ends: Ends) -> Connection:
    """Has the far side send more than the near one, a peer without flow control, takes; its connection."""
    connection: Connection = ends.near.peer._connection
    for _ in range(10):
        await ends.far.send(bytes(1000))
    await eventually(lambda: connection.holds == STREAMS)
    return connection


@pytest.mark.parametrize("asks", ["call", "ping", "stream"])
async def test_what_is_answered_has_reading_go_on(pair: Pair, asks: str) -> None:
    ends = await pair(scheme="tcp", client_options={"extensions": False, "stream_window": 1000})
    connection = await paused(ends)
    client = ends.link.client
    client.try_notify("/note")
    assert connection.holds == STREAMS
    if asks == "call":
        with pytest.raises(arpc.MethodNotFound):
            await client.call("/nothing", timeout=5)
    elif asks == "ping":
        await client.ping(timeout=5)
    else:
        async with client.open_stream("/nothing") as stream:
            with pytest.raises(arpc.StreamEnded):
                await stream.recv(timeout=5)
    await ends.close()
    assert not connection.holds


async def test_a_stream_that_has_ended_with_items_unread_pauses_nothing(pair: Pair) -> None:
    ends = await pair(scheme="tcp", client_options={"extensions": False, "stream_window": 1000}, timeout=0.1)
    connection = await paused(ends)
    await eventually(lambda: ends.near.closed)
    assert not connection.holds
    await ends.link.peer.ping(timeout=5)
    assert [await ends.near.recv() for _ in range(10)] == [bytes(1000)] * 10
    with pytest.raises(arpc.CallTimeout):
        await ends.near.recv()


@pytest.mark.parametrize("how", ["read", "leave", "reset"])
async def test_reading_goes_on_when_the_last_full_stream_is_read_or_left(connect: Connect, how: str) -> None:
    router = arpc.Router()
    streams: dict[int, arpc.Stream[Any, Any]] = {}
    finish = asyncio.Event()

    @router.stream("/hold")
    async def hold(stream: arpc.Stream[bytes, bytes]) -> None:
        streams[stream.id] = stream
        await finish.wait()

    async def relieve(id: int) -> None:
        if how == "read":
            for _ in range(3):
                assert await streams[id].recv() == bytes(100)
        elif how == "leave":
            await streams[id].close()
        else:
            await streams[id].reset("not wanted")

    link = await connect(router, scheme="tcp", server_options={"stream_window": 100})
    known = link.server.peers
    async with await Raw.connect(link.server.address) as raw:
        await raw.send(b"".join(frame(LOCAL_STREAM, id, b"/hold", bytes(100)) for _ in range(3) for id in (1, 2)))
        await eventually(lambda: len(streams) == 2)
        (peer,) = link.server.peers - known
        connection = peer._connection
        flows = connection.session.make_flows()
        assert {flow.id for flow in flows.full} == {1, 2}
        await raw.send(request(9, b"/nothing"))
        await relieve(1)
        assert connection.holds == STREAMS
        await relieve(2)
        assert not connection.holds
        assert not flows.full
        while (await raw.receive_frame()).seq != 9:  # what came meanwhile is read now
            pass
        finish.set()
        streams.clear()
        await eventually(lambda: not connection.acceptor)


# --- slots of handlers, and time


@pytest.mark.parametrize("waits", ["recv", "iterate", "send"])
async def test_a_handler_that_waits_for_a_stream_of_its_peer_lends_its_slot(connect: Connect, waits: str) -> None:
    router, calling = arpc.Router(), arpc.Router()

    @router.handle("/work")
    async def work(ctx: arpc.Context) -> str:
        async with ctx.peer.open_stream("/items", returns=str) as stream:
            if waits == "send":
                for _ in range(3):
                    await stream.send(bytes(100))
            if waits == "iterate":
                async for item in stream:
                    return item
            return await stream.recv()

    @router.handle("/back")
    async def back() -> str:
        await asyncio.sleep(0)  # it takes a slot, too
        return "back"

    @calling.stream("/items")
    async def items(stream: arpc.Stream[bytes, str]) -> None:
        answer = await stream.peer.call("/back", returns=str)
        if waits == "send":
            for _ in range(3):
                await stream.recv()
        await stream.send(answer)

    link = await connect(
        router, calling, server_options={"max_inflight": 2}, client_options={"stream_window": 100, "timeout": 3}
    )
    answers = await asyncio.gather(*(link.client.call("/work", returns=str) for _ in range(8)))
    assert answers == ["back"] * 8


async def test_time_spent_waiting_for_the_socket_is_not_given_twice(connect: Connect) -> None:
    router = arpc.Router()
    left: list[float] = []

    @router.handle("/left")
    async def note(ctx: arpc.Context) -> None:
        left.append(ctx.remaining() or 0)

    @router.stream("/left-stream")
    async def note_stream(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
        left.append(ctx.remaining() or 0)

    link = await connect(router, options={"write_buffer": 1000})
    transport = link.peer._connection.transport
    assert transport is not None
    transport.pause_reading()
    filling = asyncio.create_task(link.client.notify("/nothing", bytes(600_000)))
    await eventually(lambda: link.client._connection.paused)
    began = time.monotonic()

    async def stream() -> None:
        async with link.client.open_stream("/left-stream", timeout=2):
            pass

    asking = [asyncio.create_task(link.client.call("/left", timeout=2)), asyncio.create_task(stream())]
    await asyncio.sleep(0.15)
    transport.resume_reading()
    await asyncio.gather(filling, *asking)
    await eventually(lambda: len(left) == 2)
    spent = time.monotonic() - began
    assert all(2 - spent - 0.05 < seconds < 1.87 for seconds in left)


async def test_a_stream_has_its_timeout_for_all_of_it(connect: Connect) -> None:
    router = arpc.Router()
    router.stream("/hold")(hold_for_ever)
    link = await connect(router, options={"write_buffer": 1000})
    transport = link.peer._connection.transport
    assert transport is not None
    transport.pause_reading()
    filling = asyncio.create_task(link.client.notify("/nothing", bytes(600_000)))
    await eventually(lambda: link.client._connection.paused)
    began = time.monotonic()
    opening = asyncio.create_task(opened(link.client, 0.3))
    await asyncio.sleep(0.2)
    transport.resume_reading()
    stream = await opening
    with pytest.raises(arpc.CallTimeout):
        await stream.recv()
    assert 0.28 < time.monotonic() - began < 0.49  # 0.2 of them were over when it was sent
    await filling


async def hold_for_ever(stream: arpc.Stream[bytes, bytes]) -> None:
    await asyncio.Event().wait()


async def opened(peer: arpc.Peer, timeout: float) -> arpc.Stream[Any, Any]:
    return await peer.open_stream("/hold", timeout=timeout)


# --- after the end


@pytest.mark.parametrize("what", ["stream", "notify", "request"])
async def test_what_begins_after_a_close_in_the_same_chunk_is_not_served(connect: Connect, what: str) -> None:
    """Nothing would end its handler any more: the connection has ended before."""
    router = arpc.Router()
    began: list[str] = []

    @router.stream("/hold")
    async def hold(stream: arpc.Stream[bytes, bytes]) -> None:
        began.append("stream")
        await asyncio.Event().wait()

    @router.handle("/hang")
    async def hang() -> None:
        began.append("message")
        await asyncio.Event().wait()

    def close_at_once(event: arpc.Event) -> None:
        if event.name == "goaway":  # as a task that is started eagerly would
            closing = event.peer.close()
            closing.send(None)
            closing.close()

    link = await connect(router, scheme="tcp", server_options={"on_event": close_at_once, "notify_grace": 0.05})
    raw, connection = await attack(link)
    late = {
        "stream": frame(LOCAL_STREAM, 1, b"/hold", b"x") + frame(LOCAL_STREAM, 2, b"/hold", b"x"),
        "notify": frame(NOTIFY, 1, b"/hang"),
        "request": request(1, b"/hang"),
    }
    async with raw:
        await raw.send(frame(GOAWAY) + late[what])
        await raw.ended()
        assert not connection.open
        await asyncio.sleep(0)
    assert began == []
    assert connection.acceptor is None
