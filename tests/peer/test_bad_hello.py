"""Hellos of every shape, and servers that mistreat those who dial them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import arpc
from tests.peer.raw import NOTIFY, PING, PONG, REQUEST, RESPONSE, Raw, Received, frame, hello, request
from tests.peer.target import Target, under_attack
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

EMPTY_PONG = Received(PONG, 0, 0, b"", b"")
MIB = 1024 * 1024


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with under_attack() as target:
        yield target


# --- to a server


@pytest.mark.parametrize(
    "data",
    [
        hello(),
        hello(version=255),
        hello(tail=b"more to come"),
        hello(tail=bytes(MIB)),
        hello(flags=0xFFFF_FFFF),
        hello(max_body=0xFFFF_FFFF),
    ],
    ids=["plain", "higher version", "tail", "long tail", "every flag", "largest body"],
)
async def test_a_hello_is_answered_by_a_hello(target: Target, data: bytes) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(PING, data=data))
        pong = await raw.receive_frame()
        assert pong.command == PONG
        assert len(pong.data) == len(hello())
        assert pong.data.startswith(b"arpc+\x01")
        assert target.peer().remote_capabilities.extended
        assert (await raw.ask(1, b"/echo", b"x")).data == b"x"


@pytest.mark.parametrize(
    "data",
    [b"", b"arpc+", hello()[:-1], hello(magic=b"arpc-"), hello(version=0), b"x" * 22, bytes(MIB)],
    ids=["nothing", "magic only", "cut", "another magic", "version 0", "something", "long"],
)
async def test_what_is_no_hello_is_a_ping(target: Target, data: bytes) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(PING, data=data))
        assert await raw.receive_frame() == EMPTY_PONG
        assert not target.peer().remote_capabilities.extended
        assert (await raw.ask(1, b"/echo", b"x")).data == b"x"


async def test_a_ping_with_a_method_is_a_ping(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(PING, 77, b"method", b"data", flag=255, reserved=255))
        assert await raw.receive_frame() == EMPTY_PONG


@pytest.mark.parametrize("before", [frame(PING), request(1, b"/echo"), frame(PING, data=hello(max_body=1000))])
async def test_a_hello_that_comes_late_or_twice_changes_nothing(target: Target, before: bytes) -> None:
    async with await target.connect() as raw:
        await raw.send(before)
        await raw.receive_frame()
        known = target.peer().remote_capabilities
        await raw.send(frame(PING, data=hello(max_body=5)))
        pong = await raw.receive_frame()
        assert pong.data.startswith(b"arpc+\x01" + bytes(4))  # no capabilities
        assert target.peer().remote_capabilities == known


async def test_hello_and_requests_in_one_chunk(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(
            frame(PING, data=hello()) + request(1, b"/echo", b"a") + frame(PING) + request(2, b"/echo", b"b")
        )
        got = [await raw.receive_frame() for _ in range(4)]
        assert got[0].data.startswith(b"arpc+")
        assert [answer.data for answer in got if answer.command == RESPONSE] == [b"a", b"b"]
        assert got.count(EMPTY_PONG) == 1


async def test_a_peer_that_accepts_nothing_is_sent_nothing(target: Target) -> None:
    async with await target.connect() as raw:
        await raw.send(frame(PING, data=hello(max_body=0)) + request(1, b"/echo", b"x"))
        assert (await raw.receive_frame()).command == PONG
        answer = await raw.receive_frame()
        assert (answer.flag, answer.seq, answer.data) == (1, 1, b"")
        with pytest.raises(arpc.LimitExceeded):
            await target.peer().call("/ask")
        with pytest.raises(arpc.LimitExceeded):
            target.peer().try_notify("/note")


async def test_a_server_without_extensions_knows_no_hello() -> None:
    async with under_attack(extensions=False) as target, await target.connect() as raw:
        await raw.send(frame(PING, data=hello()))
        assert await raw.receive_frame() == EMPTY_PONG


async def test_limits_of_the_hello_bind_both_sides() -> None:
    answers = {"/small": 100, "/large": 2000}
    router = arpc.Router()

    @router.fallback
    def answer(body: bytes, ctx: arpc.Context) -> bytes:
        return bytes(answers[ctx.method])

    server = await arpc.serve("tcp://127.0.0.1:0", router, max_body=3000)
    async with server, arpc.connect(server.address, router, max_body=1000) as client:
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        assert client.remote_capabilities.max_body == 3000
        assert peer.remote_capabilities.max_body == 1000
        assert await client.call("/small", bytes(3000 - 6), returns=bytes) == bytes(100)
        with pytest.raises(arpc.LimitExceeded, match="3000"):
            await client.call("/small", bytes(3000 - 5))
        with pytest.raises(arpc.LimitExceeded, match="1000"):
            await peer.notify("/small", bytes(1000 - 5))
        assert await peer.call("/small", bytes(1000 - 6), returns=bytes) == bytes(100)
        with pytest.raises(arpc.RemoteError, match="too large"):
            await client.call("/large")
        assert len(await peer.call("/large", returns=bytes)) == 2000


# --- to a client


@contextlib.asynccontextmanager
async def wicked(behave: Callable[[Raw], Awaitable[object]]) -> AsyncIterator[str]:
    """A listener whose first client meets ``behave``; its address."""
    loop = asyncio.get_running_loop()
    listener = Raw.listener()

    async def serve() -> None:
        sock, _ = await loop.sock_accept(listener)
        async with Raw(sock) as raw:
            await behave(raw)
            with contextlib.suppress(ConnectionError):
                await raw.ended()

    serving = asyncio.create_task(serve())
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        await serving
    finally:
        serving.cancel()
        listener.close()


def says(*parts: bytes) -> Callable[[Raw], Awaitable[object]]:
    """Reads the client's Hello and sends those bytes."""

    async def behave(raw: Raw) -> None:
        asked = await raw.receive_frame()
        assert (asked.command, asked.data[:5]) == (PING, b"arpc+")
        for part in parts:
            await raw.send(part)

    return behave


