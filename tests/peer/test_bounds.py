"""Clients that are slow, silent, greedy or gone: what they may hold is bounded, and in time they are cut off."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, repeat

import pytest

from tests.peer.raw import NOTIFY, PING, PONG, REQUEST, STREAM, Raw, frame, request
from tests.peer.target import Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

KIB = 1024
MIB = 1024 * KIB
SOON = 0.15
"""A timeout option for what is to be cut off."""


class Memory:
    """Bytes that Python holds more than at the start."""

    def __init__(self) -> None:
        self._before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()

    @property
    def grown(self) -> int:
        return tracemalloc.get_traced_memory()[0] - self._before

    @property
    def peak(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._before


@contextlib.contextmanager
def memory() -> Iterator[Memory]:
    tracemalloc.start()
    try:
        yield Memory()
    finally:
        tracemalloc.stop()


def causes(target: Target) -> list[str]:
    return target.events.details("close")


# --- slow and silent


async def test_silence_is_fine_and_cheap() -> None:
    async with under_attack(stall_timeout=SOON, send_timeout=SOON, hello_timeout=SOON) as target:
        with memory() as held:
            clients = [await target.connect(accepted=False) for _ in range(100)]
            await eventually(lambda: len(target.server.peers) == 101)
            for _ in range(20):
                await asyncio.sleep(SOON / 10)  # twice the time after which a standstill would count
                assert await target.honest.call("/echo", b"x", returns=bytes) == b"x"
            assert len(target.server.peers) == 101
            assert held.grown < 100 * 12 * KIB  # the test's own sockets count as well
        for raw in clients:
            raw.close()


@pytest.mark.parametrize("start", [b"", request(1, b"/echo", bytes(1000))[:500]], ids=["header", "body"])
async def test_a_byte_now_and_then_is_a_standstill(start: bytes) -> None:
    async with under_attack(stall_timeout=SOON) as target:
        raw = await target.connect()
        await raw.send(start)
        with pytest.raises(ConnectionError):
            for byte in bytes(10_000):
                await raw.send(bytes([byte]))
                await asyncio.sleep(SOON / 4)
        raw.close()
        (cause,) = causes(target)
        assert "stall_timeout" in cause


async def test_a_frame_that_grows_is_no_standstill() -> None:
    async with under_attack(stall_timeout=SOON) as target:
        body = bytes(100 * KIB)
        whole = request(1, b"/echo", body)
        async with await target.connect() as raw:
            for start in range(0, len(whole), 5 * KIB):
                await raw.send(whole[start : start + 5 * KIB])
                await asyncio.sleep(SOON / 8)
            assert (await raw.receive_frame()).data == body


async def test_short_frames_that_come_in_pieces_are_no_standstill() -> None:
    async with under_attack(stall_timeout=SOON) as target:
        whole = request(1, b"/echo", b"x")
        async with await target.connect() as raw:
            await raw.send(whole[:9])
            for _ in range(30):
                await asyncio.sleep(SOON / 10)
                await raw.send(whole[9:] + whole[:9])
                assert (await raw.receive_frame()).data == b"x"


# --- claims


async def test_a_claim_followed_by_silence_costs_nothing() -> None:
    async with under_attack(stall_timeout=SOON) as target:
        with memory() as held:
            async with await target.connect() as raw:
                await raw.send(frame(REQUEST, 1, b"/echo", b"x" * 1000, length=64 * MIB - 16))
                await eventually(lambda: target.server._endpoint.buffered)
                await raw.ended()
            assert held.peak < 1 * MIB
        assert "stall_timeout" in causes(target)[0]


async def test_many_claims_cost_what_they_sent() -> None:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients_at_once = max(100, min(1000, (descriptors - 200) // 2))
    async with under_attack() as target:
        with memory() as held:
            clients = [await target.connect(accepted=False) for _ in range(clients_at_once)]
            for raw in clients:
                await raw.send(frame(REQUEST, 1, b"/echo", b"x" * 1000, length=63 * MIB))
            await eventually(lambda: target.server._endpoint.buffered >= clients_at_once * 1000)
            assert held.peak < clients_at_once * 16 * KIB
            assert await target.honest.call("/echo", b"x", returns=bytes) == b"x"
            for raw in clients:
                raw.reset()


async def test_the_largest_holder_goes_when_all_hold_too_much() -> None:
    async with under_attack(max_buffered=512 * KIB) as target:
        small = [await target.connect() for _ in range(10)]
        whole = request(1, b"/echo", bytes(50 * KIB))
        for raw in small:
            await raw.send(whole[: 30 * KIB])
        await eventually(lambda: target.server._endpoint.buffered == 10 * 30 * KIB)
        large = await target.connect()
        await large.send(frame(REQUEST, 1, b"/echo", bytes(300 * KIB), length=600 * KIB))
        await large.ended()
        large.close()
        assert len(target.server.peers) == 11
        for raw in small:
            await raw.send(whole[30 * KIB :])
        for raw in small:
            assert len((await raw.receive_frame()).data) == 50 * KIB
            raw.close()
        assert len([cause for cause in causes(target) if "max_buffered" in cause]) == 1


async def test_unfinished_frames_never_hold_more_than_max_buffered() -> None:
    async with under_attack(max_buffered=512 * KIB) as target:
        endpoint, most = target.server._endpoint, 0
        clients: list[Raw] = []
        for _ in range(40):
            clients.append(await target.connect())
            with contextlib.suppress(ConnectionError):
                await clients[-1].send(frame(REQUEST, 1, b"/echo", bytes(60 * KIB), length=MIB))
            await target.honest.call("/echo", b"x", returns=bytes)
            most = max(most, endpoint.buffered)
        assert 256 * KIB < most <= 512 * KIB
        for raw in clients:
            raw.reset()


async def test_who_waits_for_handlers_counts_against_max_buffered() -> None:
    """Whole frames in queues, on many connections: reading of those who hold the most pauses, or they go."""
    async with under_attack(max_buffered=512 * KIB, max_inflight=1) as target:
        endpoint, most = target.server._endpoint, 0
        clients: list[Raw] = []
        sending: list[asyncio.Task[None]] = []
        for _ in range(20):
            raw = await target.connect()
            clients.append(raw)
            burst = b"".join(request(seq, b"/hang", bytes(10 * KIB)) for seq in range(1, 41))
            sending.append(asyncio.create_task(raw.send(burst)))
            for _ in range(5):
                await target.honest.call("/echo", b"x", returns=bytes)
            most = max(most, sum(held(connection) for connection in endpoint.connections))
        assert most <= 2 * 512 * KIB  # a chunk is taken before it is counted
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for raw in clients:
            raw.reset()


def held(connection: object) -> int:
    inbox = getattr(connection, "inbox", None)
    return 0 if inbox is None else sum(len(message[5]) for message in inbox.queue)


async def test_who_holds_little_is_served_while_another_holds_all() -> None:
    async with under_attack(max_buffered=512 * KIB, max_inflight=1) as target:
        greedy = await target.connect()
        hang = request(1, b"/hang")
        wait = b"".join(request(seq, b"/hang", bytes(64 * KIB)) for seq in range(2, 40))
        sending = asyncio.create_task(greedy.send(hang + wait))
        await eventually(lambda: target.server._endpoint.buffered > 400 * KIB or sending.done())
        whole = request(1, b"/echo", bytes(20 * KIB))
        async with await target.connect() as raw:
            for _ in range(10):
                await raw.send(whole[: 10 * KIB])
                await target.honest.call("/echo", b"x", returns=bytes)
                await raw.send(whole[10 * KIB :])
                assert len((await raw.receive_frame()).data) == 20 * KIB
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        greedy.reset()


# --- senders that do not read


async def test_who_stops_reading_is_cut_off() -> None:
    async with under_attack(send_timeout=SOON) as target:
        with memory() as held:
            raw = await target.connect(receive_buffer=4 * KIB)
            await raw.send(request(1, b"/echo", bytes(16 * MIB)))
            await eventually(lambda: causes(target))
            assert held.peak < 16 * MIB * 6  # the test's own two copies among them
        raw.close()
        assert "send_timeout" in causes(target)[0]


async def test_who_reads_slowly_is_not_cut_off() -> None:
    async with under_attack(send_timeout=SOON) as target:
        async with await target.connect(receive_buffer=4 * KIB) as raw:
            sending = asyncio.create_task(raw.send(request(1, b"/echo", bytes(12 * MIB))))
            await sending
            left = 16 + 5 + 12 * MIB
            while left > 6 * MIB:
                left -= len(await raw.receive(64 * KIB))
                await asyncio.sleep(SOON / 100)
            await raw.receive(left)
        assert not [cause for cause in causes(target) if "send_timeout" in cause]


def requests(method: bytes, body: bytes, count: int) -> Iterator[bytes]:
    """Endless chunks of so many requests, no number twice."""
    start = 1
    while True:
        yield b"".join(request(seq, method, body) for seq in range(start, start + count))
        start += count


def streams(start: int) -> bytes:
    """A thousand streams that begin."""
    return b"".join(frame(STREAM | 0x80, seq, b"/nobody") for seq in range(start, start + 1000))


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "pings": lambda: repeat(frame(PING) * 1000),
    "requests": lambda: requests(b"/echo", bytes(KIB), 64),
    "requests to suspended handlers": lambda: requests(b"/later", bytes(KIB), 64),
    "requests to nobody": lambda: requests(b"/nobody", b"", 1000),
    "requests without a method": lambda: requests(b"", b"", 1000),
    "streams to nobody": lambda: (streams(start) for start in count(1, 1000)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_who_sends_and_never_reads_is_cut_off(flood: Callable[[], Iterator[bytes]]) -> None:
    async with under_attack(send_timeout=1, max_queued=1000) as target:
        raw = await target.connect(receive_buffer=4 * KIB)
        with pytest.raises(ConnectionError):
            for chunk in flood():
                await raw.send(chunk)
        raw.close()
        (cause,) = causes(target)
        assert "read" in cause


@pytest.mark.parametrize("kind", ["pings", "requests"])
async def test_who_sends_and_never_reads_costs_little(kind: str) -> None:
    async with under_attack(send_timeout=1, max_queued=1000) as target:
        with memory() as held:
            raw = await target.connect(receive_buffer=4 * KIB)
            with pytest.raises(ConnectionError):
                for chunk in FLOODS[kind]():
                    await raw.send(chunk)
            raw.close()
            assert held.peak < 24 * MIB


async def test_notifies_to_a_full_queue_do_not_add_up_while_the_socket_is_full() -> None:
    async with under_attack(send_timeout=10, max_queued=100, max_inflight=1, write_buffer=64 * KIB) as target:
        raw = await target.connect(receive_buffer=4 * KIB)
        await raw.send(request(1, b"/echo", bytes(12 * MIB)))
        await eventually(lambda: any(connection.paused for connection in target.server._endpoint.connections))
        with memory() as held:
            for _ in range(200):
                await raw.send(frame(NOTIFY, 1, b"/note", bytes(10 * KIB)) * 20)
            assert held.peak < 8 * MIB
        assert target.peer().stats.notifies_dropped > 1000
        assert len(target.events.details("notify_dropped")) == 1
        raw.reset()


async def test_closing_does_not_wait_for_who_never_reads() -> None:
    async with under_attack(send_timeout=SOON) as target:
        raw = await target.connect(receive_buffer=4 * KIB)
        await eventually(lambda: len(target.server.peers) == 2)
        await raw.send(request(1, b"/echo", bytes(12 * MIB)))
        await eventually(lambda: target.peer()._connection.paused)
        await asyncio.wait_for(target.peer().close(), 2)
        raw.close()


async def test_who_ends_its_half_and_never_reads_is_cut_off() -> None:
    async with under_attack(send_timeout=SOON, write_buffer=16 * MIB) as target:
        raw = await target.connect(receive_buffer=4 * KIB)
        await raw.send(request(1, b"/echo", bytes(12 * MIB)))
        await eventually(lambda: any(c.unwritten for c in target.server._endpoint.connections))
        raw.end()
        await eventually(lambda: len(target.server._endpoint.connections) == 1, within=2)
        raw.close()


async def test_pongs_are_sent_to_who_reads_late() -> None:
    async with under_attack() as target, await target.connect() as raw:
        await raw.send(frame(PING) * 10_000)
        for _ in range(10_000):
            assert (await raw.receive_frame()).command == PONG


# --- gone


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_who_disappears_while_it_is_not_read_is_noticed(ending: str) -> None:
    """Its requests wait for handlers that never end, so its reading is paused: its end must be seen all the same."""
    async with under_attack(max_inflight=1, max_queued=4, stall_timeout=4 * SOON) as target:
        raw = await target.connect()
        await raw.send(b"".join(request(seq, b"/hang", b"%d" % seq) for seq in range(1, 100)))
        await eventually(lambda: target.peer()._connection.reading_paused)
        getattr(raw, ending)()
        await eventually(lambda: target.cancelled, within=3)
        assert target.cancelled == ["1"]


async def test_connections_that_come_and_go_leave_nothing() -> None:
    async with under_attack() as target:
        for _ in range(50):
            (await target.connect(accepted=False)).reset()
        await eventually(lambda: len(target.server._endpoint.connections) == 1)
        with memory() as held:
            for number in range(3000):
                raw = await Raw.connect(target.server.address)
                if number % 3 == 1:
                    await raw.send(request(1, b"/hang", b"x") + b"\1")
                raw.reset() if number % 2 else raw.close()
            await eventually(lambda: len(target.server._endpoint.connections) == 1)
            target.events.seen.clear()
            target.cancelled.clear()
            assert await target.honest.call("/echo", b"x", returns=bytes) == b"x"
            gc.collect()
            assert held.grown < 300 * KIB, "100 bytes a connection are left"
