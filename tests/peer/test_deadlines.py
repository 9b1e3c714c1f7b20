"""Deadlines: how they travel, who inherits them, and what happens when they come."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import arpc
from arpc.deadlines import bounded
from tests.peer.conftest import Connect, Link
from tests.peer.raw import Raw, frame
from tests.peer.target import under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

META = 1 << 1


class Chain:
    """Handlers that note how much time they have, and call back to whoever called them."""

    def __init__(self) -> None:
        self.router = arpc.Router()
        self.seen: dict[str, float | None] = {}
        self.ended: list[str] = []
        self.started = asyncio.Event()

        @self.router.handle("/left")
        async def left(ctx: arpc.Context, body: str) -> None:
            self.note(body, ctx)

        @self.router.handle("/left-inline")
        def left_inline(ctx: arpc.Context, body: str) -> None:
            self.note(body, ctx)

        @self.router.handle("/hang")
        async def hang(ctx: arpc.Context, body: str) -> None:
            self.note(body, ctx)
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ended.append(body)
                raise

        @self.router.stream("/left-stream")
        async def left_stream(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
            self.note("stream", ctx)

    def note(self, name: str, ctx: arpc.Context) -> None:
        self.seen[name] = ctx.remaining()
        if ctx.deadline is not None:
            left = ctx.deadline - time.monotonic()
            assert abs(left - (ctx.remaining() or 0)) < 0.1


async def nested(connect: Connect, chain: Chain, handler: Any, **how: Any) -> Link:
    """A server with one handler of ``/nest``, whose caller serves ``chain``."""
    router = arpc.Router()
    router.handle("/nest", **how)(handler)
    return await connect(router, chain.router)


async def test_a_deadline_travels_if_it_is_said(connect: Connect) -> None:
    chain = Chain()
    link = await connect(chain.router, chain.router, options={"timeout": 5})
    for peer in link.both:
        for method in ("/left", "/left-inline"):
            await peer.call(method, "said", timeout=3)
            await peer.call(method, "default")
            await peer.call(method, "never", timeout=None)
            await peer.notify(method, "notify")
            await eventually(lambda: "notify" in chain.seen)
            assert 2.5 < (chain.seen.pop("said") or 0) <= 3.1
            assert chain.seen == {"default": None, "never": None, "notify": None}
            chain.seen.clear()
        for timeout in (3, None):
            async with peer.open_stream("/left-stream", timeout=timeout, returns=bytes) as stream:
                assert [item async for item in stream] == []
            assert chain.seen["stream"] is None if timeout is None else 2.5 < (chain.seen["stream"] or 0) <= 3.1
        chain.seen.clear()
    assert not bounded


async def test_nested_calls_inherit_what_is_left(connect: Connect) -> None:
    chain = Chain()

    async def nest(ctx: arpc.Context) -> None:
        await asyncio.sleep(0.05)
        await ctx.peer.call("/left", "inherits")
        await ctx.peer.call("/left", "longer", timeout=60)
        await ctx.peer.call("/left", "shorter", timeout=1)
        await ctx.peer.call("/left", "none", timeout=None)
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.peer.call("/left", "task"))
        async with ctx.peer.open_stream("/left-stream", returns=bytes) as stream:
            assert [item async for item in stream] == []

    link = await nested(connect, chain, nest)
    await link.client.call("/nest", timeout=5)
    for name in ("inherits", "task", "stream"):
        assert 4 < (chain.seen.pop(name) or 0) < 4.96
    assert 50 < (chain.seen.pop("longer") or 0) <= 60
    assert 0.5 < (chain.seen.pop("shorter") or 0) <= 1.1
    assert chain.seen == {"none": None}


async def test_without_a_deadline_nothing_is_inherited(connect: Connect) -> None:
    chain = Chain()

    async def nest(ctx: arpc.Context) -> None:
        assert ctx.deadline is ctx.remaining() is None
        await ctx.peer.call("/left", "nested")

    link = await nested(connect, chain, nest)
    await link.client.call("/nest")
    assert chain.seen == {"nested": None}


async def test_the_stream_handlers_calls_inherit_too(connect: Connect) -> None:
    chain = Chain()
    router = arpc.Router()

    @router.stream("/nest")
    async def nest(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
        await ctx.peer.call("/left", "call")
        await asyncio.gather(ctx.peer.call("/left", "task"))
        async with ctx.peer.open_stream("/left-stream", returns=bytes) as inner:
            assert [item async for item in inner] == []
        await stream.send(b"done")

    link = await connect(router, chain.router)
    async with link.client.open_stream("/nest", returns=bytes, timeout=5) as stream:
        assert await stream.recv() == b"done"
    for name in ("call", "task", "stream"):
        assert 4 < (chain.seen.pop(name) or 0) <= 5.1
    await eventually(lambda: not bounded)


async def test_background_tasks_that_outlive_their_handler_inherit_nothing(connect: Connect) -> None:
    chain = Chain()
    done = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def background(peer: arpc.Peer) -> None:
        await done.wait()
        await peer.call("/left", "background")

    async def nest(ctx: arpc.Context) -> None:
        tasks.append(asyncio.create_task(background(ctx.peer)))

    def nest_inline(ctx: arpc.Context) -> None:
        tasks.append(asyncio.create_task(background(ctx.peer)))

    async def nest_stream(stream: arpc.Stream[bytes, bytes]) -> None:
        tasks.append(asyncio.create_task(background(stream.peer)))

    router = arpc.Router()
    router.handle("/nest")(nest)
    router.handle("/nest-inline")(nest_inline)
    router.stream("/nest-stream")(nest_stream)
    link = await connect(router, chain.router)
    for start in ("/nest", "/nest-inline"):
        await link.client.call(start, timeout=5)
    async with link.client.open_stream("/nest-stream", timeout=5, returns=bytes) as stream:
        assert [item async for item in stream] == []
    done.set()
    await asyncio.gather(*tasks)
    assert len(tasks) == 3
    assert chain.seen == {"background": None}


async def test_threaded_handlers_inherit_through_from_thread(connect: Connect) -> None:
    chain = Chain()

    def nest(ctx: arpc.Context) -> None:
        ctx.from_thread.call("/left", "thread")
        ctx.from_thread.call("/left", "none", timeout=None)

    link = await nested(connect, chain, nest, threaded=True)
    await link.client.call("/nest", timeout=5)
    assert 4 < (chain.seen.pop("thread") or 0) <= 5.1
    assert chain.seen == {"none": None}


async def test_a_shorter_default_timeout_still_bounds_a_nested_call(connect: Connect) -> None:
    chain = Chain()

    async def nest(ctx: arpc.Context) -> str:
        with pytest.raises(arpc.CallTimeout):
            await ctx.peer.call("/hang", "nested")
        return "in time"

    router = arpc.Router()
    router.handle("/nest")(nest)
    link = await connect(router, chain.router, server_options={"timeout": 0.05})
    assert await link.client.call("/nest", returns=str, timeout=5) == "in time"


# --- the deadline comes


async def test_a_handler_past_its_deadline_is_cancelled_and_its_caller_told(connect: Connect) -> None:
    chain = Chain()
    link = await connect(chain.router, chain.router, scheme="tcp")
    for peer in link.both:
        chain.started.clear()
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/hang", "hangs", timeout=0.05)
        await eventually(lambda: chain.ended == ["hangs"])
        chain.ended.clear()


async def test_a_nested_call_past_the_deadline_ends_the_whole_chain(connect: Connect) -> None:
    chain = Chain()
    ended: list[type[BaseException]] = []

    async def nest(ctx: arpc.Context) -> None:
        try:
            await ctx.peer.call("/hang", "inner")
        except BaseException as error:
            ended.append(type(error))
            raise

    link = await nested(connect, chain, nest)
    with pytest.raises(arpc.CallTimeout):
        await link.client.call("/nest", timeout=0.1)
    await eventually(lambda: chain.ended == ["inner"] and ended)
    assert ended in ([asyncio.CancelledError], [arpc.CallTimeout])


def with_meta(seq: int, command: int, method: bytes, data: bytes, value: bytes) -> bytes:
    trailer = b"meta" + value + (len(value) + 6).to_bytes(2, "big")
    return frame(command, seq, method, data + trailer, reserved=META)


async def extended(raw: Raw) -> None:
    """Says a Hello and takes the Pong."""
    await raw.send(frame(4, data=b"arpc+\x01" + (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3))
    pong = await raw.receive_frame()
    assert pong.data.startswith(b"arpc+")


async def test_the_answer_of_a_deadline_as_it_travels() -> None:
    async with under_attack() as target, await target.connect() as raw:
        await extended(raw)
        await raw.send(with_meta(7, 1, b"/hang", b"deadline", b"\x81\xa7timeout\x32"))  # {"timeout": 50}
        answer = await raw.receive_frame()
        assert (answer.command, answer.seq, answer.flag) == (2, 7, 1)
        assert answer.data.startswith(b"the deadline is overmeta")
        assert b"deadline_exceeded" in answer.data
        assert target.cancelled == ["deadline"]
        await raw.send(with_meta(8, 3, b"/hang", b"notify", b"\x81\xa7timeout\x32"))
        await eventually(lambda: target.cancelled == ["deadline", "notify"])


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_deadline_that_is_over_before_its_turn_starts_nothing(ordered: bool) -> None:
    async with under_attack() as target:
        began: list[str] = []

        @target.router.handle("/block", ordered=ordered)
        def block() -> None:
            time.sleep(0.03)

        @target.router.handle("/late", ordered=ordered)
        async def late(ctx: arpc.Context) -> None:
            began.append("late")

        @target.router.handle("/late-sync", ordered=ordered)
        def late_sync() -> None:
            began.append("late")

        raw = await target.connect()
        await extended(raw)
        soon = b"\x81\xa7timeout\x0a"  # {"timeout": 10}
        late_ones = [with_meta(seq, 1, method, b"", soon) for seq, method in ((2, b"/late"), (3, b"/late-sync"))]
        await raw.send(frame(1, 1, b"/block") + b"".join(late_ones) + with_meta(4, 3, b"/late", b"", soon))
        answers = {answer.seq: answer for answer in [await raw.receive_frame() for _ in range(3)]}
        assert answers[1].flag == 0
        for seq in (2, 3):
            assert answers[seq].data.startswith(b"the deadline is overmeta")
            assert b"deadline_exceeded" in answers[seq].data
        await raw.ask(5, b"/block")
        assert not began


async def test_deadlines_far_away_are_no_burden(connect: Connect) -> None:
    chain = Chain()
    link = await connect(chain.router)
    await link.client.call("/left", "far", timeout=1e9)
    assert (chain.seen["far"] or 0) > 9e8


async def test_a_lone_message_with_a_deadline_or_metadata_is_one_write(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unfinished frame would wait over there for its trailer."""
    router = arpc.Router()

    @router.handle("/answer")
    async def answer(ctx: arpc.Context, body: bytes) -> str:
        ctx.answer_metadata["place"] = "here"
        return "answer"

    link = await connect(router, router)
    writes: dict[Any, int] = {}
    for peer in link.both:
        transport: Any = peer._connection.transport

        def write(data: bytes, of: Any = peer, write: Any = transport.write) -> None:
            writes[of] = writes.get(of, 0) + 1
            write(data)

        monkeypatch.setattr(transport, "write", write)
    ways: list[dict[str, Any]] = [{}, {"timeout": 5}, {"metadata": {"a": "b"}}, {"timeout": 5, "metadata": {"a": "b"}}]
    for one, other in (link.both, link.both[::-1]):
        for how in ways:
            writes.clear()
            for _ in range(5):
                assert await one.call("/answer", b"body", returns=str, **how) == "answer"
            assert writes == {one: 5, other: 5}, how