@pytest.mark.parametrize(
    ("pong", "extended"),
    [
        (frame(PONG), False),
        (frame(PONG, data=hello()), True),
        (frame(PONG, data=hello(version=9, tail=b"tail")), True),
        (frame(PONG, data=hello()[:-1]), False),
        (frame(PONG, data=b"\xff" * 100), False),
        (frame(PONG, data=hello()) * 3, True),
        (frame(NOTIFY, 1, b"/x") + frame(PONG, data=hello()), True),
    ],
    ids=["empty", "hello", "higher version", "cut", "garbage", "thrice", "after a notify"],
)
async def test_a_client_takes_any_pong(pong: bytes, extended: bool) -> None:
    async with wicked(says(pong)) as address, arpc.connect(address) as client:
        assert client.remote_capabilities.extended is extended
        assert client.remote_capabilities.max_body == (MIB if extended else None)


async def test_a_server_that_never_answers_the_hello_speaks_the_base_protocol() -> None:
    async with wicked(says()) as address, arpc.connect(address, hello_timeout=0.05) as client:
        assert not client.remote_capabilities.extended
        with pytest.raises(arpc.CallTimeout):
            await client.call("/x", timeout=0.05)


async def test_a_server_that_asks_before_its_pong_is_answered_after_it() -> None:
    router = arpc.Router()
    answered = asyncio.Event()

    @router.handle("/echo")
    def echo(body: bytes) -> bytes:
        return body

    async def behave(raw: Raw) -> None:
        await raw.receive_frame()
        await raw.send(request(5, b"/echo", b"early"))
        await raw.send(frame(PONG, data=hello()))
        assert await raw.receive_frame() == Received(RESPONSE, 0, 5, b"/echo", b"early")
        answered.set()

    async with wicked(behave) as address, arpc.connect(address, router) as client:
        assert client.remote_capabilities.extended
        await answered.wait()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not an arpc peer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n" * 2, "not an arpc peer"),
        (frame(63), "unknown command 63"),
        (frame(PONG, length=0xFFFF_FFFF), "max_body"),
    ],
    ids=["HTTP", "SSH", "command", "length"],
)
async def test_connecting_to_something_else_says_so(words: bytes, cause: str) -> None:
    async with wicked(says(words)) as address:
        with pytest.raises(arpc.ConnectError, match=cause) as caught:
            await arpc.connect(address)
        assert isinstance(caught.value.__cause__, arpc.RemoteProtocolError)


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_server_that_hangs_up_during_the_hello(ending: str) -> None:
    async def behave(raw: Raw) -> None:
        await raw.receive_frame()
        getattr(raw, ending)()
        raise ConnectionError

    with contextlib.suppress(ConnectionError):
        async with wicked(behave) as address:
            with pytest.raises(arpc.ConnectError):
                await arpc.connect(address)


async def test_a_call_that_a_server_answers_with_garbage() -> None:
    async def behave(raw: Raw) -> None:
        await says(frame(PONG))(raw)
        assert (await raw.receive_frame()).command == REQUEST
        await raw.send(b"\xff" * 100)

    async with wicked(behave) as address, arpc.connect(address) as client:
        with pytest.raises(arpc.ConnectionClosed, match="not an arpc peer") as caught:
            await client.call("/x", timeout=None)
        assert caught.value.sent
        await client.wait_closed()
        assert client.closed
