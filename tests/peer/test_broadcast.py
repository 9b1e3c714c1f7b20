"""One notify to many: encoded once, nobody kept waiting by others, and a report of who missed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from os import urandom
from typing import Any

import pytest

import arpc
from arpc.codecs import JsonCodec
from arpc.coders import Appender, Coder, Encrypt, Gzip
from tests.peer.raw import Raw, frame, hello
from tests.tools import eventually
from tests.wire.coding import Named

KEYS = {"k": urandom(32)}
BULK = bytes(1 << 20)


class Noting(Named):
    """A coder that remembers what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__("noting")
        self.encoded: list[bytes] = []

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if frame[5] == 3:
            self.encoded.append(frame)
        return frame


class NotingCodec(JsonCodec):
    """A codec that counts what it encodes."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, value: Any) -> bytes:
        self.encoded += 1
        return super().encode(value)


class Reader:
    """A client that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, dict[str, Any]]] = []
        self.router = arpc.Router()

        @self.router.handle("/news", ordered=True)
        async def news(body: Any, ctx: arpc.Context) -> None:
            self.told.append((body, dict(ctx.metadata)))


@asynccontextmanager
async def readers(
    count: int, server: arpc.Server, coders: Sequence[Coder] = (), **options: Any
) -> AsyncIterator[list[Reader]]:
    async with AsyncExitStack() as stack:
        made = [Reader() for _ in range(count)]
        known = len(server.peers)
        for reader in made:
            await stack.enter_async_context(arpc.connect(server.address, reader.router, coders=coders, **options))
        await eventually(lambda: len(server.peers) == known + count)
        yield made


@asynccontextmanager
async def slow(server: arpc.Server) -> AsyncIterator[tuple[Raw, arpc.Peer]]:
    """A client that reads nothing, and its peer, whose socket is full."""
    known = server.peers
    async with await Raw.connect(server.address, receive_buffer=4096) as raw:
        await raw.send(frame(4, data=hello(max_body=64 << 20)))
        await raw.receive_frame()
        (peer,) = server.peers - known
        with pytest.raises(arpc.Overstock):
            while True:
                peer.try_notify("/bulk", BULK)
        yield raw, peer


CHAINS: dict[str, Callable[[], list[Coder]]] = {
    "none": list,
    "gzip": lambda: [Gzip(0)],
    "appender": lambda: [Appender("app", 3)],
    "encrypt": lambda: [Gzip(0), Encrypt(KEYS, "k")],
}


