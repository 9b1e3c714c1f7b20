"""Handlers that misbehave: whatever they do, their callers get one answer, and no other connection notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import arpc
from tests.peer.raw import NOTIFY, REQUEST, frame, request
from tests.peer.target import Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with under_attack(max_inflight=4) as target:
        yield target


class Unspeakable(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def misbehaving(router: arpc.Router) -> None:
    @router.handle("/raises")
    async def raises(body: bytes) -> None:
        raise ValueError("secret")

    @router.handle("/raises-inline")
    def raises_inline(body: bytes) -> None:
        raise ValueError("secret")

    @router.handle("/raises-late")
    async def raises_late(body: bytes) -> None:
        await asyncio.sleep(0)
        raise ValueError("secret")

    @router.handle("/unspeakable")
    async def unspeakable(body: bytes) -> None:
        raise Unspeakable

    @router.handle("/protocol-error")
    async def protocol_error(body: bytes) -> None:
        raise arpc.RemoteProtocolError("of somebody else")

    @router.handle("/cannot-be-encoded")
    async def cannot_be_encoded(body: bytes) -> object:
        return object()

    @router.handle("/another-type")
    async def another_type(body: bytes) -> int:
        await asyncio.sleep(0)
        return "text"  # type: ignore[return-value]

    @router.handle("/too-deep")
    async def too_deep(body: bytes) -> object:
        value: list[object] = []
        for _ in range(100_000):
            value = [value]
        return value

    @router.handle("/recursion")
    def recursion(body: bytes) -> bytes:
        return recursion(body) + b"."

    @router.handle("/cancels-itself")
    async def cancels_itself(body: bytes) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @router.handle("/cancels-itself-at-the-end")
    async def cancels_itself_at_the_end(body: bytes) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    @router.handle("/raises-cancelled")
    def raises_cancelled(body: bytes) -> None:
        raise asyncio.CancelledError

    @router.handle("/long-error")
    async def long_error(body: bytes) -> None:
        raise arpc.RpcError("x" * 1_000_000)

    @router.handle("/error-without-text")
    async def error_without_text(body: bytes) -> None:
        raise arpc.RpcError("")

    @router.handle("/surrogate")
    async def surrogate(body: bytes) -> None:
        raise arpc.RpcError("half \ud800")


METHODS = """/raises /raises-inline /raises-late /unspeakable /protocol-error /cannot-be-encoded /another-type /too-deep
    /recursion /cancels-itself /raises-cancelled /long-error /error-without-text /surrogate""".split()


@pytest.mark.parametrize("method", METHODS)
async def test_a_handler_that_fails_answers_one_error(target: Target, method: str) -> None:
    misbehaving(target.router)
    name = method.encode()
    async with await target.connect() as raw:
        for seq in range(1, 7):  # more often than there are slots
            answer = await raw.ask(seq, name, b"x")
            assert (answer.seq, answer.method) == (seq, name)
            assert answer.error is not None
            assert "secret" not in answer.error
            await raw.send(frame(NOTIFY, seq, name, b"x"))
        assert (await raw.ask(7, b"/later", b"lives")).data == b"lives"


async def test_a_handler_that_cancels_its_task_as_it_ends_harms_nobody(target: Target) -> None:
    misbehaving(target.router)
    async with await target.connect() as raw:
        both = request(1, b"/cancels-itself-at-the-end") + request(2, b"/later", b"next")
        await raw.send(both)
        answers = {answer.seq: answer for answer in [await raw.receive_frame(), await raw.receive_frame()]}
        assert answers[1].error in (None, "cancelled")
        assert answers[2].data == b"next"


async def test_handlers_that_never_end_are_cancelled_with_their_connection(target: Target) -> None:
    raw = await target.connect()
    await raw.send(b"".join(request(seq, b"/hang", b"%d" % seq) for seq in range(1, 11)))
    await eventually(lambda: target.server._endpoint.inflight == 4)
    raw.reset()
    await eventually(lambda: sorted(target.cancelled) == ["1", "2", "3", "4"])  # the others never began


@pytest.mark.parametrize("told", [True, False])
async def test_a_caller_that_gives_up_on_a_handler_that_never_ends(target: Target, told: bool) -> None:
    """Told, the other side cancels it; else it goes on until its connection ends."""
    async with arpc.connect(target.server.address, extensions=told) as client:
        with pytest.raises(arpc.CallTimeout):
            await client.call("/hang", b"1", timeout=0.02)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.call("/hang", b"2", timeout=None)
        assert await client.call("/echo", b"lives", returns=bytes) == b"lives"
        if told:
            await eventually(lambda: sorted(target.cancelled) == ["1", "2"])
        else:
            assert target.cancelled == []
    await eventually(lambda: sorted(target.cancelled) == ["1", "2"])


async def test_a_handler_that_outlives_its_connection_answers_nobody(target: Target) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    @target.router.handle("/stubborn")
    async def stubborn(body: bytes) -> bytes:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        return body

    raw = await target.connect()
    await raw.send(request(1, b"/stubborn"))
    await eventually(lambda: target.server._endpoint.inflight)
    raw.reset()
    await eventually(lambda: len(target.server.peers) == 1)
    assert target.server._endpoint.inflight == 1  # it keeps its slot until it has really ended
    release.set()
    await ended.wait()


async def test_a_handler_that_closes_its_own_connection(target: Target) -> None:
    @target.router.handle("/leave")
    async def leave(ctx: arpc.Context) -> str:
        await ctx.peer.close()
        return "too late"

    async with await target.connect() as raw:
        await raw.send(request(1, b"/leave"))
        await raw.ended()
    with pytest.raises(arpc.ConnectionClosed):
        async with arpc.connect(target.server.address) as client:
            await client.call("/leave", timeout=5)


async def test_a_handler_that_stops_the_server() -> None:
    router = arpc.Router()

    @router.handle("/stop")
    async def stop() -> None:
        await server.stop()

    server = await arpc.serve("tcp://127.0.0.1:0", router)
    async with arpc.connect(server.address) as client:
        with pytest.raises(arpc.ConnectionClosed):
            await client.call("/stop", timeout=5)
        await server.wait_closed()


async def test_a_handler_that_calls_into_the_void(target: Target) -> None:
    """It calls back a client that never answers, and disappears."""
    failed: list[BaseException] = []

    @target.router.handle("/call-back")
    async def call_back(ctx: arpc.Context) -> None:
        try:
            await ctx.peer.call("/back", timeout=None)
        except BaseException as error:
            failed.append(error)
            raise

    raw = await target.connect()
    await raw.send(b"".join(request(seq, b"/call-back") for seq in range(1, 11)))
    asked = [await raw.receive_frame() for _ in range(10)]  # calls lend their slots: ten run where four may
    assert {answer.command for answer in asked} == {REQUEST}
    raw.reset()
    await eventually(lambda: len(failed) == 10)


async def test_one_that_floods_does_not_starve_the_others(target: Target) -> None:
    flood = b"".join(request(seq, b"/echo", b"x" * 100) for seq in range(1, 20_001))
    async with await target.connect() as raw:
        sending = asyncio.create_task(raw.send(flood * 3))
        receiving = asyncio.create_task(raw.ended())
        for _ in range(20):
            assert await target.honest.call("/echo", b"x", returns=bytes, timeout=1) == b"x"
        sending.cancel()
        receiving.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
