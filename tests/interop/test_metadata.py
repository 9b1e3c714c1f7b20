"""Metadata with a Go service that has an appender named ``meta`` on bit 1, whoever dialled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from msgspec import msgpack

import arpc
from tests.interop.conftest import StartGo
from tests.interop.go_process import PATIENCE
from tests.interop.python_service import PythonService
from tests.tools import eventually

REQUEST, RESPONSE, NOTIFY, STREAM = 1, 2, 3, 6
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seen:
    """What handlers here got beside the bodies that Go sent."""

    def __init__(self, router: arpc.Router) -> None:
        self.metadata: list[Mapping[str, Any]] = []
        self.remaining: list[float | None] = []
        self.items: list[str] = []
        self.error: arpc.RpcError | None = None
        self.answer: dict[str, Any] = {}
        self.waits = False
        self.ended: list[str] = []

        def note(ctx: arpc.Context) -> None:
            self.metadata.append(ctx.metadata)
            self.remaining.append(ctx.remaining())

        @router.handle("/meta/call")
        async def call(body: str, ctx: arpc.Context) -> str:
            note(ctx)
            if self.error is not None:
                raise self.error
            ctx.answer_metadata.update(self.answer)
            if self.waits:
                try:
                    await asyncio.sleep(30)
                finally:
                    self.ended.append("cancelled")
            return f"to {body}"

        @router.handle("/meta/note")
        async def take_note(body: str, ctx: arpc.Context) -> None:
            note(ctx)

        @router.stream("/meta/stream")
        async def stream(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            note(ctx)
            self.items += [item async for item in stream]
            await stream.send("seen")


@pytest.fixture
def seen(service: PythonService) -> Seen:
    return Seen(service.router)


@pytest.fixture(params=["python-dials", "go-dials"])
async def peer(
    request: pytest.FixtureRequest, start_go: StartGo, service: PythonService, seen: Seen
) -> AsyncIterator[arpc.Peer]:
    """Connected to a Go that has the appender."""
    if request.param == "python-dials":
        address: str = (await start_go("-meta", "server").line())["address"]
        async with arpc.connect(address, service.router, metadata_appender=True) as dialled:
            yield dialled
    else:
        async with arpc.serve("tcp://127.0.0.1:0", service.router, metadata_appender=True) as server:
            start_go("-meta", "client", server.address)
            yield await asyncio.wait_for(service.ready.get(), PATIENCE)


async def trailers(peer: arpc.Peer) -> list[tuple[int, str, dict[str, Any]]]:
    """Command, method and metadata of what Go got with a trailer."""
    return [
        (trailer["command"], trailer["method"], msgpack.decode(bytes.fromhex(trailer["value"])))
        for trailer in await peer.call("/meta/seen")
    ]


class TestPythonToGo:
    async def test_a_call(self, peer: arpc.Peer) -> None:
        metadata = {"tenant": "grün", "hops": [1, 2.5, None, True], "raw": b"\0\xff", "traceparent": TRACE}
        assert await peer.call("/text", "body", returns=str, metadata=metadata) == "body, said Go"
        assert await trailers(peer) == [(REQUEST, "/text", metadata)]

    @pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20])
    async def test_bodies_of_any_size(self, peer: arpc.Peer, size: int) -> None:
        assert await peer.call("/size", bytes(size), returns=int, metadata={"k": "v"}) == size
        assert await peer.call("/echo", bytes(size), returns=bytes, metadata={"k": "v"}) == bytes(size)

    async def test_the_largest_metadata(self, peer: arpc.Peer) -> None:
        room = 65_529 - len(msgpack.encode({"k": bytes(60_000)})) + 60_000
        assert await peer.call("/echo", b"x", returns=bytes, metadata={"k": bytes(room)}) == b"x"
        assert await trailers(peer) == [(REQUEST, "/echo", {"k": bytes(room)})]
        with pytest.raises(arpc.LimitExceeded, match="65529"):
            await peer.call("/echo", b"x", metadata={"k": bytes(room + 1)})

    async def test_a_timeout_that_is_said(self, peer: arpc.Peer) -> None:
        await peer.call("/echo", b"x", timeout=20, returns=bytes)
        await peer.call("/echo", b"x", timeout=20, returns=bytes, metadata={"k": "v"})
        await peer.call("/echo", b"x", timeout=None, returns=bytes)
        await peer.call("/echo", b"x", returns=bytes)
        assert await trailers(peer) == [
            (REQUEST, "/echo", {"timeout": 20_000}),
            (REQUEST, "/echo", {"k": "v", "timeout": 20_000}),
        ]

    async def test_notifies(self, peer: arpc.Peer) -> None:
        await peer.notify("/note", "one", metadata={"n": 1})
        peer.try_notify("/note", "two", metadata={"n": 2})
        await peer.notify("/note", "three")
        assert [note["text"] for note in await peer.call("/notes")] == ["one", "two", "three"]
        assert await trailers(peer) == [(NOTIFY, "/note", {"n": 1}), (NOTIFY, "/note", {"n": 2})]

    async def test_streams(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/text", returns=str, metadata={"n": 1}) as stream:
            await stream.send("item")
            assert await stream.recv() == "item, said Go"
        async with peer.stream("/stream/text", "first", returns=str, metadata={"n": 2}) as stream:
            assert [item async for item in stream] == ["first, said Go"]
        async with peer.stream("/stream/sum", items=range(5), returns=int, timeout=20) as sums:
            assert await sums.recv() == 10
        assert await trailers(peer) == [
            (STREAM, "/stream/text", {"n": 1}),
            (STREAM, "/stream/text", {"n": 2}),
            (STREAM, "/stream/sum", {"timeout": 20_000}),
        ]

    async def test_nothing_but_the_trailers_is_an_extension(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/hold", timeout=0.05)
        async with peer.open_stream("/stream/abandon", returns=str, metadata={"n": 1}) as stream:
            await stream.recv()
            with pytest.raises(arpc.LocalProtocolError, match="EMPTY"):
                await stream.send("")
        assert await peer.call("/release", returns=int) == 1
        frames = await peer.call("/frames")
        assert frames["reserved"] == 1 << 1
        assert frames["commands"] < 1 << 7


class TestGoToPython:
    async def test_an_answer(self, peer: arpc.Peer) -> None:
        answer: dict[str, Any] = {"mine": 1}
        value = {"cost": 7, "traceparent": TRACE}
        body = msgpack.encode(value)
        assert await peer.call("/meta/answer", body, returns=str, answer_metadata=answer) == "an answer"
        assert answer == {"mine": 1, **value}
        assert await peer.call("/meta/answer", body, returns=str) == "an answer"

    async def test_code_and_details_of_an_error(self, peer: arpc.Peer) -> None:
        value = {"code": "not_found", "details": {"id": 7}, "timeout": 1}
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/meta/fail", msgpack.encode(value))
        assert (caught.value.message, caught.value.code, caught.value.details) == ("a failure", "not_found", {"id": 7})

    async def test_code_and_details_beside_no_error_mean_nothing(self, peer: arpc.Peer) -> None:
        answer: dict[str, Any] = {}
        value = {"code": 5, "details": {"id": 7}, "timeout": "soon", "cost": 7}
        assert await peer.call("/meta/answer", msgpack.encode(value), answer_metadata=answer, returns=str) == (
            "an answer"
        )
        assert answer == {"cost": 7}

    async def test_what_go_echoes_is_no_answer_of_its_own(self, peer: arpc.Peer) -> None:
        answer: dict[str, Any] = {}
        assert await peer.call("/echo", b"x", timeout=20, returns=bytes, answer_metadata=answer) == b"x"
        assert answer == {}
        await peer.call("/echo", b"x", timeout=20, returns=bytes, metadata={"k": "v"}, answer_metadata=answer)
        assert answer == {"k": "v"}  # Go puts a request's metadata on its answer if nothing replaces them
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/fail", "echoed", timeout=20, metadata={"k": "v"})
        assert (caught.value.message, caught.value.code, caught.value.details) == ("boom: echoed", None, None)
        with pytest.raises(arpc.MethodNotFound) as missing:
            await peer.call("/no/such/method", timeout=20)
        assert (missing.value.message, missing.value.code) == ("method not found", "unimplemented")

    async def test_metadata_and_deadline_of_a_call(self, peer: arpc.Peer, seen: Seen) -> None:
        seen.answer = {"cost": 7}
        request = {"tenant": "grün", "timeout": 20_000}
        got = await peer.call("/meta/call_me", msgpack.encode(request))
        assert (got["text"], got["error"]) == ("to a request", False)
        assert msgpack.decode(bytes.fromhex(got["value"])) == {"cost": 7}
        assert seen.metadata == [{"tenant": "grün"}]
        assert seen.remaining[0] is not None
        assert 10 < seen.remaining[0] <= 20

    async def test_an_answer_without_metadata_echoes_nothing(self, peer: arpc.Peer, seen: Seen) -> None:
        got = await peer.call("/meta/call_me", msgpack.encode({"tenant": "grün"}))
        assert got == {"text": "to a request", "error": False, "value": ""}
        assert seen.remaining == [None]

    async def test_an_error_here_says_its_code_there(self, peer: arpc.Peer, seen: Seen) -> None:
        seen.error = arpc.RpcError("no such thing", arpc.Code.NOT_FOUND, {"id": 7})
        got = await peer.call("/meta/call_me", msgpack.encode({}))
        assert (got["text"], got["error"]) == ("no such thing", True)
        assert msgpack.decode(bytes.fromhex(got["value"])) == {"code": "not_found", "details": {"id": 7}}

    async def test_a_deadline_of_go_ends_the_handler(self, peer: arpc.Peer, seen: Seen) -> None:
        seen.waits = True
        got = await peer.call("/meta/call_me", msgpack.encode({"timeout": 50}))
        assert (got["text"], got["error"]) == ("the deadline is over", True)
        assert msgpack.decode(bytes.fromhex(got["value"])) == {"code": "deadline_exceeded"}
        assert seen.ended == ["cancelled"]

    async def test_a_notify(self, peer: arpc.Peer, seen: Seen) -> None:
        await peer.call("/meta/notify_me", msgpack.encode({"tenant": "a", "code": "x"}))
        await eventually(lambda: seen.metadata)
        assert seen.metadata == [{"tenant": "a"}]

    async def test_a_stream(self, peer: arpc.Peer, seen: Seen) -> None:
        assert await peer.call("/meta/stream_me", msgpack.encode({"tenant": "a", "timeout": 20_000})) == ["seen"]
        assert seen.metadata == [{"tenant": "a"}]  # those of the first item; the others' mean nothing
        assert seen.items == ["the first", "the second"]
        assert seen.remaining[0] is not None

    @pytest.mark.parametrize("value", [b"\x01", b"", b"\x81\x01\x02", b"\xc1", b"\x80\x80"], ids=bytes.hex)
    async def test_metadata_that_are_none_end_the_connection(self, peer: arpc.Peer, value: bytes) -> None:
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await peer.call("/meta/answer", value)
        assert isinstance(caught.value.__cause__, arpc.RemoteProtocolError)
        await asyncio.wait_for(peer.wait_closed(), 10)


async def test_go_that_has_no_appender_is_left_alone(start_go: StartGo) -> None:
    address: str = (await start_go("server").line())["address"]
    async with arpc.connect(address) as peer:
        assert await peer.call("/echo", b"x", returns=bytes, timeout=20) == b"x"
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await peer.call("/echo", b"x", metadata={"k": "v"})
        frames = await peer.call("/frames")
        assert frames["reserved"] == 0


@pytest.mark.parametrize("meta", [True, False], ids=["with-metadata", "without"])
async def test_what_go_sends_before_it_answers_the_hello(start_go: StartGo, meta: bool) -> None:
    router = arpc.Router()
    seen: list[tuple[str, Mapping[str, Any]]] = []

    @router.handle("/early")
    async def early(body: str, ctx: arpc.Context) -> None:
        seen.append((body, ctx.metadata))

    @router.stream("/stream/early")
    async def early_stream(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
        async for item in stream:
            seen.append((item, ctx.metadata))
        await stream.send("on time")

    address: str = (await start_go("-eager", *(["-meta"] if meta else []), "server").line())["address"]
    async with arpc.connect(address, router, metadata_appender=meta) as peer:
        assert await peer.call("/stream/pushed", returns=str) == "on time"
        await eventually(lambda: len(seen) == 2)
    assert seen == [("early", {"k": "v"} if meta else {})] * 2
