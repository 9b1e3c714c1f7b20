"""Full sockets and full queues: who waits, who is refused, in which order it goes on, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import pytest

import arpc
from arpc.connection import Connection
from tests.peer.conftest import Connect, Link
from tests.peer.raw import NOTIFY, RESPONSE, Raw, frame, request
from tests.peer.target import Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

KIB = 1024
MIB = 1024 * KIB
SOON = 0.15

both_transports = pytest.mark.parametrize("scheme", ["mem", "tcp"])


def collecting() -> tuple[arpc.Router, list[int]]:
    """Notes the number at the start of each body."""
    router, seen = arpc.Router(), list[int]()

    @router.handle("/note")
    def note(body: bytes) -> bytes:
        seen.append(int(body[:8]))
        return body[:8]

    return router, seen


def numbered(number: int, size: int) -> bytes:
    return b"%08d" % number + bytes(size - 8)


async def queued(peer: arpc.Peer, count: int) -> None:
    """More than so many messages wait for handlers."""
    await eventually(lambda: peer._connection.inbox and peer._connection.inbox.waiting > count)


def stop_reading(peer: arpc.Peer) -> None:
    transport = peer._connection.transport
    assert transport is not None
    transport.pause_reading()


def go_on_reading(peer: arpc.Peer) -> None:
    transport = peer._connection.transport
    assert transport is not None
    transport.resume_reading()


async def fill(link: Link) -> list[asyncio.Task[None]]:
    """Has the client notify a server that does not read, until notifies wait; all of them."""
    stop_reading(link.peer)
    sent: list[asyncio.Task[None]] = []
    while not sent or sent[-1].done():
        sent.append(asyncio.create_task(link.client.notify("/note", numbered(len(sent), 64 * KIB))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return sent


# --- the socket is full


def waiters(link: Link) -> int:
    """Those who wait for the client's socket."""
    gate = link.client._connection._gate
    return 0 if gate is None else len(gate._waiters)


@both_transports
async def test_calls_and_notifies_wait_for_the_socket_and_go_on_in_order(connect: Connect, scheme: str) -> None:
    router, seen = collecting()
    link = await connect(router, scheme=scheme)
    sent: list[asyncio.Task[object]] = [*await fill(link)]
    full = len(sent)
    for number in range(full, full + 300):
        body = numbered(number, random.Random(number).choice([8, 100, 10 * KIB, 100 * KIB]))
        wait = link.client.call("/note", body, returns=bytes) if number % 3 else link.client.notify("/note", body)
        sent.append(asyncio.create_task(wait))
    await eventually(lambda: waiters(link) >= 300)
    assert not any(task.done() for task in sent[full - 1 :])
    assert link.client._connection.unwritten < 1 * MIB
    go_on_reading(link.peer)
    await asyncio.gather(*sent)
    await eventually(lambda: len(seen) == len(sent))
    assert seen == list(range(len(sent)))


@both_transports
async def test_giving_up_while_waiting_does_not_strand_the_others(connect: Connect, scheme: str) -> None:
    router, seen = collecting()
    link = await connect(router, scheme=scheme)
    sent = await fill(link)
    full = len(sent)
    sent += [asyncio.create_task(link.client.notify("/note", numbered(full + n, 30 * KIB))) for n in range(200)]
    await eventually(lambda: waiters(link) >= 200)
    chance = random.Random(2)
    given_up = set(chance.sample(range(full, full + 200), 100)) | {full + 199}
    first = sorted(given_up)[:50]
    for number in first:
        sent[number].cancel()
    await asyncio.sleep(0)
    go_on_reading(link.peer)
    for number in sorted(given_up)[50:]:  # these while batches pass
        await asyncio.sleep(0)
        sent[number].cancel()
    results = await asyncio.gather(*sent, return_exceptions=True)
    went = [number for number, result in enumerate(results) if result is None]
    await eventually(lambda: len(seen) == len(went))
    assert seen == went
    assert not set(went) & set(first)
    assert not link.client._connection.blocked
    assert await link.client.call("/note", numbered(1, 8), returns=bytes) == b"00000001"


