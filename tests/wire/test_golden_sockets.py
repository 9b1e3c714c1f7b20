"""Go's recorded bytes over real TCP sockets: our server answers them, and our client asks, bit for bit as Go did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import arpc
from arpc.frame import HEADER_SIZE, NOTIFY, PONG, REQUEST, RESPONSE, encode
from tests.tools import eventually
from tests.wire.feeding import Way, bytewise, every_way, with_tail
from tests.wire.golden import CLIENT, SCENES, SERVER, Recorded, bytes_of, renumbered


@dataclass
class Person:
    name: str
    age: int


class Go:
    """A raw socket that plays one side's recorded bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """One whole frame."""
        header = await self._reader.readexactly(HEADER_SIZE)
        return header + await self._reader.readexactly(int.from_bytes(header[:4], "little"))

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def number_of(data: bytes) -> int:
    return int.from_bytes(data[8:HEADER_SIZE], "little")


# --- our server, Go's client


def served() -> tuple[arpc.Router, list[bytes]]:
    """Handlers of the names that the recorded server had, and the notifies that they took."""
    router = arpc.Router()
    seen: list[bytes] = []

    @router.handle("/echo")
    def echo(body: bytes) -> bytes:
        return body

    @router.handle("/person")
    def person(person: Person) -> Person:
        return Person(person.name, person.age + 1)

    @router.handle("/nilrsp")
    def nil() -> None:
        return None

    @router.handle("/fail")
    def fail(body: str) -> None:
        assert body == "x"
        raise arpc.RpcError("boom: no such thing")

    @router.handle("/seen")
    def see(body: bytes) -> None:
        seen.append(body)

    @router.handle("/whoami")
    def whoami() -> str:
        return "ok"

    @router.handle("in_A")
    def authenticate(password: str) -> None:
        if password != "123qwe":
            raise arpc.RpcError("invalid password")

    for method in ("in_S", "in_U", "in_P", "in_P1"):

        @router.handle(method)
        def accept(body: bytes) -> None:
            assert b"Broadcast\t\0" in body

    return router, seen


@asynccontextmanager
async def go_client(router: arpc.Router, **options: Any) -> AsyncIterator[tuple[Go, arpc.Server]]:
    async with arpc.serve("tcp://127.0.0.1:0", router, **options) as server:
        host, port = server.address.removeprefix("tcp://").split(":")
        go = Go(*await asyncio.open_connection(host, int(port)))
        try:
            yield go, server
        finally:
            await go.close()


ASKED = [name for name in SCENES if name.startswith(("call_", "pubsub")) or name in {"ping_pong", "server_call"}]


def answers(scene: str) -> list[bytes]:
    """What the recorded server answered; its own calls and notifies are other tests' matter."""
    return [r.data for r in SCENES[scene] if r.sender == SERVER and r.frame[0] in {RESPONSE, PONG}]


def questions(scene: str) -> bytes:
    return b"".join(r.data for r in SCENES[scene] if r.sender == CLIENT and r.frame[0] != RESPONSE)


@every_way
@pytest.mark.parametrize("extensions", [True, False], ids=["extended", "base"])
@pytest.mark.parametrize("scene", ASKED)
async def test_our_server_answers_as_gos(scene: str, extensions: bool, way: Way) -> None:
    async with go_client(served()[0], extensions=extensions) as (go, _):
        for chunk in way(questions(scene)):
            await go.write(chunk)
        assert [await go.read() for _ in answers(scene)] == answers(scene)


async def test_our_server_answers_all_scenes_on_one_connection() -> None:
    calls = [scene for scene in ASKED if scene != "ping_pong"]  # a pong overtakes the answers that handlers make
    async with go_client(served()[0]) as (go, server):
        for chunk in bytewise(b"".join(map(questions, calls))):
            await go.write(chunk)
        for scene in calls:
            assert [await go.read() for _ in answers(scene)] == answers(scene)
        [peer] = server.peers
        assert peer.stats == arpc.Stats()


@every_way
async def test_our_server_takes_gos_notify_and_answers_nothing(way: Way) -> None:
    router, seen = served()
    async with go_client(router) as (go, _):
        for chunk in way(bytes_of("notify", CLIENT)):
            await go.write(chunk)
        await eventually(lambda: seen == [b"fyi"])
        rest = bytes_of("ping_pong", CLIENT)
        await go.write(rest[7:] if way is with_tail else rest)
        assert await go.read() == bytes_of("ping_pong", SERVER), "the next thing that comes is the pong"


