"""Coders with Go's own: gzip, appender, MessagePack values and OpenTracing, alone and together, whoever dialled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import arpc
from arpc.coders import Appender, Coder, Gzip, MsgpackValues, OpenTracing, SpanContext
from tests.interop.conftest import build_go
from tests.interop.go_process import PATIENCE, GoProcess
from tests.tools import eventually

SOURCES = Path(__file__).parent / "gocoders"
SIZES = [0, 1, 99, 100, 101, 1000, 1024, 70_000, 1 << 20]
TRACING = "arpc-opentracing"

Connect = Callable[[str, list[Coder]], AbstractAsyncContextManager[arpc.Peer]]
"""Connects Go with the coders of its command line and Python with these."""


def app() -> Appender:
    """The appender of the Go program."""
    return Appender("app", 4, str.encode, bytes.decode)


class Here:
    """What Go calls in Python, and what came with it."""

    def __init__(self) -> None:
        self.router = arpc.Router()
        self.ready: asyncio.Queue[arpc.Peer] = asyncio.Queue()
        self.metadata: list[dict[str, Any]] = []
        self.notes: list[bytes] = []

        @self.router.handle("/ready")
        async def ready(ctx: arpc.Context) -> None:
            await self.ready.put(ctx.peer)

        @self.router.handle("/echo")
        async def echo(body: bytes, ctx: arpc.Context) -> bytes:
            self.metadata.append(dict(ctx.metadata))
            return body

        @self.router.handle("/note")
        async def note(body: bytes, ctx: arpc.Context) -> None:
            self.notes.append(body)
            self.metadata.append(dict(ctx.metadata))


@pytest.fixture(scope="session")
def gocoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_go(SOURCES, tmp_path_factory.mktemp("gocoders") / "gocoders")


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture(params=["python-dials", "go-dials"])
def connect(request: pytest.FixtureRequest, gocoders: Path, here: Here) -> Iterator[Connect]:
    started: list[GoProcess] = []

    @asynccontextmanager
    async def connect(theirs: str, ours: list[Coder]) -> AsyncIterator[arpc.Peer]:
        if request.param == "python-dials":
            started.append(GoProcess(gocoders, "-coders", theirs, "server"))
            address: str = (await started[-1].line())["address"]
            async with arpc.connect(address, here.router, coders=ours) as peer:
                yield peer
        else:
            async with arpc.serve("tcp://127.0.0.1:0", here.router, coders=ours) as server:
                started.append(GoProcess(gocoders, "-coders", theirs, "client", server.address))
                yield await asyncio.wait_for(here.ready.get(), PATIENCE)

    yield connect
    for process in started:
        process.close()


def bodies() -> Iterator[bytes]:
    """Some that compress well, and some that do not."""
    for size in SIZES:
        yield b"a" * size
        yield random.Random(size).randbytes(size)


async def all_kinds(peer: arpc.Peer, here: Here) -> None:
    """Calls, notifies and errors, both ways, with bodies of any size."""
    sizes: list[int] = []
    for body in bodies():
        assert await peer.call("/echo", body, returns=bytes) == body
        assert await peer.call("/call_me", body, returns=bytes) == body
        await peer.notify("/note", body)
        await peer.call("/notify_me", body, returns=bytes)
        sizes.append(len(body))
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/fail", body[:100].hex())
        assert caught.value.message == "boom: " + body[:100].hex()
    with pytest.raises(arpc.MethodNotFound):
        await peer.call("/missing", b"a" * 5000)
    assert [note["size"] for note in await peer.call("/notes", returns=list[dict[str, Any]])] == sizes
    await eventually(lambda: len(here.notes) == len(sizes))
    assert [len(note) for note in here.notes] == sizes
    calls = [peer.call("/echo", b"abc" * size, returns=bytes) for size in range(0, 2000, 20)]
    assert await asyncio.gather(*calls) == [b"abc" * size for size in range(0, 2000, 20)]


@pytest.mark.parametrize("threshold", [0, 1, 100, 1024, 1 << 30])
async def test_gzip(connect: Connect, here: Here, threshold: int) -> None:
    async with connect(f"gzip={threshold}", [Gzip(threshold)]) as peer:
        await all_kinds(peer, here)


async def test_each_side_has_its_own_threshold(connect: Connect, here: Here) -> None:
    async with connect("gzip=0", [Gzip(1 << 30)]) as peer:
        await all_kinds(peer, here)


@pytest.mark.parametrize("coders", ["appender", "msgpack", "tracing"])
async def test_a_coder_of_values_without_any(connect: Connect, here: Here, coders: str) -> None:
    ours: dict[str, Coder] = {"appender": app(), "msgpack": MsgpackValues(), "tracing": OpenTracing()}
    async with connect(coders, [ours[coders]]) as peer:
        await all_kinds(peer, here)


CHAINS: dict[str, Callable[[], list[Coder]]] = {
    "appender": lambda: [app()],
    "appender,gzip=0": lambda: [app(), Gzip(0)],
    "gzip=50,appender": lambda: [Gzip(50), app()],
    "msgpack": lambda: [MsgpackValues()],
    "msgpack,gzip=0": lambda: [MsgpackValues(), Gzip(0)],
    "appender,tracing,gzip=100": lambda: [app(), OpenTracing(), Gzip(100)],
}


@pytest.mark.parametrize("coders", CHAINS)
async def test_values_go_both_ways(connect: Connect, here: Here, coders: str) -> None:
    async with connect(coders, CHAINS[coders]()) as peer:
        for size in (0, 10, 5000):
            body = b"x" * size
            seen: dict[str, Any] = {}
            said = {"app": f"said Python {size}"}
            assert await peer.call("/values", body, metadata=said) == said
            assert await peer.call("/echo", body, returns=bytes, metadata=said, answer_metadata=seen) == body
            assert seen == said  # Go puts a request's values on its answer
            answered: dict[str, Any] = {}
            await peer.call("/answer", f"{size}", returns=bytes, answer_metadata=answered)
            assert answered == {"app": f"{size}"}
            assert await peer.call("/call_me", body, returns=bytes) == body
            assert here.metadata.pop() == {"app": "said Go"}
            await peer.notify("/note", body, metadata=said)
            await peer.call("/notify_me", body, returns=bytes)
            await eventually(lambda: here.metadata)
            assert here.metadata.pop() == {"app": "noted Go"}
        notes = await peer.call("/notes", returns=list[dict[str, Any]])
        assert [note["values"]["app"] for note in notes] == [f"said Python {size}" for size in (0, 10, 5000)]
        await all_kinds_but_notes(peer)


async def all_kinds_but_notes(peer: arpc.Peer) -> None:
    for body in bodies():
        assert await peer.call("/echo", body, returns=bytes) == body


async def test_values_of_all_kinds_in_msgpack(connect: Connect, here: Here) -> None:
    async with connect("msgpack", [MsgpackValues()]) as peer:
        assert await peer.call("/many_values", b"body", returns=bytes) == b"body"
        assert here.metadata == [
            {
                "text": "grün",
                "number": -7,
                "yes": True,
                "none": None,
                "raw": b"\0\xff",
                "list": [1, "two"],
                "map": {"a": 1},
            }
        ]
        said = {"text": "ä", "n": [1, 2.5], "yes": False}
        assert await peer.call("/values", b"", metadata=said) == said


SPANS = [
    SpanContext(1, 2),
    SpanContext((1 << 64) - 1, 1 << 63, sampled=True, baggage={"user": "Ann", "empty": "", "": "grün"}),
    SpanContext(0, 0, baggage={str(n): "x" * 100 for n in range(100)}),
]


@pytest.mark.parametrize("coders", ["tracing", "tracing,gzip=0"])
async def test_span_contexts_are_read_by_both_tracers(connect: Connect, here: Here, coders: str) -> None:
    async with connect(coders, [OpenTracing(), *([Gzip(0)] if "gzip" in coders else [])]) as peer:
        for span in SPANS:
            as_json = {"trace": span.trace_id, "span": span.span_id, "sampled": span.sampled, "baggage": span.baggage}
            read = await peer.call("/span", b"", metadata={TRACING: span})
            assert {**read, "baggage": read["baggage"] or {}} == as_json
            await peer.call("/span_me", as_json, returns=bytes)
            assert here.metadata.pop() == {TRACING: span}


async def test_what_cannot_travel_is_refused_here(connect: Connect) -> None:
    async with connect("appender,tracing", [app(), OpenTracing()]) as peer:
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await peer.call("/echo", b"", metadata={"other": 1})
        with pytest.raises(arpc.EncodeError, match="SpanContext"):
            await peer.call("/echo", b"", metadata={TRACING: 1})
        with pytest.raises(arpc.LimitExceeded, match="65530"):
            await peer.call("/echo", b"", metadata={"app": "x" * 65_531})
        assert await peer.call("/echo", b"x", returns=bytes, metadata={"app": "x" * 65_530}) == b"x"


@pytest.mark.parametrize(
    ("theirs", "ours", "says"),
    [
        ("gzip=0", [app()], "bit 7 (Gzip)"),
        ("appender", [Gzip(1 << 20)], "reserved bit 4"),
        ("tracing", [app()], None),
    ],
)
async def test_a_coder_that_only_one_side_has(
    connect: Connect, theirs: str, ours: list[Coder], says: str | None
) -> None:
    """Nothing on the wire tells Go's coders beforehand; what they make is refused with a clear error."""
    async with connect(theirs, ours) as peer:
        if says is None:  # a coder that has nothing to carry leaves frames alone
            assert await peer.call("/echo", b"x", returns=bytes) == b"x"
        else:
            with pytest.raises(arpc.ConnectionClosed) as caught:
                await peer.call("/call_me", b"a" * 5000)
            assert says in str(caught.value)


async def test_msgpack_values_that_only_python_has(gocoders: Path) -> None:
    go = GoProcess(gocoders, "server")
    try:
        async with arpc.connect((await go.line())["address"], coders=[MsgpackValues()]) as peer:
            with pytest.raises(arpc.ConnectionClosed, match="Body and Values"):
                await peer.call("/notes")
    finally:
        go.close()
