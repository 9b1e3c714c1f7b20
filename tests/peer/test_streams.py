"""A stream as its two ends see it: items, halves, resets and timeouts; each test with either side opening it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect, Ends, Pair
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

either_side = pytest.mark.parametrize("opener", ["client", "server"])
everywhere = pytest.mark.parametrize(("opener", "scheme"), [("client", "mem"), ("server", "mem"), ("server", "tcp")])


@dataclass
class Point:
    x: int
    y: int = 0


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


async def wait_closed(stream: arpc.Stream[Any, Any]) -> None:
    await eventually(lambda: stream.closed)


# --- items and halves


@everywhere
async def test_items_come_in_order_in_both_directions_at_once(pair: Pair, opener: str, scheme: str) -> None:
    ends = await pair(opener, scheme=scheme)
    sent = [b"%d" % number + bytes(number * 7 % 5000) for number in range(1000)]

    async def send(stream: arpc.Stream[Any, Any]) -> None:
        for item in sent:
            await stream.send(item)
        await stream.end()

    *_, near, far = await asyncio.gather(*map(send, ends.both()), *map(rest, ends.both()))
    assert near == sent
    assert far == sent
    await eventually(ends.gone)
    assert all(stream.closed for stream in ends.both())


@everywhere
async def test_a_half_that_ended_leaves_the_other_open(pair: Pair, opener: str, scheme: str) -> None:
    for first in (0, 1):
        ends = await pair(opener, scheme=scheme)
        ended, open = ends.both()[first], ends.both()[1 - first]
        await ended.send(b"last")
        await ended.end()
        assert await rest(open) == [b"last"]
        with pytest.raises(arpc.StreamEnded):
            await open.recv()
        with pytest.raises(arpc.LocalProtocolError, match=r"after end\(\)"):
            await ended.send(b"more")
        with pytest.raises(arpc.LocalProtocolError, match=r"after end\(\)"):
            ended.try_send(b"more")
        await ended.end()  # once is enough
        assert not open.closed
        assert not ended.closed
        for number in range(10):
            await open.send(b"%d" % number)
            assert await ended.recv() == b"%d" % number
        await open.end()
        assert await rest(ended) == []
        await eventually(ends.gone)
        await ends.close()


@either_side
async def test_empty_items_and_one_of_a_megabyte(pair: Pair, opener: str) -> None:
    ends = await pair(opener)
    for end, other in (ends.both(), ends.both()[::-1]):
        for item in (b"", b"x", b"", bytes(2 << 20)):
            await end.send(item)
            assert await other.recv() == item
        await end.end()
        assert await rest(other) == []


async def test_items_are_typed_both_ways(connect: Connect) -> None:
    router = arpc.Router()

    @router.stream("/points")
    async def points(stream: arpc.Stream[Point, int]) -> None:
        async for point in stream:
            await stream.send(point.x + point.y)

    link = await connect(router, router)
    for peer in link.both:
        async with peer.open_stream("/points", returns=int, sends=Point) as stream:
            for number in range(5):
                await stream.send(Point(number, 1))
            await stream.end()
            assert await rest(stream) == [1, 2, 3, 4, 5]
        async with peer.open_stream("/points", returns=int, sends=Point) as stream:
            wrong: Any = {"x": 1}
            with pytest.raises(arpc.EncodeError, match="sends Point, not dict"):
                await stream.send(wrong)
            with pytest.raises(arpc.EncodeError, match="sends Point, not dict"):
                stream.try_send(wrong)
            await stream.send(Point(1))
            assert await stream.recv() == 1


async def test_an_item_of_another_shape_is_refused_and_the_next_one_taken(pair: Pair) -> None:
    ends = await pair(returns=int)
    for item in (b"1", b"[]", b"3", b"{", b"5"):
        await ends.far.send(item)
    assert await ends.near.recv() == 1
    with pytest.raises(arpc.DecodeError, match="an item of /pair"):
        await ends.near.recv()
    iterator = aiter(ends.near)
    assert await anext(iterator) == 3
    with pytest.raises(arpc.DecodeError, match="an item of /pair"):
        await anext(iterator)
    assert await anext(iterator) == 5


@either_side
async def test_what_a_stream_says_of_itself(pair: Pair, opener: str) -> None:
    ends = await pair(opener)
    near, far = ends.both()
    assert near.id == far.id > 0
    assert near.method == far.method == "/pair"
    client, peer = ends.link.both
    assert (near.peer, far.peer) == ((client, peer) if opener == "client" else (peer, client))
    await far.send(b"12345")
    await eventually(lambda: near.queued == 5 + 64)
    assert repr(near) == f"<arpc.Stream {near.id} '/pair' with {near.peer!r}>"
    assert near.peer.stats.streams == 1
    assert near.peer.stats.stream_bytes == 69
    assert await near.recv() == b"12345"
    assert near.queued == near.peer.stats.stream_bytes == 0
    assert near.peer.stats.stream_bytes_peak == 69
    await ends.close()
    assert "closed" in repr(near)
    await eventually(ends.gone)


# --- timeouts


async def test_recv_times_out_and_the_stream_goes_on(pair: Pair) -> None:
    ends = await pair()
    for stream, other in (ends.both(), ends.both()[::-1]):
        with pytest.raises(arpc.CallTimeout, match=r"no item of /pair has come within 0\.01 s"):
            await stream.recv(timeout=0.01)
        await other.send(b"late")
        assert await stream.recv(timeout=5) == b"late"
        for wrong in (0, -1, float("nan"), "1"):
            with pytest.raises(ValueError, match="timeout is seconds"):
                await stream.recv(timeout=wrong)  # type: ignore[arg-type]


@everywhere
async def test_a_stream_past_its_timeout_is_ended_on_both_sides(pair: Pair, opener: str, scheme: str) -> None:
    ends = await pair(opener, scheme=scheme, timeout=0.1)
    await ends.far.send(b"before")
    began = time.monotonic()
    with pytest.raises((arpc.StreamReset, arpc.CallTimeout), match=r"the deadline is over|took too long"):
        await ends.far.recv()  # whichever side's clock was first
    assert time.monotonic() - began > 0.05
    await eventually(lambda: ends.near.closed)
    with pytest.raises((arpc.StreamReset, arpc.CallTimeout)):
        await ends.near.send(b"x")
    assert await ends.near.recv() == b"before"  # it had come in time
    with pytest.raises((arpc.StreamReset, arpc.CallTimeout), match=r"the deadline is over|took too long"):
        await ends.near.recv()
    await eventually(ends.gone)


@either_side
async def test_the_handler_of_a_stream_past_its_timeout_is_cancelled(pair: Pair, opener: str) -> None:
    ends = await pair(opener, timeout=0.05)
    await eventually(lambda: ends.cancelled)
    await eventually(ends.gone)


@either_side
async def test_an_idle_stream_is_reset_and_a_busy_one_not(pair: Pair, opener: str) -> None:
    ends = await pair(opener, idle_timeout=0.2)
    for number in range(8):
        await asyncio.sleep(0.05)
        await ends.both()[number % 2].send(b"x")
    assert not ends.near.closed
    for _ in range(4):
        assert await ends.far.recv() == b"x"
    await eventually(lambda: ends.near.closed)
    for _ in range(4):
        assert await ends.near.recv() == b"x"
    with pytest.raises(arpc.CallTimeout, match=r"no item for 0\.2 s \(idle timeout\)"):
        await ends.near.recv()
    await eventually(lambda: ends.cancelled)
    await eventually(ends.gone)


async def test_idle_timeouts_of_options_and_of_handlers(connect: Connect) -> None:
    router = arpc.Router()
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(name)
            raise

    @router.stream("/option")
    async def option(stream: arpc.Stream[bytes, bytes]) -> None:
        await wait("option")

    @router.stream("/idle", idle_timeout=0.05)
    async def idle(stream: arpc.Stream[bytes, bytes]) -> None:
        await wait("idle")

    @router.stream("/limit", timeout=0.05)
    async def limit(stream: arpc.Stream[bytes, bytes]) -> None:
        await wait("limit")

    link = await connect(router, server_options={"stream_idle_timeout": 0.1})
    streams = [await link.client.open_stream(name, returns=bytes) for name in ("/option", "/idle", "/limit")]
    for stream, text in zip(streams, (r"0\.1 s", r"0\.05 s", "the deadline is over"), strict=True):
        with pytest.raises(arpc.StreamReset, match=text):
            await stream.recv()
    await eventually(lambda: sorted(ended) == ["idle", "limit", "option"])
    link = await connect(router, client_options={"stream_idle_timeout": 0.05})
    async with link.client.open_stream("/option", returns=bytes) as stream:
        with pytest.raises(arpc.CallTimeout, match="idle timeout"):
            await stream.recv()


async def test_timers_end_with_the_last_half(pair: Pair) -> None:
    for order in ((0, 1), (1, 0)):
        ends = await pair(timeout=30, idle_timeout=30)
        for index in order:
            await ends.both()[index].end()
            assert await rest(ends.both()[1 - index]) == []
        await eventually(ends.gone)
        assert ends.near._limit is None
        assert ends.near._idle is None
        await ends.close()


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), "1"])
async def test_timeouts_that_make_no_sense(pair: Pair, wrong: Any) -> None:
    ends = await pair()
    for options in ({"timeout": wrong}, {"idle_timeout": wrong}):
        with pytest.raises(ValueError, match="timeout is seconds"):
            await ends.link.client.open_stream("/pair", **options)


# --- ends


@everywhere
async def test_a_reset_comes_after_the_items_and_wakes_who_waits(pair: Pair, opener: str, scheme: str) -> None:
    for index in (0, 1):
        ends = await pair(opener, scheme=scheme)
        ended, other = ends.both()[index], ends.both()[1 - index]
        for number in range(20):
            await ended.send(b"%d" % number)
        await ended.reset("no more of this")
        got: list[bytes] = []
        with pytest.raises(arpc.StreamReset) as caught:
            async for item in other:
                got.append(item)
        assert got == [b"%d" % number for number in range(20)]
        assert caught.value.message == str(caught.value) == "no more of this"
        for _ in range(2):
            with pytest.raises(arpc.StreamReset, match="no more of this"):
                await other.send(b"x")
            with pytest.raises(arpc.StreamReset, match="no more of this"):
                other.try_send(b"x")
            with pytest.raises(arpc.StreamReset, match="no more of this"):
                await other.recv()
        await other.end()
        for action in (ended.send(b"x"), ended.recv()):
            with pytest.raises(arpc.LocalProtocolError, match="left by this side"):
                await action
        await ended.reset("again")
        await ended.close()
        await eventually(ends.gone)
        await ends.close()


async def test_a_reset_may_carry_any_text_and_any_exception(pair: Pair) -> None:
    for error, text in (("größer als \U0001f600", "größer als \U0001f600"), (ValueError("so"), "so")):
        ends = await pair()
        await ends.near.reset(error)
        with pytest.raises(arpc.StreamReset) as caught:
            await ends.far.recv()
        assert caught.value.message == text
        await ends.close()


@everywhere
async def test_leaving_ends_both_halves_cleanly(pair: Pair, opener: str, scheme: str) -> None:
    for index in (0, 1):
        ends = await pair(opener, scheme=scheme)
        left, other = ends.both()[index], ends.both()[1 - index]
        await left.send(b"kept")
        await other.send(b"never read")
        await left.close()
        assert await rest(other) == [b"kept"]
        with pytest.raises(arpc.StreamEnded):
            await other.recv()
        with pytest.raises(arpc.StreamReset, match="the other side has left the stream") as caught:
            await other.send(b"x")
        assert caught.value.message == ""
        await left.close()
        await eventually(ends.gone)
        assert not any(peer.stats.stream_bytes for peer in ends.link.both)
        assert not ends.cancelled  # the handler may go on with what it has
        await ends.close()


async def test_async_with_ends_as_its_block_does(pair: Pair) -> None:
    async def leave(ends: Ends, error: BaseException | None) -> None:
        async with ends.near:
            if error is not None:
                raise error

    cases = (
        (None, ""),
        (arpc.RpcError("mine"), "mine"),
        (ValueError("secret"), "internal error"),
        (asyncio.CancelledError(), "cancelled"),
    )
    for error, text in cases:
        ends = await pair()
        (raised,) = await asyncio.gather(leave(ends, error), return_exceptions=True)
        assert type(raised) is type(error)
        await wait_closed(ends.far)
        with pytest.raises(arpc.StreamReset) as caught:
            await ends.far.send(b"x")
        assert caught.value.message == text
        await ends.close()


async def test_breaking_off_an_iteration_and_leaving_ends_the_producer(connect: Connect) -> None:
    router = arpc.Router()
    cleaned = asyncio.Event()

    @router.stream("/ticks")
    async def ticks(body: int) -> Any:
        try:
            while True:
                yield body
        finally:
            cleaned.set()

    link = await connect(router)
    async with link.client.stream("/ticks", 7, returns=int) as stream:
        async for tick in stream:
            assert tick == 7
            break
    await asyncio.wait_for(cleaned.wait(), 5)


async def test_opened_for_nothing_and_opened_in_vain(connect: Connect) -> None:
    link = await connect()
    with pytest.warns(RuntimeWarning, match="never awaited nor entered"):
        link.client.open_stream("/x").__del__()
    assert link.client.stats.streams == 0
    await link.client.close()
    for opening in (link.client.open_stream("/x"), link.client.stream("/x")):
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await opening
        assert not caught.value.sent
