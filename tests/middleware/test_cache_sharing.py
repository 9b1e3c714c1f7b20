"""Cache: those who ask the same while an answer is made share it, and nobody is harmed by what becomes of the first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import arpc
from arpc.middleware import Cache
from tests.middleware.caching import Service, both_sides, outgoing
from tests.tools import eventually


@pytest.fixture
def service() -> Service:
    return Service()


@both_sides
async def test_those_who_ask_the_same_meanwhile_share_one_call(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with side(service, cache) as peer:
        calls = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(10)]
        await eventually(lambda: cache._waiting == 9)
        service.release.set()
        assert await asyncio.gather(*calls) == [1] * 10
    assert (cache.stats.hits, cache.stats.misses, cache.stats.shared) == (0, 1, 9)


@both_sides
async def test_if_the_first_is_given_up_another_takes_over(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with side(service, cache) as peer:
        calls = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(5)]
        await eventually(lambda: cache._waiting == 4)
        calls[2].cancel()
        await eventually(lambda: cache._waiting == 3)
        calls[0].cancel()
        await eventually(lambda: service.calls == 2)
        service.release.set()
        assert await asyncio.gather(calls[1], *calls[3:]) == [2] * 3
        await asyncio.gather(calls[0], calls[2], return_exceptions=True)
    assert not cache._flights._open


@both_sides
async def test_if_the_first_fails_the_others_try_one_after_another(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    service.error = arpc.RpcError("not now", "unavailable")
    async with side(service, cache) as peer:
        first = asyncio.create_task(peer.call("/get", returns=int))
        await eventually(lambda: service.calls == 1)
        service.error = None
        others = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(3)]
        await eventually(lambda: cache._waiting == 3)
        service.release.set()
        with pytest.raises(arpc.RemoteError, match="not now"):
            await first
        assert await asyncio.gather(*others) == [2] * 3


@both_sides
async def test_a_named_error_is_told_to_those_who_wait(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"], errors={"not_found": 5})
    service.release.clear()
    service.error = arpc.RpcError("no such cat", "not_found")
    async with side(service, cache) as peer:
        calls = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(3)]
        await eventually(lambda: cache._waiting == 2)
        service.release.set()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in errors] == ["no such cat"] * 3
    assert service.calls == 1


@both_sides
async def test_who_waits_keeps_its_own_deadline(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with side(service, cache) as peer:
        first = asyncio.create_task(peer.call("/get", returns=int, timeout=None))
        await eventually(lambda: service.calls == 1)
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/get", timeout=0.02)
        await eventually(lambda: cache._waiting == 0)
        service.release.set()
        assert await first == 1


async def test_one_whose_turn_comes_as_it_is_cancelled_hands_on(service: Service) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with outgoing(service, cache) as peer:
        calls = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(3)]
        await eventually(lambda: cache._waiting == 2)
        (flight,) = cache._flights._open.values()
        calls[0].cancel()
        while len(flight._waiters) > 1:  # noqa: ASYNC110 - the very turn of the loop counts
            await asyncio.sleep(0)
        calls[1].cancel()  # it was told that it is its turn, and has not run yet
        service.release.set()
        assert await calls[2] == 2
        for call in calls[:2]:
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_two_that_are_given_up_at_once(service: Service) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with outgoing(service, cache) as peer:
        calls = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(3)]
        await eventually(lambda: cache._waiting == 2)
        for call in calls[:2]:
            call.cancel()
        service.release.set()
        assert await calls[2] == 2
        await asyncio.gather(*calls[:2], return_exceptions=True)


async def test_at_full_load_those_who_wait_lend_their_slot(service: Service) -> None:
    """The first calls back; the others must not hold the slot that it needs to go on."""
    router = arpc.Router()
    calls = 0

    @router.handle("/ask")
    async def ask(ctx: arpc.Context) -> int:
        nonlocal calls
        calls += 1
        answer: int = await ctx.peer.call("/get", returns=int)
        return answer

    cache = Cache(60, methods=["/ask"])
    service.release.clear()
    serving = arpc.serve("mem://0", router, middleware=[cache], max_inflight=1)
    async with serving as server, arpc.connect(server.address, service.router) as peer:
        asked = [asyncio.create_task(peer.call("/ask", returns=int, timeout=5)) for _ in range(5)]
        await eventually(lambda: cache._waiting == 4)
        service.release.set()
        assert await asyncio.gather(*asked) == [1] * 5
        await eventually(lambda: server._endpoint.inflight == 0)
    assert calls == 1


async def test_not_everybody_may_lend_a_slot(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arpc_middleware.cache.PATIENT", 1)
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    serving = arpc.serve("mem://0", service.router, middleware=[cache], max_inflight=3)
    async with serving as server, arpc.connect(server.address) as peer:
        asked = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(6)]
        await eventually(lambda: server._endpoint.inflight == 3)
        assert cache._waiting == 3
        service.release.set()
        assert await asyncio.gather(*asked) == [1] * 6


@both_sides
async def test_an_answer_that_was_begun_before_clearing_is_not_kept(service: Service, side: Any) -> None:
    cache = Cache(60, methods=["/get"])
    service.release.clear()
    async with side(service, cache) as peer:
        before = [asyncio.create_task(peer.call("/get", returns=int)) for _ in range(2)]
        await eventually(lambda: cache._waiting == 1)
        cache.clear("/put")
        cache.clear("/get")
        after = asyncio.create_task(peer.call("/get", returns=int))
        await eventually(lambda: service.calls == 2)
        service.release.set()
        assert await asyncio.gather(*before, after) == [1, 1, 2]
        assert await peer.call("/get", returns=int) == 2
