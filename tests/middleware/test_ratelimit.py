"""RateLimit: so many in a time, for whom, and exactly when to come back."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

import arpc
from arpc.middleware import Next, RateLimit, Target
from arpc_middleware.buckets import Buckets
from tests.middleware.holding import ADDRESSES, Holding, calling, linked, settled
from tests.middleware.virtual import Message, Someone, block, now, run
from tests.tools import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def refused(peer: arpc.Peer, method: str = "/free", body: Any = "x") -> arpc.RemoteError:
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call(method, body)
    assert caught.value.code == "resource_exhausted"
    return caught.value


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_burst_then_the_rate_and_when_to_come_back(address: str) -> None:
    clock = Clock()
    async with linked(Holding(), [RateLimit(2, burst=3, clock=clock)], address=address) as peer:
        for _ in range(3):
            assert await peer.call("/free", "x", returns=str) == "x"
        error = await refused(peer)
        assert error.message == (
            "too many messages, /free was refused: 2 a second, and 3 at once, are the limit of this peer;"
            f" come back in {error.retry_after:g} s"
        )
        assert error.retry_after == pytest.approx(0.5, abs=0.0011)
        assert error.details == {"limit": 2, "burst": 3, "per": "peer", "retry_after": error.retry_after}
        clock.now += 0.4
        assert (await refused(peer)).retry_after == pytest.approx(0.1, abs=0.0011)
        clock.now += 0.1
        await peer.call("/free", "x", returns=str)
        await refused(peer)
        clock.now += 1e6  # full again, and no fuller
        for _ in range(3):
            await peer.call("/free", "x", returns=str)
        error = await refused(peer)
        assert error.retry_after is not None
        clock.now += error.retry_after  # who comes back when told to is not too early
        await peer.call("/free", "x", returns=str)


@pytest.mark.parametrize(("rate", "early"), [(2, 0.001), (10_000, 0.00005)])
def test_a_timer_may_be_a_moment_early(rate: float, early: float) -> None:
    """By a millisecond, but by no more than half of a token: else a burst would be larger than it is said to be."""
    clock = Clock()
    buckets = Buckets(rate, 1, clock)
    assert buckets.take("x") == 0
    clock.now += 1 / rate - early * 1.01
    assert buckets.take("x") == pytest.approx(early * 1.01)
    clock.now += early * 0.02
    assert buckets.take("x") == 0
    assert buckets.take("x") == pytest.approx(1 / rate + early * 0.99)  # the rate stays what it is


async def test_each_peer_has_its_own_which_keeps_no_peer_alive() -> None:
    limit = RateLimit(0.001)
    async with arpc.serve("mem://0", Holding().router, middleware=[limit]) as server:
        async with arpc.connect(server.address) as one, arpc.connect(server.address) as two:
            await one.call("/free", "x", returns=str)
            await two.call("/free", "x", returns=str)
            for peer in (one, two):
                assert (await refused(peer)).retry_after == pytest.approx(1000, abs=5)
            peers = [weakref.ref(peer) for peer in server.peers]
        await eventually(lambda: not server.peers)
        gc.collect()
        assert [peer() for peer in peers] == [None, None]


async def test_each_method_or_all_that_pass_the_object() -> None:
    holding, limit = Holding(), RateLimit(1, per="method", clock=Clock())
    async with linked(holding, [limit]) as one, linked(holding, [limit]) as two:
        holding.release("x")
        await one.call("/free", "x", returns=str)
        assert "are the limit of its method" in (await refused(two)).message
        await two.call("/hold", "x", returns=str)
    limit = RateLimit(1, per="server", clock=Clock())
    async with linked(holding, [limit]) as one, linked(holding, [limit]) as two:
        await one.call("/free", "x", returns=str)
        error = await refused(two, "/hold")
        assert "are the limit in all" in error.message
        assert error.details["per"] == "server"


async def test_each_key_of_a_function() -> None:
    def user(ctx: arpc.Context) -> str:
        name: str = ctx.metadata["user"]
        return name

    limit = RateLimit(1, per=user, clock=Clock())
    async with linked(Holding(), [limit]) as peer:
        for name in ("ann", "bob"):
            await peer.call("/free", "x", returns=str, metadata={"user": name})
        with pytest.raises(arpc.RemoteError, match="are the limit of its key; come back in 1 s") as caught:
            await peer.call("/free", "x", returns=str, metadata={"user": "ann"})
        assert caught.value.details["per"] == "key"


async def test_a_key_function_that_fails_is_told_from_one_that_refuses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "arpc")

    def key(ctx: arpc.Context) -> Any:
        if ctx.body == b"list":
            return []
        if ctx.body == b"refused":
            raise arpc.RpcError("who are you?", arpc.Code.UNAUTHENTICATED)
        return ctx.metadata["secret"]

    async with linked(Holding(), [RateLimit(1, per=key)]) as peer:
        for body in ("x", "list"):
            with pytest.raises(arpc.RemoteError) as caught:
                await peer.call("/free", body)
            text = "/free was refused: the key function of its RateLimit failed"
            assert (caught.value.message, caught.value.code) == (text, "internal")
        assert "KeyError: 'secret'" in caplog.text
        assert "unhashable type: 'list'" in caplog.text
        with pytest.raises(arpc.RemoteError, match=r"who are you\?"):
            await peer.call("/free", "refused")


async def test_openings_of_streams_and_notifies_take_tokens_too() -> None:
    limit = RateLimit(1, burst=2, clock=Clock())
    holding = Holding()
    serving = arpc.serve("mem://0", holding.router, middleware=[limit])
    async with serving as server, arpc.connect(server.address) as peer:
        holding.release("a", "b")
        async with peer.stream("/stream", "a", returns=str) as stream:
            assert [item async for item in stream] == ["a"]
        await peer.notify("/hold", "b")
        await peer.notify("/hold", "c")
        (accepted,) = server.peers
        await eventually(lambda: accepted.stats.notifies_dropped == 1)
        assert holding.begun == ["a", "b"]
        async with peer.stream("/stream", "d", returns=str) as stream:
            with pytest.raises(arpc.StreamReset, match="too many messages, /stream was refused"):
                await stream.recv()


# Waiting.


async def test_with_wait_messages_are_smoothed_in_order() -> None:
    limit = RateLimit(200, burst=1, wait=5)
    holding = Holding()
    holding.release(*map(str, range(20)))
    async with linked(holding, [limit]) as peer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*calling(peer, "/hold", *map(str, range(20))))
        assert holding.begun == [str(number) for number in range(20)]
        assert loop.time() - started > 0.09  # 19 times 5 ms
        assert not limit._queues


async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    clock = Clock()
    limit = RateLimit(1, burst=1, wait=2.5, clock=clock)
    async with linked(Holding(), [limit]) as peer:
        await peer.call("/free", "x", returns=str)
        waiting = calling(peer, "/free", "a", "b")
        await settled(lambda: sum(queue.waiting for queue in limit._queues.values()) == 2)
        error = await refused(peer)
        assert error.retry_after == pytest.approx(3, abs=0.0011)
        waiting[0].cancel()
        await settled(lambda: sum(queue.waiting for queue in limit._queues.values()) == 1)
        (more,) = calling(peer, "/free", "c")
        await settled(lambda: sum(queue.waiting for queue in limit._queues.values()) == 2)
        for task in (waiting[1], more):
            task.cancel()
        await eventually(lambda: not limit._queues)


async def test_who_has_no_time_to_wait_is_refused_at_once() -> None:
    limit = RateLimit(1, burst=1, wait=30, clock=Clock())
    async with linked(Holding(), [limit]) as peer:
        await peer.call("/free", "x", returns=str)
        with pytest.raises(arpc.RemoteError, match="come back in 1 s"):
            await peer.call("/free", "x", returns=str, timeout=0.9)
    async with linked(Holding(), outgoing=[limit]) as peer:
        await peer.call("/free", "x", returns=str)
        with pytest.raises(arpc.CallRefused, match="are the limit to this peer; come back in 1 s") as caught:
            await peer.call("/free", "x", returns=str, timeout=0.9)
        assert (caught.value.code, caught.value.retry_after) == ("resource_exhausted", 1.0)
        with pytest.raises(arpc.Overstock):
            peer.try_notify("/free", "x")
        assert not limit._queues


def test_one_that_is_cancelled_takes_no_token_and_the_next_moves_up() -> None:
    async def main() -> None:
        passed: list[tuple[str, float]] = []

        async def innermost(ctx: Any) -> None:
            passed.append((ctx.name, round(now(), 3)))

        limit = RateLimit(1, burst=1, wait=10, clock=now)
        chain: Any = limit.wrap(innermost, Target("/x", "message", False, bytes))
        someone = Someone()
        tasks = [asyncio.create_task(chain(Message(someone, name))) for name in "abcd"]
        await asyncio.sleep(0.5)
        tasks[1].cancel()  # it was the one that slept
        await asyncio.gather(*tasks, return_exceptions=True)
        assert passed == [("a", 0.0), ("c", 1.0), ("d", 2.0)]

    run(main())


def test_nobody_comes_in_before_those_who_wait() -> None:
    async def main() -> None:
        passed: list[str] = []

        async def innermost(ctx: Any) -> None:
            passed.append(ctx.name)

        limit = RateLimit(1, burst=1, wait=10, clock=now)
        chain: Any = limit.wrap(innermost, Target("/x", "message", False, bytes))
        someone = Someone()
        tasks = [asyncio.create_task(chain(Message(someone, name))) for name in "abc"]
        await asyncio.sleep(0)
        block(5)  # there is a token, and the one that sleeps has not seen it yet
        tasks.append(asyncio.create_task(chain(Message(someone, "d"))))
        await asyncio.gather(*tasks)
        assert passed == ["a", "b", "c", "d"]

    run(main())


# The buckets.


def test_a_million_keys_are_not_kept() -> None:
    clock = Clock()
    buckets = Buckets(10, 10, clock)
    most = 0
    for number in range(1_000_000):
        assert not buckets.take(number)
        clock.now += 0.0001
        most = max(most, len(buckets))
    assert most <= 20_002  # those of two seconds
    clock.now += 100
    buckets.take("one")
    assert len(buckets) == 1


def test_a_bucket_is_the_same_in_its_next_generation() -> None:
    clock = Clock()
    buckets = Buckets(1, 10, clock)
    clock.now += 9.5
    for _ in range(10):
        assert not buckets.take("a")
    clock.now += 1  # another generation
    assert not buckets.take("a")
    assert buckets.take("a") == pytest.approx(1)
    assert buckets.delay("a") == pytest.approx(1)
    clock.now += 9.6  # and another
    assert buckets.take("b") == 0
    assert buckets.delay("a") == 0
    assert buckets.delay("nobody") == 0
    assert sum(not buckets.take("a") for _ in range(10)) == 9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 0}, "rate is messages a second, above 0, not 0"),
        ({"rate": float("nan")}, "rate is messages a second, above 0, not nan"),
        ({"rate": 1, "burst": 0.5}, "burst is a number of messages, 1 or more, not 0.5"),
        ({"rate": 1, "burst": "2"}, "burst is a number of messages, 1 or more, not '2'"),
        ({"rate": 1, "wait": -1}, "wait is seconds, 0 or more, not -1"),
        ({"rate": 1, "per": "user"}, 'per is "peer", "method", "server", or a function from a context to a key'),
    ],
)
def test_options_that_make_no_sense(options: Any, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        RateLimit(**options)
    assert says in str(caught.value)


def test_a_key_function_is_no_async_def() -> None:
    async def key(ctx: arpc.Context) -> str:
        return ""

    class Key:
        async def __call__(self, ctx: arpc.Context) -> str:
            return ""

    wrongs: list[Any] = [key, Key()]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="per is called, not awaited: make the key function a plain def"):
            RateLimit(1, per=wrong)


def test_the_burst_is_that_of_a_second_or_one() -> None:
    assert RateLimit(0.5).burst == 1
    assert RateLimit(20).burst == 20


def test_the_chain_has_no_coroutine_of_its_own() -> None:
    async def innermost(ctx: arpc.Context) -> None: ...

    def begin(ctx: arpc.Context) -> Any:
        begun.append(innermost(ctx))
        return begun[-1]

    begun: list[Any] = []
    call_next: Next = begin
    message: Any = Message(Someone())
    assert RateLimit(1).wrap(call_next, Target("/x", "message", False, bytes))(message) is begun[0]
    begun[0].close()
