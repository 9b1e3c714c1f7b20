"""LoadShed: too much under way, or a loop that is late, is told at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import arpc
from arpc.middleware import LoadShed
from arpc_middleware.lag import Lag
from tests.middleware.holding import ADDRESSES, Holding, calling, linked
from tests.middleware.virtual import block, now, run


async def refused(peer: arpc.Peer, method: str = "/free") -> arpc.RemoteError:
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call(method, "x", returns=str)
    assert caught.value.code == "overloaded"
    return caught.value


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_more_than_so_many_are_under_way(address: str) -> None:
    holding = Holding()
    async with linked(holding, [LoadShed(max_inflight=2, exempt=["/oth*"])], address=address) as peer:
        (call,) = calling(peer, "/hold", "a")
        async with peer.stream("/stream", "b", returns=str) as stream:
            assert await stream.recv() == "b"
            await holding.until_begun("a", "b")
            error = await refused(peer)
            text = "overloaded, /free was refused: 2 messages are under way, which is the limit"
            assert (error.message, error.retry_after, error.details) == (text, None, {"limit": 2})
            calls = calling(peer, "/other", "c", "d")  # exempt, and not counted
            await holding.until_begun("c", "d")
            holding.release("a", "b", "c", "d")
            assert [await call, *await asyncio.gather(*calls)] == ["a", "c", "d"]
            assert [item async for item in stream] == []
        assert await peer.call("/free", "x", returns=str) == "x"


async def test_it_says_when_to_come_back_once_it_has_seen_how_fast_they_end() -> None:
    holding = Holding()
    async with linked(holding, [LoadShed(max_inflight=1)]) as peer:
        for name in ("a", "b"):
            (call,) = calling(peer, "/hold", name)
            await holding.until_begun(name)
            error = await refused(peer)
            assert (error.retry_after is not None) == (name == "b")
            assert ("come back in" in error.message) == (name == "b")
            holding.release(name)
            await call


async def test_around_what_goes_out() -> None:
    holding = Holding()
    async with linked(holding, outgoing=[LoadShed(max_inflight=1)]) as peer:
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        with pytest.raises(arpc.CallRefused, match="/free was refused: 1 messages are under way"):
            await peer.call("/free", "x")
        holding.release("a")
        await call


def blocking(holding: Holding, *, before: asyncio.Event) -> None:
    """``/block`` keeps the loop for a tenth of a second."""

    @holding.router.handle("/block")
    async def block() -> None:
        before.set()
        await asyncio.sleep(0)
        time.sleep(0.09)  # noqa: ASYNC251  what it is about


async def test_a_late_loop_refuses_until_it_has_recovered() -> None:
    holding, begun = Holding(), asyncio.Event()
    blocking(holding, before=begun)
    shed = LoadShed(max_lag=0.04, interval=0.005, exempt=["/health", "/block"])
    holding.router.handle("/health")(lambda: None)
    async with linked(holding, [shed]) as peer:
        assert await peer.call("/free", "x", returns=str) == "x"  # the loop is looked at from now on
        call = asyncio.create_task(peer.call("/block"))
        await begun.wait()
        late = asyncio.create_task(refused(peer))
        error = await late
        await call
        assert error.message.startswith("overloaded, /free was refused: the event loop is 0.")
        assert " s late, over 0.04 s; come back in 0.0" in error.message
        assert error.details["limit"] == 0.04
        assert 0.04 < error.details["lag"] < 5
        assert error.retry_after is not None
        assert error.retry_after >= 0.005
        await peer.call("/health")

        async def recovered() -> bool:
            try:
                await peer.call("/free", "x", returns=str)
            except arpc.RemoteError:
                return False
            return True

        for _ in range(1000):
            await asyncio.sleep(error.retry_after)
            if await recovered():
                break
        else:
            pytest.fail("it has not recovered")


async def test_both_limits_at_once() -> None:
    holding = Holding()
    async with linked(holding, [LoadShed(max_inflight=1, max_lag=10)]) as peer:
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        assert "1 messages are under way" in (await refused(peer)).message
        holding.release("a")
        await call


def test_the_lag_rises_at_once_halves_and_leaves_nothing_when_nobody_asks() -> None:
    async def main() -> None:
        lag = Lag(1.0, now)
        assert lag.seconds() == 0.0
        block(9)
        assert lag.seconds() == 8  # overdue: the timer could not fire yet
        await asyncio.sleep(0)
        seen: list[float] = []
        for _ in range(4):
            seen.append(lag.seconds())
            await asyncio.sleep(1)
        assert seen == [8, 4, 2, 1]
        await asyncio.sleep(20)
        assert lag._due is None
        assert lag.seconds() == 0.0

    run(main())


def test_an_object_of_the_program_serves_in_one_loop_after_another() -> None:
    holding, shed = Holding(), LoadShed(max_lag=10, interval=0.001)

    async def main() -> None:
        async with linked(holding, [shed]) as peer:
            assert await peer.call("/free", "x", returns=str) == "x"

    for _ in range(2):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "LoadShed needs max_inflight= (messages), max_lag= (seconds), or both"),
        ({"max_inflight": 0}, "max_inflight is a whole number, 1 or more, not 0"),
        ({"max_lag": 0}, "max_lag is seconds above 0, not 0"),
        ({"max_lag": 1, "interval": -1}, "interval is seconds above 0, not -1"),
        ({"max_lag": 1, "exempt": "/x"}, "exempt is a list of methods, or of patterns such as \"/get*\", not '/x'"),
    ],
)
def test_options_that_make_no_sense(options: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        LoadShed(**options)
    assert str(caught.value) == says
