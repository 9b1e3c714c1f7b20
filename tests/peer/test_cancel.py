"""Cancelled and timed-out calls cancel their handlers (PROTOCOL, cmd 7)."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.peer.raw import Raw, frame, request
from tests.peer.target import under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

CANCEL = 7
both_transports = pytest.mark.parametrize("scheme", ["mem", "tcp"])


class Hanging:
    """Handlers that hang, and what became of them."""

    def __init__(self, *, ordered: bool = False) -> None:
        self.router = arpc.Router()
        self.began: list[str] = []
        self.ended: list[str] = []
        self.stubborn: list[str] = []
        self.free = asyncio.Event()
        self.thread_may_end = threading.Event()

        @self.router.handle("/hang", ordered=ordered)
        async def hang(body: str) -> str:
            self.began.append(body)
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                self.ended.append(body)
                raise
            return body

        @self.router.handle("/stubborn")
        async def stubborn(body: str) -> str:
            self.began.append(body)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ended.append(body)
            return "an answer for nobody"

        @self.router.handle("/thread", threaded=True)
        def thread(body: str) -> str:
            self.began.append(body)
            self.thread_may_end.wait(5)
            self.ended.append(body)
            return body

        @self.router.handle("/echo")
        def echo(body: bytes) -> bytes:
            return body


@both_transports
@pytest.mark.parametrize("how", ["cancel", "timeout", "stubborn"])
async def test_giving_up_a_call_cancels_its_handler_and_nothing_is_answered(
    connect: Connect, scheme: str, how: str
) -> None:
    hanging = Hanging()
    link = await connect(hanging.router, hanging.router, scheme=scheme)
    for peer, other in (link.both, link.both[::-1]):
        method = "/stubborn" if how == "stubborn" else "/hang"
        # Its own timeout would travel, and end the handler over there: the default one does not.
        call = asyncio.create_task(peer.call(method, "x", timeout=0.05 if how == "timeout" else None))
        await eventually(lambda: hanging.began)
        if how != "timeout":
            call.cancel()
        with pytest.raises((asyncio.CancelledError, arpc.CallTimeout)):
            await call
        await eventually(lambda: hanging.ended == ["x"])
        await no_handlers(other)
        assert await peer.call("/echo", b"x", returns=bytes) == b"x"
        if how != "timeout":  # there both sides may notice
            assert peer.stats.frames_dropped == 0
        hanging.began.clear()
        hanging.ended.clear()


async def no_handlers(peer: arpc.Peer) -> None:
    await eventually(lambda: peer._connection.inbox is None)


async def test_the_default_timeout_cancels_too(connect: Connect) -> None:
    hanging = Hanging()
    link = await connect(hanging.router, client_options={"timeout": 0.05})
    with pytest.raises(arpc.CallTimeout, match=r"within 0\.05 s"):
        await link.client.call("/hang", "x")
    await eventually(lambda: hanging.ended == ["x"])


@pytest.mark.parametrize("ordered", [False, True], ids=["queue", "ordered"])
async def test_what_waits_for_its_turn_is_never_begun(connect: Connect, ordered: bool) -> None:
    hanging = Hanging(ordered=ordered)
    link = await connect(hanging.router, server_options={"max_inflight": 1})
    calls = [asyncio.create_task(link.client.call("/hang", str(number), returns=str)) for number in range(10)]
    await eventually(lambda: hanging.began == ["0"])
    inbox = link.peer._connection.inbox
    assert inbox is not None
    await eventually(lambda: inbox.waiting == 9)
    for number in (2, 5, 9):
        calls[number].cancel()
    await eventually(lambda: len(inbox.withdrawn or ()) == 3)
    hanging.free.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, str)] == ["0", "1", "3", "4", "6", "7", "8"]
    assert hanging.began == ["0", "1", "3", "4", "6", "7", "8"]
    assert not hanging.ended
    await eventually(lambda: link.peer._connection.inbox is None)


async def test_the_ordered_lane_goes_on_after_a_cancelled_handler(connect: Connect) -> None:
    hanging = Hanging(ordered=True)
    link = await connect(hanging.router)
    first = asyncio.create_task(link.client.call("/hang", "first"))
    second = asyncio.create_task(link.client.call("/hang", "second", returns=str))
    await eventually(lambda: hanging.began == ["first"])
    first.cancel()
    await eventually(lambda: hanging.began == ["first", "second"])
    hanging.free.set()
    assert await second == "second"
    assert hanging.ended == ["first"]


async def test_a_threaded_handler_runs_on_and_is_not_answered(connect: Connect) -> None:
    hanging = Hanging()
    link = await connect(hanging.router)
    call = asyncio.create_task(link.client.call("/thread", "x"))
    await eventually(lambda: hanging.began)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await link.client.ping()
    hanging.thread_may_end.set()
    await eventually(lambda: hanging.ended == ["x"])
    assert await link.client.call("/echo", b"x", returns=bytes) == b"x"
    assert link.client.stats.frames_dropped == 0


async def test_a_handler_cancels_what_it_waits_for(connect: Connect) -> None:
    router, hanging = arpc.Router(), Hanging()

    @router.handle("/nest")
    async def nest(ctx: arpc.Context) -> None:
        await ctx.peer.call("/hang", "inner", timeout=None)

    link = await connect(router, hanging.router)
    call = asyncio.create_task(link.client.call("/nest"))
    await eventually(lambda: hanging.began)
    call.cancel()
    await eventually(lambda: hanging.ended == ["inner"])


async def test_the_timeout_middleware_and_task_groups_cancel_over_the_wire(connect: Connect) -> None:
    hanging = Hanging()
    link = await connect(hanging.router)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.client.call("/hang", "timeout")

    async def fail() -> None:
        await eventually(lambda: len(hanging.began) == 2)
        raise ValueError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(link.client.call("/hang", "group"))
            group.create_task(fail())
    await eventually(lambda: hanging.ended == ["timeout", "group"])


@pytest.mark.parametrize("options", [{"extensions": False}, {"capabilities": arpc.Capability.META}], ids=str)
async def test_without_cancel_the_handler_runs_on(connect: Connect, options: Any) -> None:
    hanging = Hanging()
    link = await connect(hanging.router, client_options=options)
    call = asyncio.create_task(link.client.call("/hang", "x"))
    await eventually(lambda: hanging.began)
    call.cancel()
    await link.client.ping()
    hanging.free.set()
    await eventually(lambda: link.client.stats.frames_dropped == 1)
    assert not hanging.ended


async def test_a_thousand_calls_are_cancelled_in_the_middle_of_everything(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/turns")
    async def turns(body: int) -> int:
        for _ in range(body % 7):
            await asyncio.sleep(0)
        return body

    link = await connect(router, scheme="tcp", server_options={"max_inflight": 20})
    calls = [asyncio.create_task(link.client.call("/turns", number, returns=int)) for number in range(1000)]
    for number in range(0, 1000, 3):
        if number % 50 == 0:
            await asyncio.sleep(0)
        calls[number].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert answer == number or (number % 3 == 0 and isinstance(answer, asyncio.CancelledError))
    await eventually(lambda: link.peer._connection.inbox is None)
    assert not link.client._connection.session.pending


# --- by hand


async def extended(raw: Raw) -> None:
    await raw.send(frame(4, data=b"arpc+\x01" + (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3))
    assert (await raw.receive_frame()).data.startswith(b"arpc+")


async def test_a_request_and_its_cancel_in_one_chunk() -> None:
    async with under_attack() as target, await target.connect() as raw:
        await extended(raw)
        await raw.send(request(1, b"/hang", b"one") + frame(CANCEL, 1) + request(2, b"/echo", b"two"))
        answer = await raw.receive_frame()
        assert (answer.seq, answer.data) == (2, b"two")
        await raw.send(b"".join(request(seq, b"/hang", b"x") + frame(CANCEL, seq) for seq in range(3, 500)))
        assert (await raw.ask(1000, b"/echo", b"three")).data == b"three"
        (peer,) = target.server.peers - {target.honest.state["accepted"]}
        await eventually(lambda: peer._connection.inbox is None)


async def test_cancels_of_what_has_ended_or_never_was_are_ignored() -> None:
    async with under_attack() as target, await target.connect() as raw:
        await extended(raw)
        assert (await raw.ask(1, b"/echo", b"one")).data == b"one"
        await raw.send(frame(CANCEL, 1) * 3 + frame(CANCEL, 99) + frame(CANCEL, 2**64 - 1))
        began = time.monotonic()
        await raw.send(b"".join(frame(CANCEL, seq) for seq in range(10_000)))
        assert (await raw.ask(100_000, b"/echo", b"two")).data == b"two"
        assert time.monotonic() - began < 2
