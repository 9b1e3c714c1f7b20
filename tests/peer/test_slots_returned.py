"""The slots of ``max_inflight`` after cancellations, timeouts and ends: none is lost, and none is there twice.

That all of them come back in the end is checked after each test.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect, Dial
from tests.peer.gauge import Gauge, backing, endpoint_of
from tests.tools import eventually


def interrupted(gauge: Gauge, hold: asyncio.Event) -> tuple[arpc.Router, arpc.Router]:
    served, calling = arpc.Router(), arpc.Router()

    @calling.handle("/back")
    async def back() -> None:
        await hold.wait()

    @served.handle("/impatient")
    async def impatient(ctx: arpc.Context) -> str:
        """Gives up its call back, in one of several ways, and goes on."""
        with suppress(TimeoutError):
            await ctx.peer.call("/back", timeout=0.01)
        with gauge.running():
            await asyncio.sleep(0.001)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.005):
                await ctx.peer.call("/back")
        with gauge.running():
            await asyncio.sleep(0.001)
        call = asyncio.ensure_future(ctx.peer.call("/back"))
        await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        with gauge.running():
            await asyncio.sleep(0.001)
        return "gave up"

    @served.handle("/busy")
    async def busy() -> None:
        with gauge.running():
            await asyncio.sleep(0.02)

    return served, calling


@pytest.mark.parametrize("bound", [1, 3])
async def test_handlers_that_give_up_their_calls_back_are_bounded_as_well(connect: Connect, bound: int) -> None:
    gauge, hold = Gauge(), asyncio.Event()
    link = await connect(*interrupted(gauge, hold), server_options={"max_inflight": bound})
    calls = [link.client.call("/impatient", returns=str) for _ in range(10)]
    others = [link.client.call("/busy") for _ in range(10)]
    await asyncio.gather(*calls, *others)
    hold.set()
    assert gauge.most == bound
    await eventually(lambda: endpoint_of(link).inflight == 0)


async def test_a_handler_that_is_cancelled_while_it_waits_for_its_slot_again(connect: Connect) -> None:
    """Its call has returned, another handler has the slot, and the connection ends."""
    served, calling = arpc.Router(), arpc.Router()
    ended: list[str] = []
    release = asyncio.Event()

    @calling.handle("/back")
    async def back() -> None: ...

    @served.handle("/first")
    async def first(ctx: arpc.Context) -> None:
        try:
            await ctx.peer.call("/back")
            ended.append("returned")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @served.handle("/second")
    async def second() -> None:
        try:
            await release.wait()
        finally:
            ended.append("second")

    link = await connect(served, calling, server_options={"max_inflight": 1})
    calls = [asyncio.ensure_future(link.client.call(method)) for method in ("/first", "/second")]
    connection = link.peer._connection
    await eventually(lambda: connection.session.serving is not None and len(connection.session.serving) == 2)
    await eventually(lambda: not connection.session.pending)
    assert endpoint_of(link).inflight == 1
    assert ended == []
    await link.client.close()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, arpc.ConnectionClosed)
    await eventually(lambda: sorted(ended) == ["cancelled", "second"])
    await eventually(lambda: endpoint_of(link).inflight == 0)


async def test_a_handler_whose_patience_ends_while_it_waits_for_its_slot(connect: Connect) -> None:
    """Its call has returned, another handler has the slot, and a timeout of its own ends the wait."""
    served, gauge, hold = arpc.Router(), Gauge(), asyncio.Event()

    @served.handle("/impatient")
    async def impatient(ctx: arpc.Context) -> str:
        try:
            async with asyncio.timeout(0.005):
                await ctx.peer.call("/back")
        except TimeoutError:
            with gauge.running():
                await asyncio.sleep(0.001)
            return "timed out"
        return "returned"

    @served.handle("/busy")
    async def busy() -> str:
        with gauge.running():
            await hold.wait()
        return "ended"

    link = await connect(served, backing(), server_options={"max_inflight": 1})
    calls = [asyncio.ensure_future(link.client.call(method, returns=str)) for method in ("/impatient", "/busy")]
    await eventually(lambda: gauge.now == 1)
    asyncio.get_running_loop().call_later(0.03, hold.set)
    assert await asyncio.gather(*calls) == ["timed out", "ended"]
    assert gauge.most == 1


@pytest.mark.parametrize("seed", range(3))
async def test_slots_after_everything_at_once(connect: Connect, dial: Dial, seed: int) -> None:
    """Calls back, timeouts, cancellations and ends of connections, at random; the bounds hold, and nothing is left."""
    chance, gauge = random.Random(seed), Gauge()
    served, calling = arpc.Router(), backing()

    @calling.handle("/slow")
    async def slow() -> None:
        await asyncio.sleep(chance.random() / 100)

    async def ask(ctx: arpc.Context) -> None:
        with suppress(arpc.CallTimeout):
            await ctx.peer.call(chance.choice(["/back", "/slow"]), timeout=chance.choice([0.001, 5]))

    @served.handle("/any")
    async def anything(ctx: arpc.Context) -> None:
        for _ in range(chance.randrange(4)):
            with gauge.running():
                await asyncio.sleep(chance.choice([0, 0.001]))
            if chance.random() < 0.3:
                await asyncio.gather(*(ask(ctx) for _ in range(3)))
            elif chance.random() < 0.3:
                task = asyncio.create_task(ask(ctx))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            else:
                await ask(ctx)

    first = await connect(served, calling, server_options={"max_inflight": 3, "max_inflight_total": 7})
    links = [first, *[await dial(first.server, calling) for _ in range(5)]]
    calls: list[asyncio.Future[Any]] = []
    for n in range(300):
        link = chance.choice(links)
        timeout = chance.choice([0.002, 20, 20])
        calls.append(asyncio.ensure_future(link.client.call("/any", timeout=timeout)))
        if chance.random() < 0.2:
            chance.choice(calls).cancel()
        if n == 200:
            await links[5].client.close()
        if n % 10 == 0:
            await asyncio.sleep(0.001)
    await asyncio.wait(calls, timeout=20)
    errors = [call.exception() for call in calls if not call.cancelled()]
    assert all(isinstance(error, arpc.CallTimeout | arpc.ConnectionClosed | None) for error in errors)
    assert 3 < gauge.most <= 7
    await eventually(lambda: endpoint_of(first).inflight == 0)


async def test_a_handler_that_ends_while_its_task_waits_for_the_slot(connect: Connect) -> None:
    served, gate, hold = arpc.Router(), asyncio.Event(), asyncio.Event()
    left: list[asyncio.Task[None]] = []

    @served.handle("/leave")
    async def leave(ctx: arpc.Context) -> str:
        left.append(asyncio.create_task(ctx.peer.call("/back")))
        await gate.wait()
        return "left"

    @served.handle("/busy")
    async def busy() -> str:
        await hold.wait()
        return "ended"

    link = await connect(served, backing(), server_options={"max_inflight": 1})
    one, two = (asyncio.ensure_future(link.client.call(method, returns=str)) for method in ("/leave", "/busy"))
    session = link.peer._connection.session
    await eventually(lambda: left and len(session.serving or ()) == 2 and not session.pending)
    gate.set()
    assert await one == "left"
    hold.set()
    assert await two == "ended"
    await asyncio.gather(*left)
    await eventually(lambda: endpoint_of(link).inflight == 0)


async def test_a_timed_out_handlers_slot_is_its_own_until_it_has_ended(connect: Connect) -> None:
    """The caller has long given up, without a way to tell; its handler runs on, and counts."""
    router = arpc.Router()
    gauge, hold = Gauge(), asyncio.Event()

    @router.handle("/stubborn")
    async def stubborn() -> None:
        with gauge.running():
            await hold.wait()

    link = await connect(router, server_options={"max_inflight": 2, "extensions": False})
    for _ in range(4):
        with pytest.raises(arpc.CallTimeout):
            await link.client.call("/stubborn", timeout=0.005)
    assert gauge.now == gauge.most == 2
    hold.set()
    await eventually(lambda: link.client.stats.frames_dropped == 4)
    assert gauge.most == 2


async def test_a_task_that_a_handler_leaves_behind_lends_nobodys_slot(connect: Connect) -> None:
    """It calls the peer while the runner that it was started in serves other messages."""
    served, calling = arpc.Router(), arpc.Router()
    gauge, hold = Gauge(), asyncio.Event()
    left: list[asyncio.Task[None]] = []

    @calling.handle("/back")
    async def back() -> None:
        await hold.wait()

    @served.handle("/leave")
    async def leave(ctx: arpc.Context) -> None:
        left.append(asyncio.create_task(ctx.peer.call("/back")))

    @served.handle("/busy")
    async def busy() -> None:
        with gauge.running():
            await asyncio.sleep(0.002)

    link = await connect(served, calling, server_options={"max_inflight": 1})
    await asyncio.gather(*(link.client.call(method) for _ in range(10) for method in ("/leave", "/busy")))
    hold.set()
    await asyncio.gather(*left)
    assert gauge.most == 1


async def test_a_call_to_another_peer_keeps_the_slot(connect: Connect) -> None:
    """Only calls to the peer that is being served may wait for what waits for this handler."""
    gauge = Gauge()
    behind = await connect(backing())
    router = arpc.Router()

    @router.handle("/relay")
    async def relay() -> None:
        with gauge.running():
            await behind.client.call("/back")

    link = await connect(router, server_options={"max_inflight": 2})
    await asyncio.gather(*(link.client.call("/relay") for _ in range(20)))
    assert gauge.most == 2
