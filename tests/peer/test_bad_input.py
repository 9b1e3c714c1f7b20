"""A server meets clients that break every rule: none of them harms another connection, and nothing of them is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

import arpc
from tests.peer.raw import (
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    Received,
    frame,
    request,
)
from tests.peer.target import Point, Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

LOCAL, END = 0x80, 0x40


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with under_attack() as target:
        yield target


# --- what ends a connection


async def test_random_bytes(target: Target) -> None:
    chance = random.Random(1)
    for _ in range(200):
        async with await target.connect(accepted=False) as raw:
            await raw.send(chance.randbytes(chance.randrange(1, 200)))


UNKNOWN = [*range(7, 64), 0]


@pytest.mark.parametrize("bits", [0, LOCAL, END, LOCAL | END])
async def test_an_unknown_command_closes(target: Target, bits: int) -> None:
    for command in UNKNOWN:
        async with await target.connect(accepted=False) as raw:
            await raw.send(frame(command | bits, 1, b"/echo", b"x"))
            await raw.ended()
    causes = target.events.details("close")
    assert len(causes) == len(UNKNOWN)
    assert all("unknown command" in cause for cause in causes)


@pytest.mark.parametrize("length", [64 * 1024 * 1024 - 15, 0x7FFF_FFFF, 0xFFFF_FFFF])
@pytest.mark.parametrize("command", [REQUEST, RESPONSE, NOTIFY, PING, PONG, STREAM])
async def test_a_claim_beyond_the_limit_closes(target: Target, length: int, command: int) -> None:
    raw = await target.connect()
    await raw.send(frame(command, 1, b"/echo", length=length))
    await raw.ended()
    raw.close()
    (cause,) = target.events.details("close")
    assert str(length) in cause
    assert "max_body" in cause


async def test_what_came_before_a_broken_frame_is_taken(target: Target) -> None:
    async with await target.connect() as raw:
        notify = frame(NOTIFY, 1, b"/note", b"before")
        await raw.send(notify + frame(9) + frame(NOTIFY, 2, b"/note", b"after"))
        await raw.ended()
    await eventually(lambda: target.noted)
    assert target.noted == [b"before"]


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_frame_that_is_cut_off_at_every_offset(target: Target, ending: str) -> None:
    whole = request(7, b"/echo", b"0123456789")
    for cut in range(len(whole)):
        raw = await target.connect()
        await raw.send(request(1, b"/hang", b"%d" % cut) + whole[:cut])
        await target.holds(cut)
        getattr(raw, ending)()
        await eventually(lambda: len(target.server.peers) == 1)
        assert target.server._endpoint.buffered == 0, f"cut at {cut}"
    await eventually(lambda: len(target.cancelled) == len(whole), why="every handler was cancelled")


async def test_a_length_that_is_too_small_is_read_as_it_says(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(REQUEST, 1, b"/echo", b"abc" + frame(PING), length=8))
        got = {await raw.receive_frame(), await raw.receive_frame()}
        assert got == {Received(RESPONSE, 0, 1, b"/echo", b"abc"), Received(PONG, 0, 0, b"", b"")}


async def test_a_length_that_is_too_big_waits_for_the_rest(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(REQUEST, 1, b"/echo", b"abc", length=8 + 16) + frame(PING))
        answer = await raw.receive_frame()
        assert answer.data == b"abc" + frame(PING)


# --- methods


@pytest.mark.parametrize("method", [b"", b"m" * 128, b"m" * 255])
async def test_a_method_of_an_impossible_length(target: Target, method: bytes) -> None:
    async with await target.connect() as raw:
        answer = await raw.ask(5, method, b"body")
        assert (answer.command, answer.seq, answer.method) == (RESPONSE, 5, method[:127]), (
            "no answer breaks the rule itself"
        )
        assert f"this one has {len(method)}" in (answer.error or "")
        await raw.send(frame(NOTIFY, 6, method, b"body"))
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 1


async def test_a_method_longer_than_its_frame(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(REQUEST, 5, b"/echo", method_size=6))
        answer = await raw.receive_frame()
        assert (answer.seq, answer.method) == (5, b"")
        assert "cut off" in (answer.error or "")
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"


@pytest.mark.parametrize("method", [b"\xff\xfe", b"/echo\0", b"/ECHO", b" /echo", b"\xed\xb0\x80"])
async def test_a_method_that_nobody_serves(target: Target, method: bytes) -> None:
    async with await target.connect() as raw:
        answer = await raw.ask(5, method, b"body")
        assert (answer.method, answer.error) == (method, "method not found")
        await raw.send(frame(NOTIFY, 6, method, b"body"))
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 1


async def test_a_fallback_is_told_a_method_that_is_no_text(target: Target) -> None:
    @target.router.fallback
    def fallback(body: bytes, ctx: arpc.Context) -> str:
        return ctx.method

    async with await target.connect() as raw:
        assert (await raw.ask(5, b"a\xffb")).data.decode() == "a\ufffdb"


async def test_many_unknown_methods_leave_nothing(target: Target) -> None:
    routes = target.server._endpoint.routes
    known = len(routes)
    async with await target.connect() as raw:
        await raw.send(b"".join(request(number, b"/%d" % number) for number in range(1, 2001)))
        for _ in range(2000):
            assert (await raw.receive_frame()).error == "method not found"
    assert len(routes) == known


async def test_a_handler_that_cannot_be_compiled_later_is_still_answered(target: Target) -> None:
    inner = arpc.Router()
    target.router.include(inner, prefix="/inner")

    @target.router.handle("/inner/x")
    def outer_x() -> str:
        return "outer"

    try:

        @inner.handle("/x")
        def inner_x() -> str:
            return "inner"

    except arpc.RegistrationError:
        pass  # refused at once is fine, too
    async with await target.connect() as raw:
        assert (await raw.ask(1, b"/unknown")).error is not None
        assert (await raw.ask(2, b"/echo", b"lives")).data == b"lives"


# --- answers that nobody asked for


async def test_an_answer_to_nothing_is_dropped_and_counted(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(RESPONSE, 12345, b"/echo", b"x") + frame(RESPONSE, 0, b"") + frame(PONG))
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 3


async def test_a_duplicate_answer_is_dropped_and_counted(target: Target) -> None:
    async with await target.settled() as raw:
        call, asked = await target.call(raw, returns=bytes)
        await raw.send(frame(RESPONSE, asked.seq, asked.method, b"!") * 5)
        assert await call == b"!"
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 4


async def test_an_answer_of_another_method_is_not_the_call_s(target: Target) -> None:
    async with await target.settled() as raw:
        call, asked = await target.call(raw, returns=bytes)
        wrong = frame(RESPONSE, asked.seq, b"/other", b"wrong") + frame(RESPONSE, asked.seq, b"", b"wrong")
        await raw.send(wrong + frame(RESPONSE, asked.seq, b"/ask", b"right"))
        assert await call == b"right"
        assert target.peer().stats.frames_dropped == 2


async def test_an_answer_after_the_timeout_is_dropped_and_counted(target: Target) -> None:
    async with await target.settled() as raw:
        call, asked = await target.call(raw, timeout=0.03)
        with pytest.raises(arpc.CallTimeout):
            await call
        await raw.send(frame(RESPONSE, asked.seq, asked.method, b"late"))
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 1


async def test_calls_fail_at_once_when_the_other_side_breaks_the_rules(target: Target) -> None:
    async with await target.settled() as raw:
        peer = target.peer()
        call, _ = await target.call(raw, timeout=None)
        ping = asyncio.create_task(peer.ping(timeout=None))
        assert (await raw.receive_frame()).command == PING
        await raw.send(frame(63))
        with pytest.raises(arpc.ConnectionClosed, match="unknown command 63") as caught:
            await call
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, arpc.RemoteProtocolError)
        with pytest.raises(arpc.ConnectionClosed, match="unknown command 63"):
            await ping
        with pytest.raises(arpc.ConnectionClosed, match="unknown command 63") as caught:
            await peer.call("/ask", b"?")
        assert not caught.value.sent


# --- bodies


BAD_BODIES = {
    "broken": b'{"x": 1',
    "not JSON": b"\x00\x01\x02",
    "not UTF-8": b'{"x": "\xff\xff"}',
    "another type": b"[1, 2]",
    "another type in a field": b'{"x": "one"}',
    "a field missing": b'{"y": 1}',
    "empty": b"",
    "too deep": b"[" * 100_000,
    "too deep, whole": b"[" * 100_000 + b"]" * 100_000,
    "too deep, objects": b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    "a number without end": b'{"x": ' + b"9" * 100_000 + b"}",
    "trailing": b'{"x": 1} {"x": 2}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_body_that_a_handler_cannot_read(target: Target, body: bytes) -> None:
    async with await target.connect() as raw:
        answer = await raw.ask(5, b"/point", body)
        assert (answer.error or "").startswith("invalid body: ")
        assert len(answer.data) < 1000
        await raw.send(frame(NOTIFY, 6, b"/point", body))
        assert (await raw.ask(7, b"/point", b'{"x": 40, "y": 2}')).data == b"42"


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000], ids=["cut", "whole"])
async def test_a_plain_value_that_is_too_deep(target: Target, body: bytes) -> None:
    async with await target.connect() as raw:
        assert (await raw.ask(5, b"/plain", body)).error is not None
        assert (await raw.ask(7, b"/plain", b"[[]]")).data == b"list"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"x": "one"}', b"\xff", b""], ids=["deep", "type", "text", "empty"])
async def test_an_answer_that_a_caller_cannot_read(target: Target, body: bytes) -> None:
    async with await target.settled() as raw:
        call, asked = await target.call(raw, returns=Point)
        await raw.send(frame(RESPONSE, asked.seq, asked.method, body))
        with pytest.raises(arpc.DecodeError, match="/ask"):
            await call
        call, asked = await target.call(raw, returns=Point)
        await raw.send(frame(RESPONSE, asked.seq, asked.method, b'{"x": 1}'))
        assert await call == Point(1)


async def test_an_error_answer_that_is_no_text(target: Target) -> None:
    async with await target.settled() as raw:
        call, asked = await target.call(raw)
        await raw.send(frame(RESPONSE, asked.seq, asked.method, b"\xffwrong", flag=0xFF, reserved=0x7F))
        with pytest.raises(arpc.RemoteError, match="wrong"):
            await call


# --- requests in strange company


async def test_a_request_with_the_number_of_one_that_runs_closes(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(request(5, b"/hang", b"first") + request(5, b"/hang", b"second"))
        await raw.ended()
    await eventually(lambda: target.cancelled == ["first"])
    (cause,) = target.events.details("close")
    assert "request 5" in cause


async def test_a_number_may_be_used_again_once_it_is_answered(target: Target) -> None:
    async with await target.connect() as raw:
        for method in (b"/echo", b"/later") * 3:
            assert (await raw.ask(5, method, b"again")).data == b"again"


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 2**32, 2**63, 2**64 - 1])
async def test_any_number_is_echoed(target: Target, seq: int) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(REQUEST, seq, b"/later", b"x", flag=2))
        assert await raw.receive_frame() == Received(RESPONSE, 2, seq, b"/later", b"x")


async def test_any_chunking(target: Target) -> None:
    count = 50
    stream = b"".join(request(number, b"/echo", b"%d" % number) for number in range(count))
    for size in (len(stream), 1, 2, 15, 16, 17, 64):
        async with await target.connect() as raw:
            for start in range(0, len(stream), size):
                await raw.send(stream[start : start + size])
                if size < 64 and start % 10 == 0:
                    await asyncio.sleep(0)  # so that chunks arrive apart
            for number in range(count):
                assert await raw.receive_frame() == Received(RESPONSE, 0, number, b"/echo", b"%d" % number)


async def test_stream_bits_on_other_commands_mean_nothing(target: Target) -> None:
    async with await target.connect() as raw:
        for bits in (LOCAL, END, LOCAL | END):
            await raw.send(frame(REQUEST | bits, 5, b"/echo", b"x"))
            assert await raw.receive_frame() == Received(RESPONSE, 0, 5, b"/echo", b"x")
            await raw.send(frame(PING | bits))
            assert (await raw.receive_frame()).command == PONG


async def test_streams_are_refused_by_an_end_once_for_each(target: Target) -> None:
    async with await target.connect() as raw:
        opening = frame(STREAM | LOCAL, 9, b"/chat", b"item")
        foreign = frame(STREAM, 9, b"/chat", b"not opened by that side") + frame(STREAM | LOCAL, 9, b"", b"no method")
        await raw.send(opening * 3 + foreign + frame(STREAM | LOCAL | END, 9, b"/chat"))
        assert await raw.receive_frame() == Received(STREAM | END, 0, 9, b"/chat", b"")
        assert (await raw.ask(7, b"/echo", b"lives")).data == b"lives"
        assert target.peer().stats.frames_dropped == 5, "those two, and what came after the end"
        assert target.peer().stats.streams == 0
