"""ConcurrencyLimit: so many at a time, so many that wait, and what the others are told."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

import arpc
from arpc.middleware import ConcurrencyLimit, Middleware, Next, Target
from arpc_middleware.slots import Slots
from tests.middleware.holding import ADDRESSES, Holding, calling, linked, settled
from tests.tools import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def refused(peer: arpc.Peer, method: str, name: str = "late", **options: Any) -> arpc.RemoteError:
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call(method, name, returns=str, **options)
    assert caught.value.code == "overloaded"
    return caught.value


@pytest.mark.parametrize("address", ADDRESSES)
async def test_so_many_run_so_many_wait_in_order_and_the_rest_is_refused(address: str) -> None:
    holding = Holding()
    async with linked(holding, [ConcurrencyLimit(2, queue=2)], address=address) as peer:
        calls = calling(peer, "/hold", "a", "b", "c", "d")
        await settled(lambda: holding.begun == ["a", "b"])
        error = await refused(peer, "/hold")
        text = "too many at a time, /hold was refused: 2 of its method are under way and 2 wait"
        assert (error.message, error.retry_after) == (text, None)
        assert error.details == {"limit": 2, "per": "method"}
        holding.release("b")
        assert await calls[1] == "b"
        await settled(lambda: holding.begun == ["a", "b", "c"])
        holding.release("a", "c", "d")
        assert [await call for call in calls] == ["a", "b", "c", "d"]
        assert holding.begun == ["a", "b", "c", "d"]
        assert await peer.call("/hold", "a", returns=str) == "a"


async def test_each_method_has_its_own() -> None:
    holding = Holding()
    async with linked(holding, [ConcurrencyLimit(1)]) as peer:
        calls = [*calling(peer, "/hold", "a"), *calling(peer, "/other", "b")]
        await holding.until_begun("a", "b")
        error = await refused(peer, "/other")
        assert error.message == "too many at a time, /other was refused: 1 of its method are under way"
        holding.release("a", "b")
        await asyncio.gather(*calls)


async def test_each_peer_has_its_own_and_is_forgotten() -> None:
    holding, limit = Holding(), ConcurrencyLimit(1, per="peer", queue=1)
    async with arpc.serve("mem://0", holding.router, middleware=[limit]) as server:
        async with arpc.connect(server.address) as one, arpc.connect(server.address) as two:
            calls = [*calling(one, "/hold", "a"), *calling(two, "/other", "b")]
            await holding.until_begun("a", "b")
            calls += calling(one, "/other", "c")
            await settled(lambda: holding.begun == ["a", "b"])
            error = await refused(one, "/free")
            text = "too many at a time, /free was refused: 1 of this peer are under way and 1 wait"
            assert (error.message, error.details) == (text, {"limit": 1, "per": "peer"})
            peers = [weakref.ref(peer) for peer in server.peers]
            holding.release("a", "b", "c")
            await asyncio.gather(*calls)
            assert not limit._peers
        await eventually(lambda: not server.peers)
        gc.collect()
        assert [peer() for peer in peers] == [None, None]


async def test_server_is_all_that_pass_the_object() -> None:
    holding, limit = Holding(), ConcurrencyLimit(1, per="server")
    async with linked(holding, [limit]) as one, linked(holding, [limit]) as two:
        (call,) = calling(one, "/hold", "a")
        await holding.until_begun("a")
        error = await refused(two, "/free")
        assert error.message == "too many at a time, /free was refused: 1 in all are under way"
        holding.release("a")
        assert await call == "a"
        assert await two.call("/free", "b", returns=str) == "b"


async def test_one_waits_no_longer_than_it_may() -> None:
    holding, limit = Holding(), ConcurrencyLimit(1, queue=5, wait=0.01)
    async with linked(holding, [limit]) as peer:
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        error = await refused(peer, "/hold")
        text = "too many at a time, /hold was refused: none of 1 of its method ended within 0.01 s"
        assert error.message == text
        holding.release("a")
        assert await call == "a"
        assert holding.begun == ["a"]


async def test_a_refusal_says_when_to_come_back_by_what_was_seen() -> None:
    holding, clock = Holding(), Clock()
    async with linked(holding, [ConcurrencyLimit(1, queue=1, clock=clock)]) as peer:
        for name, seconds in (("a", 2.0), ("b", 3.0)):
            calls = calling(peer, "/hold", name, name + " again")
            await holding.until_begun(name)
            await refused(peer, "/hold")
            clock.now += seconds
            holding.release(name)
            await calls[0]
            holding.release(name + " again")
            await calls[1]
        (held,) = calling(peer, "/hold", "c")
        await holding.until_begun("c")
        (waits,) = calling(peer, "/hold", "d")
        await settled(lambda: holding.begun[-1] == "c")
        error = await refused(peer, "/hold")
        # 2 s, at once, 3 s, at once: each counts for a fifth
        pace = (2 * 0.8 + (3 - 2 * 0.8) * 0.2) * 0.8
        assert error.retry_after == pytest.approx(2 * pace, abs=0.001)
        assert error.message.endswith(f"1 of its method are under way and 1 wait; come back in {error.retry_after:g} s")
        assert error.details == {"limit": 1, "per": "method", "retry_after": error.retry_after}
        holding.release("c", "d")
        await asyncio.gather(held, waits)


@pytest.mark.parametrize("per", ["method", "peer", "server"])
async def test_every_way_out_frees_the_slot(per: Any) -> None:
    holding, limit = Holding(), ConcurrencyLimit(1, per=per, queue=1)

    @holding.router.handle("/fails")
    async def fails() -> None:
        raise arpc.RpcError("no")

    async with arpc.serve("tcp://127.0.0.1:0", holding.router, middleware=[limit]) as server:
        async with arpc.connect(server.address) as peer:
            for _ in range(3):
                with pytest.raises(arpc.RemoteError, match=r"^no$"):
                    await peer.call("/fails")
            with pytest.raises(arpc.RemoteError, match="invalid body"):
                await peer.call("/fails", 1)
            (call,) = calling(peer, "/hold", "cancelled")
            await holding.until_begun("cancelled")
            call.cancel()
            await eventually(lambda: "cancelled" in holding.ended)
            with pytest.raises(arpc.CallTimeout):
                await peer.call("/hold", "timeout", timeout=0.02)
            await eventually(lambda: "timeout" in holding.ended)
            lost = calling(peer, "/hold", "lost", "lost while it waited")
            await settled(lambda: holding.begun[-1] == "lost")
        for error in await asyncio.gather(*lost, return_exceptions=True):
            assert isinstance(error, arpc.ConnectionClosed)
        async with arpc.connect(server.address) as peer:
            await eventually(lambda: "lost" in holding.ended)
            assert "lost while it waited" not in holding.begun
            assert await peer.call("/free", "x", returns=str) == "x"
            holding.release("y")
            assert await peer.call("/hold", "y", returns=str) == "y"
    assert not limit._peers


async def test_a_waiter_that_is_cancelled_gives_up_its_place() -> None:
    holding = Holding()
    async with linked(holding, [ConcurrencyLimit(1, queue=3)]) as peer:
        calls = calling(peer, "/hold", "a", "b", "c", "d")
        await settled(lambda: holding.begun == ["a"])
        calls[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        calls += calling(peer, "/hold", "e")
        holding.release("a", "c", "d", "e")
        assert [await call for call in (calls[0], *calls[2:])] == ["a", "c", "d", "e"]
        assert holding.begun == ["a", "c", "d", "e"]


async def test_a_slot_handed_to_one_that_is_cancelled_goes_to_the_next() -> None:
    slots = Slots(1, time.monotonic)
    assert slots.take()
    first, second, third = (asyncio.create_task(slots.wait(seconds)) for seconds in (None, 10, None))
    await settled(lambda: slots.waiting == 3)
    third.cancel()  # while it waits
    slots.free()  # to the first, which is cancelled before it can run
    first.cancel()
    assert await second
    assert (slots.taken, slots.waiting) == (1, 0)
    for task in (first, third):
        with pytest.raises(asyncio.CancelledError):
            await task
    fourth, fifth = (asyncio.create_task(slots.wait(None)) for _ in range(2))
    await settled(lambda: slots.waiting == 2)
    fourth.cancel()
    slots.free()  # the fourth has not gone yet: it is passed over
    assert await fifth
    slots.free()
    assert (slots.taken, slots.waiting) == (0, 0)
    with pytest.raises(asyncio.CancelledError):
        await fourth


async def test_time_that_is_up_and_a_slot_at_once() -> None:
    holding, limit = Holding(), ConcurrencyLimit(1, per="peer", queue=1, wait=0.01)
    release = asyncio.get_running_loop().call_later
    async with linked(holding, [limit]) as peer:
        for name in map(str, range(30)):
            (call,) = calling(peer, "/hold", name)
            await holding.until_begun(name)
            waiting = calling(peer, "/free", "x")
            release(0.01, holding.release, name)
            assert await call == name
            (answer,) = await asyncio.gather(*waiting, return_exceptions=True)
            assert answer == "x" or "none of 1 of this peer ended within 0.01 s" in str(answer)
        assert not limit._peers


async def test_a_turn_whose_time_is_up_while_it_is_cancelled() -> None:
    slots = Slots(1, time.monotonic)
    assert slots.take()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(slots.wait(0.001))
    loop.call_later(0.001, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slots.taken, slots.waiting) == (1, 0)


async def test_a_stream_keeps_its_slot_to_its_end() -> None:
    holding = Holding()
    async with linked(holding, [ConcurrencyLimit(1)]) as peer:
        async with peer.stream("/stream", "a", returns=str) as stream:
            assert await stream.recv() == "a"
            async with peer.stream("/stream", "b", returns=str) as second:
                with pytest.raises(arpc.StreamReset, match="1 of its method are under way"):
                    await second.recv()
            holding.release("a")
            assert [item async for item in stream] == []
        async with peer.stream("/stream", "c", returns=str) as stream:
            assert await stream.recv() == "c"


async def test_a_notify_that_is_refused_is_counted() -> None:
    holding = Holding()
    serving = arpc.serve("mem://0", holding.router, middleware=[ConcurrencyLimit(1)])
    async with serving as server, arpc.connect(server.address) as peer:
        for name in ("a", "b", "c"):
            await peer.notify("/hold", name)
        (accepted,) = server.peers
        await eventually(lambda: accepted.stats.notifies_dropped == 2)
        assert holding.begun == ["a"]
        holding.release("a")


# Around what goes out.


async def test_it_bounds_what_this_side_has_under_way() -> None:
    holding = Holding()
    limit = ConcurrencyLimit(2, per="peer", queue=1)
    async with linked(holding, outgoing=[limit]) as peer:
        calls = calling(peer, "/hold", "a", "b", "c")
        await settled(lambda: holding.begun == ["a", "b"])
        with pytest.raises(arpc.CallRefused, match="2 to this peer are under way and 1 wait") as caught:
            await peer.call("/free", "d")
        assert caught.value.code == "overloaded"
        holding.release("a", "b", "c")
        assert await asyncio.gather(*calls) == ["a", "b", "c"]
        assert not limit._peers


async def test_a_call_waits_no_longer_than_its_timeout() -> None:
    holding = Holding()
    async with linked(holding, outgoing=[ConcurrencyLimit(1, queue=2, wait=20)]) as peer:
        (call,) = calling(peer, "/hold", "a", timeout=None)
        await holding.until_begun("a")
        with pytest.raises(arpc.CallTimeout, match="/hold waited until its timeout: 1 of its method were under way"):
            await peer.call("/hold", "b", timeout=0.02)
        with pytest.raises(arpc.Overstock):
            peer.try_notify("/hold", "c")
        (waits,) = calling(peer, "/hold", "d", timeout=None)
        holding.release("a", "d")
        assert [await call, await waits] == ["a", "d"]
        assert holding.begun == ["a", "d"]


async def test_streams_that_this_side_opens() -> None:
    holding = Holding()
    limit = ConcurrencyLimit(1, per="server")
    async with linked(holding, outgoing=[limit]) as peer:
        async with peer.stream("/stream", "a", returns=str) as stream:
            assert await stream.recv() == "a"
            with pytest.raises(arpc.CallRefused, match="1 in all are under way"):
                await peer.stream("/stream", "b", returns=str)
        await eventually(lambda: limit._all.taken == 0)
        async with peer.stream("/stream", "c", returns=str) as stream:
            assert await stream.recv() == "c"


async def test_a_handler_that_comes_back_to_its_own_limit_is_ended_by_the_deadline() -> None:
    router, back = arpc.Router(), arpc.Router()
    waits = asyncio.Event()

    @router.handle("/outer")
    async def outer(ctx: arpc.Context) -> None:
        await ctx.peer.call("/back")

    @back.handle("/back")
    async def callback(ctx: arpc.Context) -> None:
        waits.set()
        await ctx.peer.call("/outer")

    limit: list[Middleware] = [ConcurrencyLimit(1, queue=1)]
    serving = arpc.serve("mem://0", router, middleware=limit)
    async with serving as server, arpc.connect(server.address, back) as peer:
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/outer", timeout=0.1)
        assert waits.is_set()
        with pytest.raises(arpc.CallTimeout):  # the slot is free again
            await peer.call("/outer", timeout=0.1)


# The object itself.


def test_methods_of_which_nothing_is_left_are_forgotten() -> None:
    limit = ConcurrencyLimit(1)

    async def innermost(ctx: arpc.Context) -> None: ...

    def wrap(method: str) -> Next:
        return limit.wrap(innermost, Target(method, "message", True, bytes))

    chains = [wrap(f"/{number}") for number in range(100)]
    assert len(limit._methods) == 100
    again = wrap("/0")
    assert len(limit._methods) == 100
    del chains
    gc.collect()
    assert list(limit._methods) == ["/0"]
    del again


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 0}, "limit is a whole number, 1 or more, not 0"),
        ({"limit": True}, "limit is a whole number, 1 or more, not True"),
        ({"limit": 1.5}, "limit is a whole number, 1 or more, not 1.5"),
        ({"limit": 1, "queue": -1}, "queue is a whole number, 0 or more, not -1"),
        ({"limit": 1, "per": "client"}, 'per is "method", "peer" or "server", not \'client\''),
        ({"limit": 1, "queue": 1, "wait": 0}, "wait is seconds above 0, or None, not 0"),
        ({"limit": 1, "wait": 1}, "give queue=, too"),
    ],
)
def test_options_that_make_no_sense(options: Any, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        ConcurrencyLimit(**options)
    assert says in str(caught.value)