@pytest.mark.parametrize("scheme", ["mem://0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("coders", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("full", ["drop", "wait", "close"])
async def test_everybody_is_told(coders: Callable[[], list[Coder]], scheme: str, full: Any) -> None:
    async with arpc.serve(scheme, arpc.Router(), coders=coders()) as server, readers(5, server, coders()) as told:
        for n in range(3):
            report = await server.broadcast("/news", {"n": n}, metadata={"app": b"x"}, full=full)
            assert (report.sent, report.missed) == (5, {})
        assert (await server.broadcast("/news", full=full)).sent == 5
        await eventually(lambda: all(len(reader.told) == 4 for reader in told))
        expected = [({"n": n}, {"app": b"x"}) for n in range(3)]
        assert all(reader.told == [*expected, (None, {})] for reader in told)


async def test_nobody_is_there() -> None:
    async with arpc.serve("mem://0", arpc.Router()) as server:
        assert await server.broadcast("/news", 1) == arpc.Report(0, {})


async def test_body_and_frame_are_encoded_once() -> None:
    noting, codec = Noting(), NotingCodec()
    async with (
        arpc.serve("mem://0", arpc.Router(), codec=codec, coders=[noting, Encrypt(KEYS, "k")]) as server,
        readers(10, server, [Named("noting"), Encrypt(KEYS, "k")]) as told,
    ):
        assert (await server.broadcast("/news", {"n": 1})).sent == 10
        assert (codec.encoded, len(noting.encoded)) == (1, 1)
        await eventually(lambda: all(len(reader.told) == 1 for reader in told))


async def test_peers_with_other_coders_get_frames_of_their_own() -> None:
    noting = Noting()
    async with (
        arpc.serve("mem://0", arpc.Router(), coders=[noting, Gzip(0)], hello_timeout=0.05) as server,
        readers(3, server) as plain,
        readers(3, server, [Named("noting")]) as some,
        readers(3, server, [Named("noting"), Gzip(0)]) as all_of_them,
        readers(3, server, extensions=False) as base,
    ):
        for peer in server.peers:  # base peers have said nothing yet
            await peer.ping()
        report = await server.broadcast("/news", ["a" * 1000])
        told = [*plain, *some, *all_of_them]
        await eventually(lambda: all(reader.told == [(["a" * 1000], {})] for reader in told))
        assert report.sent == 12
        assert len(noting.encoded) == 3  # for some, for all, and for base peers, which are taken to have all
        assert all(reader.told == [] for reader in base)  # and have none: they close


async def test_flag_and_number_are_those_of_a_broadcast() -> None:
    """Go's carry flag 0 (PROTOCOL, Call and Notify)."""
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server,
        await Raw.connect(server.address) as one,
        await Raw.connect(server.address) as two,
    ):
        for raw in (one, two):
            await raw.send(frame(4, data=hello()))
            await raw.receive_frame()
        await server.broadcast("/news", b"x")
        first, second = await one.receive_frame(), await two.receive_frame()
        assert first == second
        assert (first.command, first.flag, first.method, first.data) == (3, 0, b"/news", b"x")


async def test_some_of_the_peers() -> None:
    async with arpc.serve("mem://0", arpc.Router()) as server, readers(4, server) as told:
        chosen = list(server.peers)[:2]
        assert (await server.broadcast("/news", 1, to=[*chosen, chosen[0]])).sent == 2
        await eventually(lambda: sum(len(reader.told) for reader in told) == 2)


async def test_peers_that_have_gone_are_reported() -> None:
    async with arpc.serve("mem://0", arpc.Router()) as server, readers(2, server):
        gone, going = server.peers
        await gone.close()
        going._connection.session.going_away = "enough"
        going._connection._unblock()
        report = await server.broadcast("/news", 1, to=[gone, going])
        assert report.sent == 0
        assert {peer: type(error) for peer, error in report.missed.items()} == {
            gone: arpc.ConnectionClosed,
            going: arpc.ConnectionClosed,
        }
        assert "enough" in str(report.missed[going])


# --- a socket that is full


async def test_drop_leaves_a_slow_peer_out() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server,
        slow(server) as (_, peer),
        readers(2, server) as told,
    ):
        report = await server.broadcast("/news", 1)
        assert report.sent == 2
        assert isinstance(report.missed[peer], arpc.Overstock)
        assert "is full" in str(report.missed[peer])
        await eventually(lambda: all(reader.told for reader in told))
        assert not peer.closed


async def test_close_ends_a_slow_peer() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server,
        slow(server) as (_, peer),
        readers(2, server) as told,
    ):
        report = await server.broadcast("/news", 1, full="close")
        assert report.sent == 2
        assert isinstance(report.missed[peer], arpc.ConnectionClosed)
        assert peer.closed
        await eventually(lambda: all(reader.told for reader in told))


async def test_wait_waits_for_a_slow_peer_and_keeps_nobody_else_waiting() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server,
        slow(server) as (raw, peer),
        readers(2, server) as told,
    ):
        sending = asyncio.create_task(server.broadcast("/news", ["late"], full="wait"))
        await eventually(lambda: all(reader.told for reader in told))
        assert not sending.done()
        while (received := await raw.receive_frame()).method == b"/bulk":
            pass
        assert (received.method, received.data) == (b"/news", b'["late"]')
        assert await sending == arpc.Report(3, {})
        assert not peer.closed


async def test_a_peer_that_ends_while_it_is_waited_for() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server,
        slow(server) as (raw, peer),
        readers(1, server) as told,
    ):
        sending = asyncio.create_task(server.broadcast("/news", 1, full="wait"))
        await eventually(lambda: told[0].told)
        raw.reset()
        report = await sending
        assert report.sent == 1
        assert isinstance(report.missed[peer], arpc.ConnectionClosed)


async def test_a_broadcast_that_is_cancelled_waits_no_more() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server, slow(server) as (_, peer):
        sending = asyncio.create_task(server.broadcast("/news", 1, full="wait"))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not peer.closed


async def test_a_peer_that_is_not_read_for_a_while_is_told() -> None:
    async with arpc.serve("mem://0", arpc.Router()) as server, readers(1, server) as told:
        (peer,) = server.peers
        assert peer._connection.pause_reading(4)
        assert (await server.broadcast("/news", 1)).sent == 1
        await eventually(lambda: told[0].told)
        peer._connection.release_reading(4)


