"""What a limit lets through it does not change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest

import arpc
from arpc.middleware import ConcurrencyLimit, Graceful, LoadShed, Middleware, RateLimit, Validate
from tests.tools import eventually

variable: ContextVar[str] = ContextVar("variable", default="clean")

LIMITS: dict[str, Callable[[], Middleware]] = {
    "method": lambda: ConcurrencyLimit(5),
    "peer": lambda: ConcurrencyLimit(5, per="peer"),
    "rate": lambda: RateLimit(1000),
    "shed": lambda: LoadShed(max_inflight=5, max_lag=5),
    "sizes": lambda: Validate(1000, 1000),
    "graceful": lambda: Graceful(),
}


@pytest.fixture(params=LIMITS)
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[arpc.Client]:
    """A client of handlers behind a limit; all but Graceful stand around what it sends, too."""
    limit = LIMITS[request.param]()
    outgoing = [] if isinstance(limit, Graceful) else [limit]
    starting = arpc.serve("tcp://127.0.0.1:0", make_router(), middleware=[LIMITS[request.param]()])
    async with starting as server, arpc.connect(server.address, outgoing=outgoing) as client:
        yield client


cancelled: list[str] = []


def make_router() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/current")
    async def current(ctx: arpc.Context) -> list[str]:
        before = variable.get()
        variable.set("used")
        assert arpc.current() is ctx
        await asyncio.sleep(0)
        assert arpc.current() is ctx
        return [before, variable.get()]

    @router.handle("/inline")
    def inline(number: int) -> int:
        return number + 1

    @router.handle("/threaded", threaded=True)
    def threaded(number: int) -> int:
        return number + 2

    @router.handle("/own")
    async def own() -> None:
        raise arpc.RpcError("my own", "my_code", {"a": 1})

    @router.handle("/broken")
    async def broken() -> None:
        raise KeyError("secret")

    @router.handle("/waits")
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("/waits")
            raise

    @router.stream("/double")
    async def double(items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield item * 2

    return router


async def test_results_contexts_and_variables(peer: arpc.Client) -> None:
    for _ in range(3):
        assert await peer.call("/current") == ["clean", "used"]
    assert await peer.call("/inline", 1) == 2
    assert await peer.call("/threaded", 1) == 3
    await peer.notify("/inline", 1)
    async with peer.stream("/double", items=[1, 2], returns=int) as stream:
        assert [item async for item in stream] == [2, 4]


async def test_errors(peer: arpc.Client) -> None:
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call("/own")
    assert (caught.value.message, caught.value.code, caught.value.details) == ("my own", "my_code", {"a": 1})
    with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
        await peer.call("/broken")
    with pytest.raises(arpc.RemoteError, match="invalid body"):
        await peer.call("/inline", "no number")


async def test_cancellation_and_deadlines(peer: arpc.Client) -> None:
    cancelled.clear()
    call = asyncio.create_task(peer.call("/waits", timeout=None))
    await eventually(lambda: peer.stats.pending == 1)
    call.cancel()
    await eventually(lambda: peer.stats.pending == 0)
    await eventually(lambda: cancelled == ["/waits"])
    with pytest.raises(arpc.CallTimeout):
        await peer.call("/waits", timeout=0.03)
    await eventually(lambda: cancelled == ["/waits", "/waits"])


async def test_many_at_once(peer: arpc.Client) -> None:
    for _ in range(20):
        answers: list[Any] = await asyncio.gather(*(peer.call("/current") for _ in range(5)))
        assert answers == [["clean", "used"]] * 5
