"""Handlers that call their caller back, at any depth and at full load, without waiting for each other for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect, Dial


def descending() -> arpc.Router:
    """``n`` is answered by asking the caller for ``n - 1``, in four ways."""
    router = arpc.Router()

    async def deeper(ctx: arpc.Context, n: int) -> int:
        return await ctx.peer.call(ctx.method, n - 1, returns=int) if n else 0

    @router.handle("/plain")
    async def plain(n: int, ctx: arpc.Context) -> int:
        return 1 + await deeper(ctx, n)

    @router.handle("/waits")
    async def waits(n: int, ctx: arpc.Context) -> int:
        await asyncio.sleep(0)
        below = await deeper(ctx, n)
        await asyncio.sleep(0)
        return 1 + below

    @router.handle("/gather")
    async def gather(n: int, ctx: arpc.Context) -> int:
        return 1 + max(await asyncio.gather(deeper(ctx, n), deeper(ctx, n)))

    @router.handle("/group")
    async def group(n: int, ctx: arpc.Context) -> int:
        async with asyncio.TaskGroup() as tasks:
            below = [tasks.create_task(deeper(ctx, n)) for _ in range(2)]
            own = await deeper(ctx, n)
        return 1 + max(own, *(task.result() for task in below))

    @router.handle("/thread", threaded=True)
    def thread(n: int, ctx: arpc.Context) -> int:
        return 1 + (ctx.from_thread.call("/plain", n - 1, returns=int) if n else 0)

    return router


@pytest.mark.parametrize("method", ["/plain", "/waits", "/gather", "/group"])
async def test_depth(connect: Connect, method: str) -> None:
    link = await connect(descending(), descending(), options={"max_inflight": 1, "timeout": 10})
    for peer in link.both:
        assert await peer.call(method, 5, returns=int) == 6


@pytest.mark.parametrize(("scheme", "max_inflight"), [("mem", 4), ("mem", 1), ("tcp", 4)])
async def test_both_sides_at_full_load(connect: Connect, scheme: str, max_inflight: int) -> None:
    options: Any = {"max_inflight": max_inflight, "timeout": 20}
    link = await connect(descending(), descending(), scheme=scheme, options=options)
    methods = ["/plain", "/waits"] * 60 + ["/gather", "/group"] * 10
    calls = [peer.call(method, 3, returns=int) for method in methods for peer in link.both]
    assert await asyncio.gather(*calls) == [4] * len(calls)


async def test_threads_that_call_back_at_full_load(connect: Connect) -> None:
    options: Any = {"max_inflight": 4, "max_threads": 4, "timeout": 2}
    link = await connect(descending(), descending(), options=options)
    calls = [peer.call("/thread", 2, returns=int) for _ in range(50) for peer in link.both]
    assert await asyncio.gather(*calls) == [3] * 100


async def test_ordered_handlers_call_back_too(connect: Connect) -> None:
    router, calling = arpc.Router(), descending()
    order: list[int] = []

    @router.handle("/write", ordered=True)
    async def write(n: int, ctx: arpc.Context) -> None:
        order.append(await ctx.peer.call("/plain", n % 3, returns=int))

    @router.handle("/plain")
    async def plain(n: int, ctx: arpc.Context) -> int:
        return 1 + await ctx.peer.call("/plain", n - 1, returns=int) if n else 1

    link = await connect(router, calling, options={"max_inflight": 1, "timeout": 10})
    await asyncio.gather(*(link.client.call("/write", n) for n in range(60)))
    assert order == [1, 2, 3] * 20


async def test_a_chain_of_three_peers_with_a_way_back(connect: Connect, dial: Dial) -> None:
    """a asks b, b asks c over another connection, c asks b back."""
    c, b = arpc.Router(), arpc.Router()

    @c.handle("/double")
    async def double(n: int, ctx: arpc.Context) -> int:
        return 2 * await ctx.peer.call("/value", n, returns=int)

    @b.handle("/value")
    async def value(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    onward = await connect(c, b, options={"max_inflight": 2})

    @b.handle("/relay")
    async def relay(n: int) -> int:
        return await onward.client.call("/double", n, returns=int)

    link = await connect(b, options={"max_inflight": 2})
    assert await asyncio.gather(*(link.client.call("/relay", n, returns=int) for n in range(100))) == [
        2 * (n + 1) for n in range(100)
    ]
