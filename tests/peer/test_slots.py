"""Slots for handlers: all are given back, whoever gives up, and those who left still get their turn."""

from __future__ import annotations

import asyncio
import random

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


SOON = 0.15

both_transports = pytest.mark.parametrize("scheme", ["mem", "tcp"])


def collecting() -> tuple[arpc.Router, list[str]]:
    """Notes each body."""
    router, seen = arpc.Router(), list[str]()

    @router.handle("/note")
    def note(body: str) -> None:
        seen.append(body)

    return router, seen


async def idle(peer: arpc.Peer) -> None:
    """No handler runs for this peer."""
    await eventually(lambda: peer._endpoint.inflight == 0 and peer._connection.inbox is None)


async def test_notifies_of_ended_connections_get_their_turn(connect: Connect) -> None:
    """The server's slots are all taken; whoever notified and left is served as soon as one is free."""
    router, seen = collecting()
    release = asyncio.Event()

    @router.handle("/hold")
    async def hold() -> None:
        await release.wait()

    link = await connect(router, options={"max_inflight_total": 1})
    holding = asyncio.create_task(link.client.call("/hold"))
    await eventually(lambda: link.server._endpoint.inflight)
    async with arpc.connect(link.server.address) as other:
        for number in range(5):
            await other.notify("/note", str(number))
    await eventually(lambda: len(link.server.peers) == 1)
    assert not seen
    release.set()
    await holding
    await eventually(lambda: seen == ["0", "1", "2", "3", "4"])


async def test_notifies_of_ended_connections_do_not_wait_for_ever(connect: Connect) -> None:
    router, seen = collecting()
    release = asyncio.Event()

    @router.handle("/hold")
    async def hold() -> None:
        await release.wait()

    link = await connect(router, options={"max_inflight_total": 1}, server_options={"notify_grace": SOON})
    holding = asyncio.create_task(link.client.call("/hold"))
    await eventually(lambda: link.server._endpoint.inflight)
    async with arpc.connect(link.server.address) as other:
        await other.notify("/note", "1")
    await eventually(lambda: len(link.server.peers) == 1)
    endpoint = link.server._endpoint
    await eventually(lambda: not endpoint.lingering and not endpoint.buffered)
    assert not seen
    release.set()
    await holding


@both_transports
@pytest.mark.parametrize("seed", range(3))
async def test_giving_up_anywhere_leaves_no_slot_taken(connect: Connect, scheme: str, seed: int) -> None:
    """Calls that call back, three deep, on two slots, given up at random moments."""
    router = arpc.Router()

    @router.handle("/deep")
    async def deep(depth: int, ctx: arpc.Context) -> int:
        await asyncio.sleep(0)
        return 0 if not depth else 1 + await ctx.peer.call("/deep", depth - 1, returns=int)

    link = await connect(router, router, scheme=scheme, options={"max_inflight": 2, "timeout": 5})
    chance = random.Random(seed)
    for _ in range(10):
        calls = [asyncio.create_task(peer.call("/deep", 3, returns=int)) for peer in link.both for _ in range(10)]
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        for call in chance.sample(calls, 10):
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(result == 3 or isinstance(result, asyncio.CancelledError) for result in results), results
    for peer in link.both:
        await idle(peer)
        assert await peer.call("/deep", 3, returns=int) == 3
