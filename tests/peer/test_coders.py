"""Coders between two peers: nothing is different but the bytes on the wire, and every mistake says what it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from os import urandom
from typing import Any

import pytest

import arpc
from arpc.coders import Appender, Coder, Encrypt, Gzip, Lz4, MsgpackValues, OpenTracing, SpanContext, Zstd
from tests.peer.coding import coded
from tests.peer.raw import Events, Raw, frame, hello
from tests.tools import eventually
from tests.wire.coding import Named, Refusing, Xor

KEYS = {"a": urandom(32), "b": urandom(32)}
CHAINS: dict[str, Callable[[], list[Coder]]] = {
    "gzip": lambda: [Gzip(64)],
    "zstd": lambda: [Zstd(64)],
    "lz4": lambda: [Lz4(64)],
    "appender": lambda: [Appender("app", 3)],
    "msgpack": lambda: [MsgpackValues()],
    "own": lambda: [Xor()],
    "encrypt": lambda: [Encrypt(KEYS, "a", rekey=5)],
    "all": lambda: [
        Appender("app", 4), OpenTracing(), MsgpackValues(), Gzip(64), Zstd(64), Lz4(64), Xor(), Encrypt(KEYS, "b")
    ],
}  # fmt: skip
every_chain = pytest.mark.parametrize("coders", CHAINS.values(), ids=CHAINS)
schemes = pytest.mark.parametrize("scheme", ["mem", "tcp"])
BODIES = [b"", b"x", b"abc" * 5000, urandom(5000), bytes(1 << 20)]


class Service:
    """Handlers, and what came beside their bodies."""

    def __init__(self) -> None:
        self.router = arpc.Router()
        self.metadata: list[dict[str, Any]] = []
        self.notes: list[bytes] = []

        @self.router.handle("/echo")
        async def echo(body: bytes, ctx: arpc.Context) -> bytes:
            self.metadata.append(dict(ctx.metadata))
            ctx.answer_metadata.update({key: value for key, value in ctx.metadata.items() if key in ("app", "k")})
            return body

        @self.router.handle("/note")
        async def note(body: bytes, ctx: arpc.Context) -> None:
            self.metadata.append(dict(ctx.metadata))
            self.notes.append(body)

        @self.router.handle("/fail")
        async def fail(body: bytes) -> None:
            raise arpc.RpcError("no" * 1000, "bad", {"n": 1})

        @self.router.handle("/deadline")
        async def deadline(ctx: arpc.Context) -> bool:
            return ctx.remaining() is not None

        @self.router.handle("/back")
        async def back(body: bytes, ctx: arpc.Context) -> bytes:
            return await ctx.peer.call("/echo", body, returns=bytes)

        @self.router.stream("/echoes")
        async def echoes(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
            self.metadata.append(dict(ctx.metadata))
            async for item in stream:
                await stream.send(item)


@pytest.fixture
def service() -> Service:
    return Service()


@schemes
@every_chain
async def test_everything(coders: Callable[[], list[Coder]], scheme: str, service: Service) -> None:
    async with coded(service.router, coders(), calling=service.router, scheme=scheme) as link:
        for peer in link.both:
            for body in BODIES:
                assert await peer.call("/echo", body, returns=bytes) == body
                assert await peer.call("/back", body, returns=bytes) == body
                await peer.notify("/note", body)
            await eventually(lambda: len(service.notes) == len(BODIES))
            assert service.notes == BODIES
            service.notes.clear()
            with pytest.raises(arpc.RemoteError) as caught:
                await peer.call("/fail", b"a" * 500)
            assert (caught.value.message, caught.value.code, caught.value.details) == ("no" * 1000, "bad", {"n": 1})
            with pytest.raises(arpc.MethodNotFound):
                await peer.call("/missing" * 10)
            assert await peer.call("/deadline", timeout=10)
            assert await peer.ping() >= 0
            async with peer.open_stream("/echoes", returns=bytes, sends=bytes) as stream:
                for body in BODIES:
                    await stream.send(body)
                    assert await stream.recv() == body
                await stream.end()
                assert [item async for item in stream] == []
        calls = [link.client.call("/echo", b"abc" * n, returns=bytes) for n in range(300)]
        assert await asyncio.gather(*calls) == [b"abc" * n for n in range(300)]
        assert link.client.remote_capabilities.coders == tuple(coder.name for coder in coders())


@schemes
@pytest.mark.parametrize("name", ["appender", "msgpack", "all"])
async def test_values_are_metadata(name: str, scheme: str, service: Service) -> None:
    coders = CHAINS[name]
    said = {"app": b"carried", "k": [1, "two"]}
    async with coded(service.router, coders(), calling=service.router, scheme=scheme) as link:
        for peer in link.both:
            answered: dict[str, Any] = {}
            assert await peer.call("/echo", b"x", returns=bytes, metadata=said, answer_metadata=answered) == b"x"
            assert answered == said
            assert await peer.call("/echo", b"x", returns=bytes, metadata=said, timeout=5) == b"x"
            await peer.notify("/note", b"x", metadata=said)
            await eventually(lambda: service.notes)
            async with peer.open_stream("/echoes", returns=bytes, metadata=said) as stream:
                await stream.send(b"x")
                assert await stream.recv() == b"x"
            assert service.metadata == [said] * 4
            service.metadata.clear()
            service.notes.clear()


async def test_a_base_peer_gets_what_coders_carry_and_nothing_else(service: Service) -> None:
    async with coded(service.router, [Appender("app", 1)], extensions=False) as link:
        answered: dict[str, Any] = {}
        await link.client.call(
            "/echo", b"x", returns=bytes, metadata={"app": b"v"}, answer_metadata=answered, timeout=5
        )
        assert service.metadata == [{"app": b"v"}]
        assert answered == {"app": b"v"}
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await link.client.call("/echo", b"x", metadata={"app": b"v", "k": 1})


async def test_the_protocols_own_keys_stay_its_own(service: Service) -> None:
    async with coded(service.router, [MsgpackValues()]) as link:
        for key in ("timeout", "code", "details"):
            with pytest.raises(arpc.LocalProtocolError, match=f"'{key}' in metadata is arpc's own"):
                await link.client.call("/echo", b"", metadata={key: 1})
        with pytest.raises(arpc.LocalProtocolError, match="metadata are a mapping"):
            await link.client.call("/echo", b"", metadata=["k"])  # type: ignore[call-overload]  # that is the mistake


async def test_a_span_context(service: Service) -> None:
    async with coded(service.router, [OpenTracing()]) as link:
        span = SpanContext(1, 2, sampled=True, baggage={"user": "Ann"})
        await link.client.call("/echo", b"", returns=bytes, metadata={"arpc-opentracing": span})
        assert service.metadata == [{"arpc-opentracing": span}]


# --- what a coder refuses


async def test_what_cannot_be_coded_is_told_to_the_caller(service: Service) -> None:
    async with coded(service.router, [Appender("app", 3)]) as link:
        client = link.client
        for asks in (
            lambda: client.call("/echo", b"", metadata={"app": "text"}),
            lambda: client.notify("/note", b"", metadata={"app": "text"}),
            lambda: client.open_stream("/echoes", metadata={"app": "text"}),
        ):
            with pytest.raises(arpc.EncodeError, match="the coder 'app' cannot encode a message: it appends bytes"):
                await asks()
        with pytest.raises(arpc.LimitExceeded, match="65530"):
            client.try_notify("/note", b"", metadata={"app": bytes(65_531)})
        assert await client.call("/echo", b"lives", returns=bytes) == b"lives"
        assert client.stats.streams == 0


async def test_an_item_that_cannot_be_coded_is_told_to_the_sender(service: Service) -> None:
    async with (
        coded(service.router, [Refusing(b"bad")]) as link,
        link.client.open_stream("/echoes", returns=bytes, sends=bytes) as stream,
    ):
        with pytest.raises(arpc.EncodeError, match="a bad word"):
            await stream.send(b"bad")
        await stream.send(b"good")
        assert await stream.recv() == b"good"


async def test_an_answer_that_cannot_be_coded_becomes_an_error(logged: Callable[[], str]) -> None:
    router = arpc.Router()

    @router.handle("/answer")
    async def answer(body: bytes, ctx: arpc.Context) -> bytes:
        if body:
            ctx.answer_metadata["app"] = 5
        return b"bad"

    async with coded(router, [Appender("app", 3), Refusing(b"bad")], [Appender("app", 3), Named("refusing")]) as link:
        for body in (b"", b"x"):
            with pytest.raises(arpc.RemoteError, match="internal error") as caught:
                await link.client.call("/answer", body)
            assert caught.value.code == "internal"
        assert "a bad word" in logged()
        assert "it appends bytes" in logged()
        assert not link.client.closed


async def test_metadata_of_an_answer_that_are_no_metadata(logged: Callable[[], str]) -> None:
    router = arpc.Router()

    @router.handle("/answer")
    async def answer(ctx: arpc.Context) -> None:
        ctx.answer_metadata["timeout"] = 5

    async with coded(router, [MsgpackValues()]) as link:
        with pytest.raises(arpc.RemoteError, match="metadata could not be encoded"):
            await link.client.call("/answer")
        assert "arpc's own" in logged()


async def test_an_error_that_cannot_be_coded_closes_with_that_reason() -> None:
    router = arpc.Router()

    @router.handle("/fail")
    async def fail() -> None:
        raise arpc.RpcError("bad")

    events = Events()
    async with coded(router, [Refusing(b"bad")], [Named("refusing")], on_event=events) as link:
        with pytest.raises(arpc.ConnectionClosed):
            await link.client.call("/fail")
        await eventually(lambda: link.peer.closed)
        assert any("cannot encode a message: a bad word" in detail for detail in events.details("close"))


# --- coders that do not match


@schemes
@pytest.mark.parametrize(
    ("served", "dialled", "here", "there"),
    [
        (
            [],
            [Encrypt(KEYS, "a")],
            "the coder 'encrypt' is required here",
            "the other side requires the coder 'encrypt'",
        ),
        (
            [Encrypt(KEYS, "a")],
            [],
            "the other side requires the coder 'encrypt'",
            "the coder 'encrypt' is required here",
        ),
        ([MsgpackValues()], [Gzip()], "requires the coder 'msgpack-values'", "'msgpack-values' is required here"),
        (
            [Gzip(), Zstd()],
            [Zstd(), Gzip()],
            "zstd, gzip here, and gzip, zstd on",
            "gzip, zstd here, and zstd, gzip on",
        ),
        (
            [Encrypt({"new": KEYS["b"]}, "new")],
            [Encrypt({"old": KEYS["a"]}, "old")],
            "encrypts with the key 'new', which this side has not: it has 'old'",
            "encrypts with the key 'old', which this side has not: it has 'new'",
        ),
        (
            [Encrypt({"k": KEYS["a"]}, "k")],
            [Encrypt({"k": KEYS["b"]}, "k")],
            "the other side has another key 'k'",
            "the other side has another key 'k'",
        ),
    ],
    ids=["only-here", "only-there", "values", "order", "key-id", "key"],
)
async def test_a_mismatch_is_told_to_both_sides(
    served: Sequence[Coder], dialled: Sequence[Coder], here: str, there: str, scheme: str
) -> None:
    events = Events()
    address = {"mem": "mem://0", "tcp": "tcp://127.0.0.1:0"}[scheme]
    async with arpc.serve(address, arpc.Router(), coders=served, on_event=events) as server:
        with pytest.raises(arpc.ConnectError) as caught:
            await arpc.connect(server.address, coders=dialled)
        assert here in str(caught.value)
        await eventually(lambda: events.details("close"))
        assert there in events.details("close")[0]
        assert not server.peers


async def test_optional_coders_that_only_one_side_has_are_left_out(service: Service) -> None:
    async with coded(service.router, [Gzip(0), Zstd(0)], [Zstd(0), Lz4(0)]) as link:
        assert await link.client.call("/echo", bytes(5000), returns=bytes) == bytes(5000)
        assert link.client.remote_capabilities.coders == ("gzip", "zstd")


async def test_a_base_peer_is_refused_by_what_needs_the_hello() -> None:
    events = Events()
    coders = [Encrypt(KEYS, "a")]
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router(), coders=coders, on_event=events) as server:
        async with await Raw.connect(server.address) as raw:
            await raw.send(frame(1, 1, b"/echo", b"in clear"))
            await raw.ended()
        await eventually(lambda: events.details("close"))
        assert "'encrypt' is required here, and the other side has not said Hello" in events.details("close")[0]
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router(), extensions=False) as server:
        with pytest.raises(arpc.ConnectError, match="has not said Hello"):
            await arpc.connect(server.address, coders=coders)


async def test_a_silent_base_peer_is_refused_when_something_is_to_be_sent() -> None:
    events = Events()
    options: Any = {"coders": [Encrypt(KEYS, "a")], "on_event": events, "hello_timeout": 0.05}
    server = await arpc.serve("tcp://127.0.0.1:0", arpc.Router(), **options)
    async with server, await Raw.connect(server.address) as raw:
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        with pytest.raises(arpc.ConnectionClosed, match="has not said Hello"):
            await peer.call("/echo")
        await raw.ended()


# --- what comes from elsewhere


async def test_frames_that_break_a_coder_close_with_its_name(service: Service) -> None:
    events = Events()
    async with arpc.serve("tcp://127.0.0.1:0", service.router, coders=[Gzip(0)], on_event=events) as server:
        broken = frame(0x1F, reserved=0x80, data=b"no gzip at all")
        async with await Raw.connect(server.address) as raw:
            await raw.send(broken)
            await raw.ended()
        await eventually(lambda: events.details("close"))
        assert "the coder 'gzip' cannot decode a frame" in events.details("close")[0]


async def test_a_bomb_closes_the_connection_and_nothing_else(service: Service) -> None:
    events = Events()
    options: Any = {"coders": [Gzip(0)], "max_body": 1 << 20, "on_event": events}
    bomb = Gzip(0).encode(frame(3, 1, b"/note", bytes(100 << 20)), {})
    assert len(bomb) < 200_000
    server = await arpc.serve("tcp://127.0.0.1:0", service.router, **options)
    async with server, arpc.connect(server.address, coders=[Gzip(0)]) as good:
        async with await Raw.connect(server.address) as raw:
            await raw.send(frame(4, data=hello(tail=b"\x01\x00\x04gzip\x00")))
            await raw.receive_frame()
            await raw.send(bomb)
            await raw.ended()
        await eventually(lambda: events.details("close"))
        assert "compressed is over 1048576 bytes (max_body)" in events.details("close")[0]
        assert await good.call("/echo", b"lives", returns=bytes) == b"lives"


async def test_what_waits_is_counted_as_large_as_it_is() -> None:
    """A few bytes that become many are held against max_queued_bytes and max_buffered as what they have become."""
    router = arpc.Router()
    gate = asyncio.Event()

    @router.handle("/hold")
    async def hold(body: bytes) -> None:
        await gate.wait()

    options: Any = {"coders": [Zstd(0)], "max_inflight": 1, "max_buffered": 8 << 20, "max_body": 4 << 20}
    events = Events()
    async with arpc.serve("tcp://127.0.0.1:0", router, on_event=events, **options) as server:
        async with await Raw.connect(server.address) as raw:
            await raw.send(frame(4, data=hello(tail=b"\x01\x00\x04zstd\x00")))
            await raw.receive_frame()
            large = Zstd(0).encode(frame(3, 1, b"/hold", bytes(3 << 20)), {})
            assert len(large) < 1000
            await raw.send(large * 20)
            await raw.ended()
        await eventually(lambda: events.details("close"))
        assert "max_buffered" in events.details("close")[0]
        gate.set()


async def test_a_server_with_coders_serves_peers_without(service: Service) -> None:
    server = await arpc.serve("tcp://127.0.0.1:0", service.router, coders=[Gzip(0)])
    async with server, arpc.connect(server.address) as plain, arpc.connect(server.address, coders=[Gzip(0)]) as same:
        for peer in (plain, same):
            assert await peer.call("/echo", bytes(5000), returns=bytes) == bytes(5000)


async def test_nothing_secret_is_logged_or_sent(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events = Events()
    address = "tcp://127.0.0.1:0"
    async with arpc.serve(address, service.router, coders=[Encrypt(KEYS, "a")], on_event=events) as server:
        async with arpc.connect(server.address, coders=[Encrypt(KEYS, "b")]) as peer:
            assert await peer.call("/echo", b"x", returns=bytes) == b"x"
        with pytest.raises(arpc.ConnectError) as caught:
            await arpc.connect(server.address, coders=[Encrypt({"a": urandom(32)}, "a")])
        await eventually(lambda: len(events.details("close")) == 2)
    said = caplog.text + str(caught.value) + str(events.seen)
    for key in KEYS.values():
        assert key.hex() not in said
        assert repr(key)[2:10] not in said


async def test_appenders_of_one_name_on_two_bits() -> None:
    async with arpc.serve("mem://0", arpc.Router(), coders=[Appender("user", 3)]) as server:
        with pytest.raises(arpc.ConnectError, match="'user' is on bit 4 here, and on another one there"):
            await arpc.connect(server.address, coders=[Appender("user", 4)])
