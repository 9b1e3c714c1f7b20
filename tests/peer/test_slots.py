"""The slots of ``max_inflight``: they bound what runs, and never keep two sides waiting for each other."""

from __future__ import annotations

import asyncio

import pytest

import arpc
from tests.peer.conftest import Connect, Dial
from tests.peer.gauge import Gauge, backing, endpoint_of
from tests.tools import eventually


def gauged(gauge: Gauge) -> arpc.Router:
    router = arpc.Router()

    @router.handle("/work")
    async def work(ctx: arpc.Context) -> None:
        with gauge.running():
            await asyncio.sleep(0.001)
        await ctx.peer.call("/back")
        with gauge.running():
            await asyncio.sleep(0.001)
        await asyncio.gather(ctx.peer.call("/back"), ctx.peer.call("/back"))
        with gauge.running():
            await asyncio.sleep(0)

    @router.handle("/simple")
    async def simple() -> None:
        with gauge.running():
            await asyncio.sleep(0.001)

    return router


@pytest.mark.parametrize("bound", [1, 4])
async def test_max_inflight_bounds_what_runs_also_after_a_callback(connect: Connect, bound: int) -> None:
    gauge = Gauge()
    link = await connect(gauged(gauge), backing(), server_options={"max_inflight": bound})
    await asyncio.gather(*(link.client.call(method) for _ in range(30) for method in ("/work", "/simple")))
    assert gauge.most == bound


async def test_tasks_of_one_handler_that_call_at_different_times_lend_one_slot(connect: Connect) -> None:
    router, gauge = arpc.Router(), Gauge()

    @router.handle("/spread")
    async def spread(ctx: arpc.Context) -> None:
        async def several(count: int) -> None:
            for _ in range(count):
                await ctx.peer.call("/back")
                await asyncio.sleep(0)

        await asyncio.gather(*(several(count) for count in range(5)))
        with gauge.running():
            await asyncio.sleep(0)

    link = await connect(router, backing(), server_options={"max_inflight": 2})
    await asyncio.gather(*(link.client.call("/spread") for _ in range(50)))
    assert gauge.most == 2
    await eventually(lambda: endpoint_of(link).inflight == 0)


async def test_tasks_of_one_handler_that_wait_for_its_slot_get_one_together(connect: Connect) -> None:
    """Both calls of a handler have returned while another handler had the only slot."""
    router, calling = arpc.Router(), arpc.Router()
    second, release = asyncio.Event(), asyncio.Event()
    backs: list[int] = []

    @calling.handle("/back")
    async def back(n: int) -> None:
        backs.append(n)

    @router.handle("/twice")
    async def twice(ctx: arpc.Context) -> str:
        async def later() -> None:
            await second.wait()
            await ctx.peer.call("/back", 2)

        await asyncio.gather(ctx.peer.call("/back", 1), later())
        return "twice"

    @router.handle("/hog")
    async def hog() -> str:
        await release.wait()
        return "hogged"

    link = await connect(router, calling, server_options={"max_inflight": 1})
    calls = [link.client.call(method, returns=str, timeout=2) for method in ("/twice", "/hog")]
    answers = asyncio.gather(*calls, return_exceptions=True)
    asking = link.peer._connection.session
    await eventually(lambda: backs == [1] and not asking.pending)
    second.set()
    await eventually(lambda: backs == [1, 2] and not asking.pending)
    release.set()
    assert await answers == ["twice", "hogged"]
    assert await link.client.call("/hog", returns=str) == "hogged"


async def test_max_inflight_total_bounds_all_connections(connect: Connect, dial: Dial) -> None:
    gauge = Gauge()
    first = await connect(gauged(gauge), backing(), server_options={"max_inflight_total": 3})
    links = [first, *[await dial(first.server, backing()) for _ in range(9)]]
    await asyncio.gather(*(link.client.call("/simple") for link in links for _ in range(10)))
    assert gauge.most == 3


async def test_max_inflight_total_bounds_what_returns_from_a_callback(connect: Connect, dial: Dial) -> None:
    gauge = Gauge()
    first = await connect(gauged(gauge), backing(), server_options={"max_inflight_total": 3})
    links = [first, *[await dial(first.server, backing()) for _ in range(9)]]
    await asyncio.gather(*(link.client.call("/work") for link in links for _ in range(10)))
    assert gauge.most == 3


async def test_no_connection_is_forgotten_when_all_wait_for_the_total(connect: Connect, dial: Dial) -> None:
    router = arpc.Router()
    gate = asyncio.Event()

    @router.handle("/wait")
    async def wait() -> None:
        await gate.wait()

    first = await connect(router, server_options={"max_inflight_total": 1})
    links = [first, *[await dial(first.server) for _ in range(20)]]
    calls = [asyncio.ensure_future(link.client.call("/wait")) for link in links for _ in range(3)]
    await eventually(lambda: endpoint_of(first).inflight == 1)
    await links[5].client.close()
    gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, arpc.ConnectionClosed) for answer in answers) == 3
    assert [answer for answer in answers if not isinstance(answer, arpc.ConnectionClosed)] == [None] * 60