@both_transports
async def test_the_last_waiters_giving_up_leave_the_way_open(connect: Connect, scheme: str) -> None:
    router, _ = collecting()
    link = await connect(router, scheme=scheme)
    sent = await fill(link)
    waiting = [task for task in sent if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    go_on_reading(link.peer)
    await eventually(lambda: not link.client._connection.paused)
    assert await link.client.call("/note", numbered(7, 8), returns=bytes, timeout=2) == b"00000007"
    link.client.try_notify("/note", numbered(8, 8))


@both_transports
async def test_waiting_for_the_socket_counts_against_the_timeout(connect: Connect, scheme: str) -> None:
    link = await connect(collecting()[0], scheme=scheme)
    sent = await fill(link)
    for wait in (link.client.call("/note", numbered(1, 8), timeout=0.03), link.client.ping(timeout=0.03)):
        with pytest.raises(arpc.CallTimeout):
            await wait
    go_on_reading(link.peer)
    await asyncio.gather(*sent)


@both_transports
async def test_who_waits_for_the_socket_is_told_of_the_end(connect: Connect, scheme: str) -> None:
    link = await connect(collecting()[0], scheme=scheme)
    sent: list[asyncio.Task[object]] = [*await fill(link)]
    sent += [asyncio.create_task(link.client.call("/note", numbered(1, KIB), timeout=None)) for _ in range(100)]
    sent.append(asyncio.create_task(link.client.ping(timeout=None)))
    await asyncio.sleep(0)
    waiting = [task for task in sent if not task.done()]
    assert len(waiting) > 100
    link.peer._connection.abort(arpc.ConnectionClosed("test"))
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, arpc.ConnectionClosed)
        assert not result.sent


@both_transports
async def test_waiters_that_gave_up_are_not_kept(connect: Connect, scheme: str) -> None:
    link = await connect(collecting()[0], scheme=scheme)
    sent = await fill(link)
    gate = link.client._connection._gate
    assert gate is not None
    for _ in range(50):
        late = [asyncio.create_task(link.client.notify("/note", numbered(1, KIB))) for _ in range(100)]
        await asyncio.sleep(0)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    assert len(gate._waiters) < 1000
    go_on_reading(link.peer)
    await asyncio.gather(*sent)


async def test_try_notify_never_waits_and_never_hoards(connect: Connect) -> None:
    link = await connect(collecting()[0], scheme="tcp")
    connection = link.client._connection
    stop_reading(link.peer)
    body, sent, refused = numbered(1, 100), 0, 0
    started = time.perf_counter()
    for _ in range(1_000_000):
        try:
            link.client.try_notify("/note", body)
        except arpc.Overstock:
            refused += 1
            if refused == 1:
                await asyncio.sleep(0)
        else:
            sent += 1
    assert time.perf_counter() - started < 15
    assert refused > 800_000
    assert connection.unwritten + sum(map(len, connection.session.out)) < 2 * MIB
    go_on_reading(link.peer)
    await link.client.call("/note", body, returns=bytes)


@both_transports
async def test_closing_sends_what_is_under_way(connect: Connect, scheme: str) -> None:
    router, seen = collecting()
    link = await connect(router, scheme=scheme)
    sent = 0
    with contextlib.suppress(arpc.Overstock):
        while sent < 1000:
            link.client.try_notify("/note", numbered(sent, 100 * KIB))
            sent += 1
    assert 1 < sent < 1000, "the socket is full"
    await link.client.close()
    await eventually(lambda: len(seen) == sent)


# --- the queue is full


async def paused(target: Target, raw: Raw) -> Connection:
    """Floods the server with more than it may queue, until it reads no more."""
    await raw.send(b"".join(request(seq, b"/hang", b"%d" % seq) for seq in range(1, 51)))
    connection = target.peer()._connection
    await eventually(lambda: connection.reading_paused)
    return connection


async def test_reading_pauses_while_nothing_of_ours_waits() -> None:
    async with under_attack(max_inflight=2, max_queued=10, stall_timeout=1) as target:
        raw = await target.settled()
        connection = await paused(target, raw)
        flood = asyncio.create_task(raw.send(frame(NOTIFY, 1, b"/note", bytes(64 * KIB)) * 1000))
        for _ in range(20):
            await target.honest.call("/echo", b"x", returns=bytes)
        assert not flood.done()
        assert connection.inbox is not None
        assert connection.inbox.waiting < 60
        assert target.peer().stats == arpc.Stats()
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)
        raw.reset()