async def test_our_server_calls_and_notifies_as_gos() -> None:
    """The bytes are Go's, but for the numbers and the order: the answer to Go's own call is another test's matter."""
    router, _ = served()
    replies: list[Person] = []

    @router.handle("/begin")
    async def begin(ctx: arpc.Context) -> None:
        replies.append(await ctx.peer.call("/client/add", Person("Bob", 1), returns=Person))
        await ctx.peer.notify("/client/note", Person("Eve", 2))

    call, answer = SCENES["server_call"][2:]
    [note] = SCENES["server_notify"]
    async with go_client(router) as (go, _):
        await go.write(encode(NOTIFY, 0, 1, b"/begin"))
        data = await go.read()
        assert data == renumbered(call.data, number_of(data))
        for chunk in bytewise(renumbered(answer.data, number_of(data))):
            await go.write(chunk)
        data = await go.read()
        assert data == renumbered(note.data, number_of(data))
        assert replies == [Person("Bob", 11)]


# --- our client, Go's server


@asynccontextmanager
async def go_server(router: arpc.Router | None = None) -> AsyncIterator[tuple[arpc.Client, Go]]:
    accepted: asyncio.Future[Go] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(Go(reader, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        async with arpc.connect(f"tcp://{host}:{port}", router, extensions=False) as client:
            go = await accepted
            try:
                yield client, go
            finally:
                await go.close()


async def play(go: Go, scene: list[Recorded]) -> None:
    """Expects what the recorded client sent, and says what the recorded server said, with our client's numbers."""
    number = 0
    for recorded in scene:
        if recorded.sender == CLIENT:
            data = await go.read()
            number = number_of(data)
            assert data == (recorded.data if recorded.frame[0] == RESPONSE else renumbered(recorded.data, number))
        else:
            mine = recorded.frame[0] in {REQUEST, NOTIFY}
            for chunk in bytewise(recorded.data if mine else renumbered(recorded.data, number)):
                await go.write(chunk)


async def string(client: arpc.Client) -> None:
    assert await client.call("/echo", "hello", returns=str) == "hello"


async def struct(client: arpc.Client) -> None:
    assert await client.call("/person", Person("Ann", 41), returns=Person) == Person("Ann", 42)


async def nil(client: arpc.Client) -> None:
    assert await client.call("/nilrsp") is None


async def error(client: arpc.Client) -> None:
    with pytest.raises(arpc.RemoteError, match=r"^boom: no such thing$") as caught:
        await client.call("/fail", "x")
    assert type(caught.value) is arpc.RemoteError


async def not_found(client: arpc.Client) -> None:
    with pytest.raises(arpc.MethodNotFound, match=r"^method not found$"):
        await client.call("/nope", b"x")


async def notify(client: arpc.Client) -> None:
    await client.notify("/seen", "fyi")


async def try_notify(client: arpc.Client) -> None:
    client.try_notify("/seen", b"fyi")


async def call_back(client: arpc.Client) -> None:
    assert await client.call("/whoami", returns=str) == "ok"


async def ping(client: arpc.Client) -> None:
    assert await client.ping() > 0


async def nothing(client: arpc.Client) -> None:
    """The server speaks first."""


async def publish(client: arpc.Client) -> None:
    for recorded in SCENES["pubsub"]:
        if recorded.sender == CLIENT:
            _, _, _, _, method, data = recorded.frame
            assert await client.call(method.decode(), data, returns=bytes) == b""


async def wrong_password(client: arpc.Client) -> None:
    with pytest.raises(arpc.RemoteError, match=r"^invalid password$"):
        await client.call("in_A", "wrong")


ASKING: list[tuple[str, Callable[[arpc.Client], Awaitable[None]]]] = [
    ("call_string", string),
    ("call_json", struct),
    ("call_nil", nil),
    ("call_error", error),
    ("call_not_found", not_found),
    ("notify", notify),
    ("notify", try_notify),
    ("server_call", call_back),
    ("server_notify", nothing),
    ("ping_pong", ping),
    ("broadcast", nothing),
    ("pubsub", publish),
    ("pubsub_bad_password", wrong_password),
]


@pytest.mark.parametrize(("scene", "ask"), ASKING, ids=[f"{scene}-{ask.__name__}" for scene, ask in ASKING])
async def test_our_client_asks_as_gos(scene: str, ask: Callable[[arpc.Client], Awaitable[None]]) -> None:
    router = arpc.Router()
    notes: list[tuple[str, bytes]] = []

    @router.handle("/client/add")
    def add(person: Person) -> Person:
        return Person(person.name, person.age + 10)

    @router.fallback
    def note(body: bytes, ctx: arpc.Context) -> None:
        assert ctx.kind == "notify"
        notes.append((ctx.method, body))

    told = [(r.frame[4].decode(), r.frame[5]) for r in SCENES[scene] if r.sender == SERVER and r.frame[0] == NOTIFY]
    async with go_server(router) as (client, go), asyncio.timeout(10):
        await asyncio.gather(ask(client), play(go, SCENES[scene]))
        await eventually(lambda: notes == told)
        assert client.stats == arpc.Stats()
        assert client.remote_capabilities == arpc.Capabilities()
