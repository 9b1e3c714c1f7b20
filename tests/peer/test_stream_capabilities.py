"""Streams between peers that do not both know everything: no reset, no flow control, no empty items."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import arpc
from arpc.hello import EVERY_CAPABILITY
from arpc.options import KIB, OptionKeywords
from tests.peer.conftest import Connect, Pair
from tests.peer.raw import Events
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

Capability = arpc.Capability


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


CAPABILITIES: list[OptionKeywords] = [
    {"extensions": False},
    {"capabilities": Capability(0)},
    {"capabilities": Capability.CREDIT},
    {"capabilities": Capability.CANCEL},
    {"capabilities": EVERY_CAPABILITY & ~Capability.CANCEL},
    {"capabilities": EVERY_CAPABILITY & ~Capability.CREDIT},
]
less = pytest.mark.parametrize("less", CAPABILITIES, ids=lambda less: str(less.get("capabilities", "none")))
either_side = pytest.mark.parametrize("opener", ["client", "server"])


def has(less: OptionKeywords, capability: arpc.Capability) -> bool:
    return capability in less.get("capabilities", Capability(0))


@less
@either_side
async def test_streams_of_peers_that_know_less(pair: Pair, opener: str, less: OptionKeywords) -> None:
    ends = await pair(opener, client_options=less, options={"stream_window": 1000, "hello_timeout": 0.05})
    for send, other in (ends.both(), ends.both()[::-1]):
        sent = [b"%d" % number + bytes(100) for number in range(100)]
        if has(less, Capability.EMPTY):
            await send.send(b"")
            assert await other.recv() == b""
        else:
            with pytest.raises(arpc.LocalProtocolError, match="EMPTY"):
                await send.send(b"")
        reading = asyncio.create_task(rest(other))
        for item in sent:
            await send.send(item)
        await send.end()
        assert await reading == sent
    await eventually(ends.gone)


@less
@either_side
@pytest.mark.parametrize("leaver", [0, 1])
async def test_leaving_a_writer_of_peers_that_know_less(
    pair: Pair, opener: str, less: OptionKeywords, leaver: int
) -> None:
    ends = await pair(opener, client_options=less, options={"stream_window": 1000, "hello_timeout": 0.05})
    left, writing = ends.both()[leaver], ends.both()[1 - leaver]
    for _ in range(5):
        await writing.send(bytes(100))
    await left.reset("a text")

    async def write() -> None:
        for _ in range(100):
            await writing.send(bytes(100))
            await asyncio.sleep(0)
        await writing.end()

    if has(less, Capability.CANCEL):
        with pytest.raises(arpc.StreamReset, match="a text"):
            await asyncio.wait_for(write(), 5)
    else:
        await asyncio.wait_for(write(), 5)  # nobody takes them; that cannot be told, and nobody waits for ever
        assert await rest(writing) == []
    await eventually(ends.gone)
    assert not any(peer.stats.stream_bytes for peer in ends.link.both)


@less
@pytest.mark.parametrize("size", [0, 10, 5000])
async def test_refused_streams_of_peers_that_know_less(connect: Connect, less: OptionKeywords, size: int) -> None:
    router = arpc.Router()

    @router.stream("/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        await rest(stream)

    options: OptionKeywords = {"stream_window": 1000, "max_item": 2000, "hello_timeout": 0.05}
    link = await connect(router, router, client_options=less, options=options)
    for peer in link.both:
        for method in ("/nothing", "/take"):
            if method == "/take" and size < 2000:
                continue  # that one is not refused
            for items in (None, [b"x"] * 50):
                async with peer.stream(method, bytes(size) or b"x", items=items, returns=bytes) as stream:
                    try:
                        assert await asyncio.wait_for(rest(stream), 5) == []
                    except arpc.StreamReset:
                        assert has(less, Capability.CANCEL)
                    if items is None and not has(less, Capability.CANCEL):
                        assert stream.closed
        await eventually(lambda: not any(peer.stats.streams for peer in link.both), why="streams are left")


@either_side
async def test_a_fast_peer_without_flow_control_is_not_read_meanwhile(pair: Pair, opener: str) -> None:
    options: OptionKeywords = {"stream_window": 10 * KIB, "hello_timeout": 0.05}
    ends = await pair(opener, scheme="tcp", client_options={"extensions": False}, options=options)
    near, far = ends.both()
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(4000):
            await near.send(bytes(KIB))
            sent += 1
        await near.end()

    sending = asyncio.create_task(send())
    await eventually(lambda: far.peer._connection.reading_paused)
    await asyncio.sleep(0.05)
    assert far.peer._connection.reading_paused
    assert far.queued < 400 * KIB  # what came with one read of the socket
    assert await rest(far) == [bytes(KIB)] * 4000
    await sending
    await near.close()
    ends.finish.set_result(None)
    await eventually(ends.gone)


@either_side
async def test_a_fast_peer_without_flow_control_may_be_reset(pair: Pair, opener: str) -> None:
    events = Events()
    options: OptionKeywords = {
        "stream_window": 10 * KIB,
        "overflow": "reset",
        "on_event": events,
        "hello_timeout": 0.05,
    }
    ends = await pair(opener, client_options={"extensions": False}, options=options)
    other = await pair(opener, link=ends.link)
    near, far = ends.both()
    for _ in range(30):
        await near.send(bytes(KIB))
    got: list[bytes] = []
    with pytest.raises(arpc.StreamReset, match="overflow"):
        while True:
            got.append(await far.recv(timeout=5))
    assert 10 <= len(got) < 30
    assert far.peer.stats.streams_overflowed == 1
    assert len(events.details("stream_overflow")) == 1
    await near.end()
    await other.near.send(b"x")
    assert await other.far.recv() == b"x"