@pytest.mark.parametrize("what", ["call", "ping"])
async def test_reading_goes_on_the_moment_something_of_ours_waits(what: str) -> None:
    async with under_attack(max_inflight=2, max_queued=10, stall_timeout=1) as target:
        raw = await target.settled()
        connection = await paused(target, raw)
        peer = target.peer()
        waits = asyncio.create_task(peer.call("/ask", timeout=5) if what == "call" else peer.ping(timeout=5))
        asked = await raw.receive_frame()
        assert not connection.reading_paused
        more = b"".join(request(seq, b"/hang", b"more") for seq in range(101, 121))
        await raw.send(more + frame(NOTIFY, 1, b"/note", b"lost") * 20)
        refused = [await raw.receive_frame() for _ in range(20)]
        assert {answer.error for answer in refused} == {"overloaded"}
        await eventually(lambda: peer.stats.notifies_dropped == 20)
        assert peer.stats.overloaded >= 20
        assert len(target.events.details("overloaded")) == 1
        assert len(target.events.details("notify_dropped")) <= 1
        await raw.send(frame(RESPONSE, asked.seq, asked.method) if what == "call" else frame(5))
        await waits
        await raw.send(more)
        await eventually(lambda: connection.reading_paused)  # and pauses again when nothing waits any more


async def test_what_waited_is_served_when_handlers_end() -> None:
    release = asyncio.Event()
    async with under_attack(max_inflight=2, max_queued=10, stall_timeout=1) as target:

        @target.router.handle("/wait")
        async def wait(body: bytes) -> bytes:
            await release.wait()
            return body

        raw = await target.settled()
        await raw.send(b"".join(request(seq, b"/wait", b"%d" % seq) for seq in range(1, 1001)))
        await eventually(lambda: target.peer()._connection.reading_paused)
        release.set()
        answers = [await raw.receive_frame() for _ in range(1000)]
        assert sorted(answer.seq for answer in answers) == list(range(1, 1001))
        assert not any(answer.error for answer in answers)
        assert not target.peer()._connection.reading_paused


async def test_queues_are_bounded_in_bytes() -> None:
    async with under_attack(max_inflight=1, max_queued_bytes=MIB, stall_timeout=1) as target:
        raw = await target.settled()
        wait = b"".join(request(seq, b"/hang", bytes(50 * KIB)) for seq in range(1, 101))
        sending = asyncio.create_task(raw.send(wait))
        await eventually(lambda: target.peer()._connection.reading_paused)
        inbox = target.peer()._connection.inbox
        assert inbox is not None
        assert sum(len(message[5]) for message in inbox.queue) < 2 * MIB
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        raw.reset()


async def test_a_full_socket_ends_a_pause_in_reading() -> None:
    """Else two peers of this kind would neither read nor write."""
    release = asyncio.Event()
    async with under_attack(max_inflight=4, max_queued=4, write_buffer=KIB) as target:

        @target.router.handle("/large")
        async def large(body: bytes) -> bytes:
            await release.wait()
            return bytes(8 * MIB)

        raw = await target.connect(receive_buffer=4 * KIB)
        sending = asyncio.create_task(raw.send(b"".join(request(n, b"/large", bytes(MIB)) for n in range(1, 41))))
        connection = target.peer()._connection
        await eventually(lambda: connection.reading_paused)
        release.set()
        await eventually(lambda: connection.paused)
        await asyncio.wait_for(sending, 5)  # it is read, and refused, while it does not read itself
        assert target.peer().stats.overloaded > 20


async def test_ordered_messages_cost_no_more_when_many_wait(connect: Connect) -> None:
    router, blocked = arpc.Router(), asyncio.Event()

    @router.handle("/ordered", ordered=True)
    async def ordered(body: bytes) -> None:
        await blocked.wait()

    @router.handle("/free")
    async def free(body: bytes) -> None:
        await blocked.wait()

    spent: dict[str, float] = {}
    for method in ("/free", "/ordered"):
        link = await connect(router, options={"max_inflight": 1})
        started = time.perf_counter()
        for _ in range(6000):
            link.client.try_notify(method, b"x")
            await asyncio.sleep(0)
        spent[method] = time.perf_counter() - started
        await queued(link.peer, 5900)
    blocked.set()
    assert spent["/ordered"] < 3 * spent["/free"] + 0.1