# --- a peer that has said nothing yet


@pytest.mark.parametrize("full", ["drop", "close"])
async def test_a_peer_that_has_said_nothing_is_left_out(full: Any) -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router(), hello_timeout=0.05) as server,
        await Raw.connect(server.address) as raw,
    ):
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        report = await server.broadcast("/news", b"x", full=full)
        assert isinstance(report.missed[peer], arpc.Overstock)
        assert "has not sent anything yet" in str(report.missed[peer])
        await eventually(lambda: peer._connection.session.ready)  # hello_timeout has begun
        assert (await server.broadcast("/news", b"x", full=full)).sent == 1
        assert (await raw.receive_frame()).data == b"x"


async def test_wait_waits_for_the_hello() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router(), hello_timeout=0.05) as server,
        await Raw.connect(server.address) as raw,
    ):
        await eventually(lambda: server.peers)
        assert (await server.broadcast("/news", b"x", full="wait")).sent == 1
        assert (await raw.receive_frame()).data == b"x"


# --- what cannot be sent


async def test_what_one_peer_cannot_get_is_reported() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router(), coders=[Appender("app", 3)]) as server,
        readers(1, server, max_body=100) as small,
        readers(1, server) as large,
        readers(1, server, [Appender("app", 3)]) as coded,
    ):
        report = await server.broadcast("/news", ["a" * 200])
        assert report.sent == 2
        assert [str(error)[:18] for error in report.missed.values()] == ["a body of 209 byte"]
        report = await server.broadcast("/news", 1, metadata={"app": 5})
        assert report.sent == 2  # to META, which takes a number
        assert [type(error) for error in report.missed.values()] == [arpc.EncodeError]
        await eventually(lambda: len(large[0].told) == 2)
        assert [len(reader[0].told) for reader in (small, coded)] == [1, 1]


class Connected(Appender):
    """An appender with a state."""

    def start(self) -> Coder:
        return Connected(self.name, 3)


@pytest.mark.parametrize("first", [0, 1])
async def test_metadata_reach_those_whose_coders_carry_them_and_others(first: int) -> None:
    """What the coders without a state make is the same for both, and what is left for META is not."""
    async with (
        arpc.serve("mem://0", arpc.Router(), coders=[Gzip(), Connected("app", 3)]) as server,
        readers(1, server, [Gzip(), Connected("app", 3)]) as coded,
        readers(1, server, [Gzip()]) as plain,
    ):
        peers = sorted(server.peers, key=lambda peer: "app" in peer.remote_capabilities.coders, reverse=first == 1)
        assert await server.broadcast("/news", 1, to=peers, metadata={"app": b"x"}) == arpc.Report(2, {})
        await eventually(lambda: coded[0].told == plain[0].told == [(1, {"app": b"x"})])


async def test_metadata_for_a_base_peer_are_reported() -> None:
    async with arpc.serve("mem://0", arpc.Router(), extensions=False) as server, readers(2, server, extensions=False):
        report = await server.broadcast("/news", 1, metadata={"k": 1})
        assert report.sent == 0
        assert all("META" in str(error) for error in report.missed.values())


async def test_mistakes_are_raised() -> None:
    async with (
        arpc.serve("mem://0", arpc.Router()) as server,
        arpc.serve("mem://0", arpc.Router()) as other,
        readers(1, other),
    ):
        with pytest.raises(ValueError, match="full is one of 'drop', 'wait', 'close', not 'skip'"):
            await server.broadcast("/news", 1, full="skip")  # type: ignore[arg-type]  # that is the mistake
        with pytest.raises(ValueError, match="is no peer of this server"):
            await server.broadcast("/news", 1, to=other.peers)
        with pytest.raises(arpc.EncodeError):
            await server.broadcast("/news", object())
        with pytest.raises(arpc.LocalProtocolError, match="1 to 127 bytes"):
            await server.broadcast("", 1)
        with pytest.raises(arpc.LoopError):
            await asyncio.to_thread(lambda: asyncio.run(server.broadcast("/news", 1)))


async def test_a_broadcast_to_one_peer_that_is_no_list() -> None:
    async with arpc.serve("mem://0", arpc.Router()) as server, arpc.connect(server.address) as client:
        wrong: Any = client
        with pytest.raises(TypeError, match=r"to= is a list of peers"):
            await server.broadcast("/x", to=wrong)
