"""call, notify and ping, from either side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.peer.echoing import Person, echoing
from tests.tools import eventually


def silent() -> tuple[arpc.Router, asyncio.Event]:
    """A handler that answers when the event is set."""
    router, answer = echoing(), asyncio.Event()

    @router.handle("/silent")
    async def wait() -> str:
        await answer.wait()
        return "late"

    return router, answer


@pytest.mark.parametrize("scheme", ["mem", "tcp"])
async def test_either_side_calls_notifies_and_pings(connect: Connect, scheme: str) -> None:
    heard: list[str] = []

    def router_of(side: str) -> arpc.Router:
        router = arpc.Router()

        @router.handle("/who")
        async def who(asker: str) -> str:
            return f"{side}, asked by {asker}"

        @router.handle("/hear")
        def hear(text: str) -> None:
            heard.append(f"{side} heard {text}")

        return router

    link = await connect(router_of("server"), router_of("client"), scheme=scheme)
    assert await link.client.call("/who", "client", returns=str) == "server, asked by client"
    assert await link.peer.call("/who", "server", returns=str) == "client, asked by server"
    await link.client.notify("/hear", "one")
    await link.peer.notify("/hear", "two")
    link.client.try_notify("/hear", "three")
    await eventually(lambda: len(heard) == 3)
    assert sorted(heard) == ["client heard two", "server heard one", "server heard three"]
    for peer in link.both:
        assert 0 <= await peer.ping() < 5


async def test_messages_of_one_connection_arrive_in_order(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[int] = []

    @router.handle("/n")
    def number(n: int) -> None:
        seen.append(n)

    link = await connect(router)
    for n in range(1000):
        await link.client.notify("/n", n)
    await link.client.call("/n", 1000)
    assert seen == list(range(1001))


# Timeouts.


@pytest.mark.parametrize("timeout", [0, -1, -0.001, float("nan"), float("-inf"), 10**400, "1"])
async def test_a_timeout_that_makes_no_sense_is_refused(connect: Connect, timeout: float) -> None:
    link = await connect(echoing())
    with pytest.raises(ValueError, match="timeout is seconds above 0, or None to wait for ever"):
        await link.client.call("/echo", timeout=timeout)
    with pytest.raises(ValueError, match="timeout is seconds above 0"):
        await link.client.ping(timeout=timeout)


async def test_the_default_timeout_is_the_options(connect: Connect) -> None:
    assert arpc.Options().timeout == 30.0
    router, answer = silent()
    link = await connect(router, client_options={"timeout": 0.02})
    with pytest.raises(arpc.CallTimeout, match=r"/silent has not answered within 0\.02 s"):
        await link.client.call("/silent")
    answer.set()


@pytest.mark.parametrize("ever", [None, float("inf")])
async def test_a_call_may_wait_for_ever(connect: Connect, ever: float | None) -> None:
    router, answer = silent()
    link = await connect(router, client_options={"timeout": 0.01})
    patient = asyncio.ensure_future(link.client.call("/silent", returns=str, timeout=ever))
    with pytest.raises(arpc.CallTimeout):
        await link.client.call("/silent")
    assert not patient.done()
    answer.set()
    assert await patient == "late"


@pytest.mark.parametrize("scheme", ["mem", "tcp"])
async def test_after_a_timeout_the_connection_lives_and_the_late_answer_is_dropped(
    connect: Connect, scheme: str
) -> None:
    router, answer = silent()
    link = await connect(router, scheme=scheme, server_options={"extensions": False})  # it cannot be told
    with pytest.raises(TimeoutError):
        await link.client.call("/silent", timeout=0.02)
    assert link.client.stats.frames_dropped == 0
    answer.set()
    await eventually(lambda: link.client.stats.frames_dropped == 1)
    assert await link.client.call("/echo", "still here", returns=str) == "still here"
    assert link.client.stats.frames_dropped == 1


async def test_a_ping_is_bounded_too(connect: Connect) -> None:
    link = await connect(echoing())
    transport = link.peer._connection.transport
    assert transport is not None
    transport.pause_reading()
    with pytest.raises(arpc.CallTimeout, match=r"has not answered a ping within 0\.02 s"):
        await link.client.ping(timeout=0.02)
    later = asyncio.ensure_future(link.client.ping())
    await asyncio.sleep(0)
    transport.resume_reading()
    assert await later > 0
    assert await link.client.call("/echo", b"1", returns=bytes) == b"1"


@pytest.mark.parametrize("told", [True, False])
async def test_cancelling_a_call_cancels_nothing_else(connect: Connect, told: bool) -> None:
    """The other side is told to cancel its handler, or, if it cannot be, sends an answer for nobody."""
    router, answer = silent()
    link = await connect(router, server_options={"extensions": told})
    call = asyncio.ensure_future(link.client.call("/silent", timeout=None))
    other = asyncio.ensure_future(link.client.call("/silent", returns=str))
    await eventually(lambda: len(link.peer._connection.session.serving or ()) == 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(link.client._connection.session.pending) == 1
    if told:
        await eventually(lambda: len(link.peer._connection.session.serving or ()) == 1)
    answer.set()
    assert await other == "late"
    await link.client.ping()
    assert link.client.stats.frames_dropped == (0 if told else 1)


async def test_a_call_that_is_cancelled_before_it_starts_sends_nothing(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[str] = []

    @router.fallback
    def note(body: bytes, ctx: arpc.Context) -> None:
        seen.append(ctx.method)

    link = await connect(router)
    call = asyncio.ensure_future(link.client.call("/never"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await link.client.call("/after")
    assert seen == ["/after"]


# What goes out.


async def test_what_cannot_be_encoded_is_not_sent(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[bytes] = []

    @router.handle("/note")
    def note(body: bytes) -> None:
        seen.append(body)

    link = await connect(router)
    for wrong in (object(), {"deep": object()}, "\ud800"):
        with pytest.raises(arpc.EncodeError):
            await link.client.call("/note", wrong)
        with pytest.raises(arpc.EncodeError):
            await link.client.notify("/note", wrong)
        with pytest.raises(arpc.EncodeError):
            link.client.try_notify("/note", wrong)
    with pytest.raises(arpc.EncodeError, match="json cannot encode a object"):
        await link.client.call("/note", object())
    await link.client.ping()
    assert seen == []


async def test_bodies_of_every_kind(connect: Connect) -> None:
    link = await connect(echoing())
    bodies: list[tuple[Any, bytes]] = [
        (b"b", b"b"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"m"), b"m"),
        ("str", b"str"),
        (None, b""),
        (ValueError("why"), b"why"),
        (True, b"true"),
        ({}, b"{}"),
        (Person("Ann"), b'{"name":"Ann","age":0}'),
    ]
    for body, expected in bodies:
        assert await link.client.call("/echo", body, returns=bytes) == expected


@pytest.mark.parametrize("method", ["", "x" * 128, "é" * 64, "\ud800"])
async def test_a_method_that_the_wire_cannot_carry(connect: Connect, method: str) -> None:
    link = await connect(echoing())
    for peer in link.both:
        with pytest.raises(arpc.LocalProtocolError, match="method"):
            await peer.call(method)
        with pytest.raises(arpc.LocalProtocolError, match="method"):
            await peer.notify(method)
    with pytest.raises(arpc.MethodNotFound):
        await link.client.call("x" * 127)


async def test_a_body_beyond_the_limit_is_refused_here(connect: Connect) -> None:
    link = await connect(echoing(), server_options={"max_body": 1000})
    with pytest.raises(arpc.LimitExceeded, match=r"1001 bytes.*the other side accepts at most 1000"):
        await link.client.call("/echo", bytes(1001 - len("/echo")))
    with pytest.raises(ValueError, match="max_body"):
        await link.client.notify("/echo", bytes(1000))
    assert len(await link.client.call("/echo", bytes(1000 - len("/echo")), returns=bytes)) == 995
