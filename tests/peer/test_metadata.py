"""Metadata beside bodies, both ways: what users give, what they may not, and peers that know none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Unpack

import pytest

import arpc
from arpc.options import OptionKeywords
from arpc.trailer import MAX_VALUE
from tests.peer.conftest import Connect, Dial, Link
from tests.peer.raw import NOTIFY, REQUEST, RESPONSE, Raw, frame
from tests.peer.target import Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

META = 1 << 1
VALUES: dict[str, Any] = {
    "user": "ärger",
    "raw": b"\x00\xff",
    "none": None,
    "deep": {"list": [1, 2.5, True, {"x": None}]},
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "",
}


class Noting:
    """Handlers of every kind, which note the metadata that they see and answer with some."""

    def __init__(self) -> None:
        self.router = arpc.Router()
        self.seen: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}

        @self.router.handle("/sync")
        def sync(ctx: arpc.Context, body: bytes) -> bytes:
            return self.note(ctx, body)

        @self.router.handle("/async")
        async def asynchronous(ctx: arpc.Context, body: bytes) -> bytes:
            await asyncio.sleep(0)
            return self.note(ctx, body)

        @self.router.handle("/thread", threaded=True)
        def thread(ctx: arpc.Context, body: bytes) -> bytes:
            return self.note(ctx, body)

        @self.router.handle("/current")
        async def current(body: bytes) -> bytes:
            await asyncio.sleep(0)
            return self.note(arpc.current(), body)

        @self.router.handle("/plain")
        def plain(body: bytes) -> bytes:
            return body

        @self.router.stream("/stream")
        async def stream(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
            self.note(ctx, b"")
            async for item in stream:
                await stream.send(item)

    def note(self, ctx: arpc.Context, body: bytes) -> bytes:
        self.seen.append(dict(ctx.metadata))
        if self.answer:
            ctx.answer_metadata.update(self.answer)
        return body


async def linked(connect: Connect, **options: Unpack[OptionKeywords]) -> tuple[Noting, Link]:
    noting = Noting()
    return noting, await connect(noting.router, noting.router, options=options)


@pytest.mark.parametrize("body", [b"", b"x", bytes(100_000)], ids=["empty", "small", "large"])
async def test_metadata_arrive_beside_any_body(connect: Connect, body: bytes) -> None:
    noting, link = await linked(connect)
    for peer in link.both:
        for method in ("/sync", "/async", "/thread", "/current"):
            for timeout in (None, 5):
                answer = await peer.call(method, body, returns=bytes, metadata=VALUES, timeout=timeout)
                assert answer == body
                assert noting.seen.pop() == VALUES
            assert await peer.call(method, body, returns=bytes) == body
            assert noting.seen.pop() == {}
            assert await peer.call(method, body, returns=bytes, timeout=5) == body
            assert noting.seen.pop() == {}
        await peer.notify("/sync", body, metadata=VALUES)
        peer.try_notify("/sync", body, metadata={"a": 1})
        await eventually(lambda: len(noting.seen) == 2)
        assert noting.seen == [VALUES, {"a": 1}]
        noting.seen.clear()
        async with peer.open_stream("/stream", metadata=VALUES):
            await eventually(lambda: noting.seen == [VALUES])
        noting.seen.clear()
        async with peer.stream("/stream", b"first", items=[body or b"-"], returns=bytes, metadata=VALUES) as stream:
            assert [item async for item in stream] == [b"first", body or b"-"]
        assert noting.seen.pop() == VALUES
        assert await peer.call("/plain", body, returns=bytes, metadata=VALUES) == body


async def test_answers_carry_metadata_to_who_asks(connect: Connect) -> None:
    noting, link = await linked(connect)
    noting.answer = {"seen": True, "traceparent": "00-x"}
    for peer in link.both:
        for method in ("/sync", "/async", "/thread", "/current"):
            for body in (b"", b"x", bytes(100_000)):
                answer: dict[str, Any] = {"before": 1}
                assert await peer.call(method, body, returns=bytes, answer_metadata=answer) == body
                assert answer == {"before": 1, **noting.answer}
                assert await peer.call(method, body, returns=bytes) == body  # not asked for
        answer = {}
        assert await peer.call("/plain", b"x", returns=bytes, answer_metadata=answer) == b"x"
        assert answer == {}


async def test_the_metadata_of_an_answer_that_cannot_be_sent(connect: Connect, logged: Callable[[], str]) -> None:
    noting, link = await linked(connect)
    for wrong in ({"x": object()}, {"x": bytes(MAX_VALUE)}, {1: "x"}, {"code": "x"}, {"timeout": 1}):
        noting.answer = wrong  # type: ignore[assignment]
        with pytest.raises(arpc.RemoteError, match="metadata could not be encoded") as caught:
            await link.client.call("/sync", b"x")
        assert caught.value.code == arpc.Code.INTERNAL
    assert "cannot be sent" in logged()
    noting.answer = {}
    assert await link.client.call("/sync", b"x", returns=bytes) == b"x"


WRONG: list[tuple[Any, type[Exception], str]] = [
    ({"timeout": 1}, arpc.LocalProtocolError, "say timeout="),
    ({"code": "x"}, arpc.LocalProtocolError, "RpcError"),
    ({"details": "x"}, arpc.LocalProtocolError, "RpcError"),
    ({1: "x"}, arpc.LocalProtocolError, "a key of metadata is a text"),
    ({b"x": "x"}, arpc.LocalProtocolError, "a key of metadata is a text"),
    ({"traceparent": 1}, arpc.LocalProtocolError, "traceparent"),
    ({"tracestate": None}, arpc.LocalProtocolError, "tracestate"),
    ([("a", 1)], arpc.LocalProtocolError, "mapping"),
    ({"x": object()}, arpc.EncodeError, "metadata cannot be encoded"),
    ({"x": bytes(MAX_VALUE)}, arpc.LimitExceeded, "metadata of"),
]


@pytest.mark.parametrize(("values", "error", "text"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
async def test_metadata_that_may_not_be_given(connect: Connect, values: Any, error: type[Exception], text: str) -> None:
    noting, link = await linked(connect)
    peer = link.client
    for use in (
        peer.call("/sync", b"x", metadata=values),
        peer.call("/sync", b"x", metadata=values, timeout=5),
        peer.notify("/sync", b"x", metadata=values),
    ):
        with pytest.raises(error, match=text):
            await use
    with pytest.raises(error, match=text):
        peer.try_notify("/sync", b"x", metadata=values)
    for opening in (peer.open_stream("/stream", metadata=values), peer.stream("/stream", b"x", metadata=values)):
        with pytest.raises(error, match=text):
            await opening
    assert await peer.call("/plain", b"x", returns=bytes) == b"x"
    assert not noting.seen
    assert not peer.stats.streams


async def test_the_largest_metadata_and_one_byte_more(connect: Connect) -> None:
    noting, link = await linked(connect)
    head = len(b"\x81\xa1x\xc5..")
    largest = {"x": bytes(MAX_VALUE - head)}
    await link.client.call("/sync", b"x", returns=bytes, metadata=largest)
    assert noting.seen.pop() == largest
    with pytest.raises(arpc.LimitExceeded):
        await link.client.call("/sync", b"x", returns=bytes, metadata={"x": bytes(MAX_VALUE - head + 1)})


async def test_metadata_count_as_a_part_of_the_body(connect: Connect) -> None:
    _, link = await linked(connect, max_body=2000)
    await link.client.call("/sync", bytes(1900), returns=bytes, metadata={"x": bytes(50)})
    for use in (link.client.call, link.client.notify, link.client.stream):
        with pytest.raises(arpc.LimitExceeded):
            await use("/sync", bytes(1900), metadata={"x": bytes(100)})


@pytest.mark.parametrize("side", ["server_options", "client_options"])
@pytest.mark.parametrize("less", [{"extensions": False}, {"capabilities": ~arpc.Capability.META & 31}], ids=str)
async def test_peers_that_know_no_metadata(connect: Connect, side: str, less: dict[str, Any]) -> None:
    if "capabilities" in less:
        less = {"capabilities": arpc.Capability(31) & ~arpc.Capability.META}
    noting = Noting()
    noting.answer = {"stays": "here"}
    link = await connect(noting.router, noting.router, options={"hello_timeout": 0.02}, **{side: less})  # type: ignore[arg-type]
    for peer in link.both:
        for use in (
            peer.call("/sync", b"x", metadata={"a": 1}),
            peer.notify("/sync", b"x", metadata={"a": 1}),
        ):
            with pytest.raises(arpc.LocalProtocolError, match=r"takes no metadata: .* no coder carries 'a'$"):
                await use
        with pytest.raises(arpc.LocalProtocolError, match="takes no metadata"):
            peer.try_notify("/sync", b"x", metadata={"a": 1})
        with pytest.raises(arpc.LocalProtocolError, match="takes no metadata"):
            await peer.open_stream("/stream", metadata={"a": 1})
        answer: dict[str, Any] = {}
        # What arpc adds by itself is left out, and so are the answer's.
        for method in ("/sync", "/async"):
            assert await peer.call(method, b"x", returns=bytes, timeout=5, answer_metadata=answer, metadata={}) == b"x"
            assert noting.seen.pop() == {}
        assert answer == {}


async def test_an_option_treats_a_plain_peer_as_one_with_an_appender(connect: Connect) -> None:
    noting = Noting()
    noting.answer = {"b": 2}
    link = await connect(noting.router, noting.router, options={"extensions": False, "metadata_appender": True})
    for peer in link.both:
        answer: dict[str, Any] = {}
        assert await peer.call("/sync", b"x", returns=bytes, metadata={"a": 1}, answer_metadata=answer) == b"x"
        assert noting.seen.pop() == {"a": 1}
        assert answer == {"b": 2}


async def test_metadata_in_middleware(dial: Dial) -> None:
    noting, seen = Noting(), list[object]()

    async def around(context: arpc.Context, call_next: Any) -> Any:
        seen.append(dict(context.metadata))
        result = await call_next(context)
        context.answer_metadata["late"] = 1
        return result

    async with arpc.serve("mem://0", noting.router, middleware=[around]) as server:
        link = await dial(server)
        answer: dict[str, Any] = {}
        await link.client.call("/plain", b"x", returns=bytes, metadata={"a": 1}, answer_metadata=answer)
        assert seen == [{"a": 1}]
        assert answer == {"late": 1}


# --- from somebody who writes them by hand


def with_meta(command: int, seq: int, method: bytes, data: bytes, value: bytes, *, flag: int = 0) -> bytes:
    trailer = b"meta" + value + (len(value) + 6).to_bytes(2, "big")
    return frame(command, seq, method, data + trailer, flag=flag, reserved=META)


async def extended(target: Target) -> Raw:
    raw = await target.connect()
    await raw.send(frame(4, data=b"arpc+\x01" + (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3))
    assert (await raw.receive_frame()).data.startswith(b"arpc+")
    return raw


async def test_what_is_nil_was_not_said() -> None:
    async with under_attack() as target:
        seen: list[Any] = []

        @target.router.handle("/seen")
        def note(ctx: arpc.Context) -> None:
            seen.append((dict(ctx.metadata), ctx.deadline))

        raw = await extended(target)
        value = b"\x83\xa7timeout\xc0\xabtraceparent\xc0\xaatracestate\xc0"
        await raw.send(with_meta(REQUEST, 1, b"/seen", b"", value))
        assert (await asyncio.wait_for(raw.receive_frame(), 5)).error is None
        assert seen == [({}, None)]


async def test_keys_that_do_not_belong_are_left_out() -> None:
    async with under_attack() as target:
        seen: list[Any] = []

        @target.router.handle("/seen")
        def note(ctx: arpc.Context) -> None:
            seen.append((dict(ctx.metadata), ctx.deadline))

        raw = await extended(target)
        value = b"\x83\xa1a\x01\xa4code\xa1x\xa7details\x05"  # code and details belong to errors
        await raw.send(with_meta(REQUEST, 1, b"/seen", b"", value) + with_meta(NOTIFY, 2, b"/seen", b"", value))
        await raw.receive_frame()
        await eventually(lambda: len(seen) == 2)
        assert seen == [({"a": 1}, None)] * 2
        answer: dict[str, Any] = {}
        call, asked = await target.call(raw, answer_metadata=answer, returns=bytes)
        # An answer of a Go peer that echoes its request's trailer: that timeout is nobody's.
        value = b"\x84\xa1a\x01\xa4code\xa1x\xa7details\x05\xa7timeout\x05"
        await raw.send(with_meta(RESPONSE, asked.seq, b"/ask", b"body", value))
        assert await call == b"body"
        assert answer == {"a": 1}


BROKEN = [
    (b"\xc1", "not MessagePack"),
    (b"\x81\xa1a", "not MessagePack"),
    (b"\x90", "a map, not list"),
    (b"\x81\x01\x01", "a key of metadata is a text"),
    (b"\x81\xa7timeout\x00", "milliseconds"),
    (b"\x81\xa7timeout\xff", "milliseconds"),
    (b"\x81\xa7timeout\xa11", "milliseconds"),
    (b"\x81\xa7timeout\xc3", "milliseconds"),
    (b"\x81\xabtraceparent\x01", "traceparent"),
    (b"\x81\xaatracestate\xc2", "tracestate"),
]


@pytest.mark.parametrize(("value", "text"), BROKEN, ids=[repr(value) for value, _ in BROKEN])
async def test_broken_metadata_close_the_connection(value: bytes, text: str) -> None:
    async with under_attack() as target:
        for command in (REQUEST, NOTIFY, 6 | 0x80):
            raw = await extended(target)
            await raw.send(with_meta(command, 1, b"/echo", b"x", value))
            await asyncio.wait_for(raw.ended(), 5)
        await eventually(lambda: len(target.events.details("close")) == 3)
        assert all(text in detail for detail in target.events.details("close"))
