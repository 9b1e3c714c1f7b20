"""How connections and servers begin and end, and what becomes of calls and handlers meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import arpc
from tests.peer.conftest import ANY_ADDRESS, Connect, Dial, Link
from tests.tools import eventually

Log = Callable[[], str]
SCHEMES = pytest.mark.parametrize("scheme", ["mem", "tcp"])


class Waiting:
    """Handlers that wait until they are let go, and what became of them."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began = 0
        self.ended = 0
        self.cancelled = 0
        self.router = arpc.Router()
        self.router.handle("/wait")(self.wait)
        self.router.handle("/ordered", ordered=True)(self.wait)

    async def wait(self) -> str:
        self.began += 1
        try:
            await self.go.wait()
            self.ended += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "went"


async def close_client(link: Link) -> None:
    await link.client.close()


async def close_peer(link: Link) -> None:
    await link.peer.close()


async def stop_server(link: Link) -> None:
    await link.server.stop()


async def abort(link: Link) -> None:
    """The client vanishes."""
    transport = link.client._connection.transport
    assert transport is not None
    transport.abort()


ENDS = pytest.mark.parametrize("end", [close_client, close_peer, stop_server, abort], ids=lambda end: end.__name__)
End = Callable[[Link], Any]


# The end of a connection.


@SCHEMES
@ENDS
async def test_pending_calls_fail_at_once_on_both_sides(connect: Connect, end: End, scheme: str) -> None:
    waiting = Waiting()
    link = await connect(waiting.router, waiting.router, scheme=scheme)
    calls = [asyncio.ensure_future(peer.call("/wait", timeout=None)) for peer in link.both for _ in range(3)]
    await eventually(lambda: waiting.began == 6)
    await end(link)
    done, pending = await asyncio.wait(calls, timeout=1)
    assert not pending
    for call in done:
        error = call.exception()
        assert isinstance(error, arpc.ConnectionClosed)
        assert isinstance(error, ConnectionError)
        assert error.sent
        assert "has ended" in str(error)
        assert error.__cause__ is not None
    await eventually(lambda: waiting.cancelled == 6)
    assert link.client.closed
    assert link.peer.closed
    await asyncio.wait_for(asyncio.gather(link.client.wait_closed(), link.peer.wait_closed()), 1)


async def test_pings_fail_at_once_as_well(connect: Connect) -> None:
    link = await connect()
    transport = link.peer._connection.transport
    assert transport is not None
    transport.pause_reading()
    ping = asyncio.ensure_future(link.client.ping(timeout=None))
    await asyncio.sleep(0)
    await link.client.close()
    with pytest.raises(arpc.ConnectionClosed):
        await ping


@SCHEMES
async def test_sent_tells_what_never_left(connect: Connect, scheme: str) -> None:
    router = arpc.Router()

    @router.handle("/take")
    async def take(body: bytes) -> None: ...

    link = await connect(router, scheme=scheme, client_options={"write_buffer": 1024})
    transport = link.peer._connection.transport
    assert transport is not None
    first = asyncio.ensure_future(link.client.call("/take", timeout=None))
    await first
    transport.pause_reading()
    went_out = asyncio.ensure_future(link.client.call("/take", timeout=None))
    notifies: list[asyncio.Future[None]] = []
    while not link.client._connection.paused:
        await link.client.notify("/take", bytes(100_000))
        await asyncio.sleep(0)
    with pytest.raises(arpc.Overstock):
        link.client.try_notify("/take")
    waits = asyncio.ensure_future(link.client.call("/take", timeout=None))
    notifies.append(asyncio.ensure_future(link.client.notify("/take")))
    await asyncio.sleep(0)
    aborted = link.client._connection.transport
    assert aborted is not None
    aborted.abort()
    answers = await asyncio.gather(went_out, waits, *notifies, return_exceptions=True)
    assert [type(answer) for answer in answers] == [arpc.ConnectionClosed] * 3
    assert [getattr(answer, "sent", None) for answer in answers] == [True, False, False]


@ENDS
async def test_a_closed_peer_says_so(connect: Connect, end: End) -> None:
    link = await connect()
    await end(link)
    await eventually(lambda: link.client.closed and link.peer.closed)
    for peer in link.both:
        for use in (peer.call("/x"), peer.notify("/x"), peer.ping()):
            with pytest.raises(arpc.ConnectionClosed, match="has ended") as caught:
                await use
            assert not caught.value.sent
        with pytest.raises(arpc.ConnectionClosed):
            peer.try_notify("/x")
        assert peer.closed
        assert "closed" in repr(peer)
        await peer.close()
        await peer.wait_closed()


async def test_closing_twice_and_at_once_from_both_sides(connect: Connect) -> None:
    link = await connect()
    await asyncio.gather(*(peer.close() for peer in link.both * 3), link.server.stop(), link.server.stop())
    assert link.client.closed
    assert link.peer.closed


@SCHEMES
async def test_what_was_sent_before_closing_arrives(connect: Connect, scheme: str) -> None:
    router = arpc.Router()
    seen: list[int] = []

    @router.handle("/n")
    async def number(body: bytes) -> None:
        await asyncio.sleep(0)
        seen.append(len(body))

    link = await connect(router, scheme=scheme)
    for _ in range(20):
        await link.client.notify("/n", bytes(50_000))
    await link.client.close()
    await eventually(lambda: seen == [50_000] * 20)


async def test_closing_within_a_handler(connect: Connect, logged: Log) -> None:
    router = arpc.Router()
    ended = 0

    @router.handle("/close")
    async def close(ctx: arpc.Context) -> None:
        nonlocal ended
        try:
            await ctx.peer.close()
        finally:
            ended += 1

    for kind in ("call", "notify"):
        link = await connect(router)
        if kind == "call":
            with pytest.raises(arpc.ConnectionClosed):
                await link.client.call("/close")
        else:
            await link.client.notify("/close")
        await link.client.wait_closed()
    await eventually(lambda: ended == 2)
    assert logged() == ""


async def test_stopping_the_server_within_a_handler(connect: Connect) -> None:
    router = arpc.Router()
    servers: list[arpc.Server] = []

    @router.handle("/stop")
    async def stop() -> None:
        await servers[0].stop()

    link = await connect(router)
    servers.append(link.server)
    with pytest.raises(arpc.ConnectionClosed):
        await link.client.call("/stop", timeout=5)
    await asyncio.wait_for(link.server.wait_closed(), 5)


# Handlers that run while their connection ends.


@SCHEMES
async def test_handlers_of_calls_are_cancelled_and_those_of_notifies_run_to_their_end(
    connect: Connect, logged: Log, scheme: str
) -> None:
    waiting = Waiting()
    link = await connect(waiting.router, scheme=scheme)
    for _ in range(3):
        await link.client.notify("/wait")
        await link.client.notify("/ordered")
    calls = [asyncio.ensure_future(link.client.call("/wait")) for _ in range(2)]
    await eventually(lambda: waiting.began == 3 + 1 + 2)
    await link.client.close()
    await asyncio.wait(calls)
    await eventually(lambda: waiting.cancelled == 2)
    assert all(isinstance(call.exception(), arpc.ConnectionClosed) for call in calls)
    assert waiting.ended == 0
    waiting.go.set()
    await eventually(lambda: waiting.ended == 6)
    assert (waiting.began, waiting.cancelled) == (8, 2)
    assert logged() == ""


async def test_notifies_have_their_grace_and_no_more(connect: Connect) -> None:
    waiting = Waiting()
    link = await connect(waiting.router, server_options={"notify_grace": 0.02, "max_inflight": 2})
    for _ in range(5):
        await link.client.notify("/wait")
    await eventually(lambda: waiting.began == 2)
    await link.client.close()
    await eventually(lambda: link.peer.closed)
    assert waiting.cancelled == 0
    await eventually(lambda: waiting.cancelled == 2)
    assert (waiting.began, waiting.ended) == (2, 0)


async def test_stopping_the_server_waits_for_no_notify(connect: Connect) -> None:
    waiting = Waiting()
    link = await connect(waiting.router)
    await link.client.notify("/wait")
    await eventually(lambda: waiting.began == 1)
    await link.client.close()
    await link.server.stop()
    await eventually(lambda: waiting.cancelled == 1)


async def test_what_an_old_connections_handler_answers_late_goes_nowhere(connect: Connect, dial: Dial) -> None:
    router = arpc.Router()
    go = asyncio.Event()
    ended = 0

    @router.handle("/stubborn")
    async def stubborn() -> str:
        nonlocal ended
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await go.wait()
        ended += 1
        return "late"

    first = await connect(router)
    call = asyncio.ensure_future(first.client.call("/stubborn"))
    await eventually(lambda: first.peer._connection.session.serving)
    await first.client.close()
    await asyncio.wait([call])
    assert isinstance(call.exception(), arpc.ConnectionClosed)
    second = await dial(first.server)
    go.set()
    await eventually(lambda: ended == 1)
    await second.client.ping()
    assert second.client.stats.frames_dropped == 0


# The server.


@SCHEMES
async def test_stop(connect: Connect, dial: Dial, scheme: str) -> None:
    waiting = Waiting()
    first = await connect(waiting.router, scheme=scheme)
    links = [first, *[await dial(first.server) for _ in range(4)]]
    calls = [asyncio.ensure_future(link.client.call("/wait")) for link in links]
    await eventually(lambda: waiting.began == 5)
    assert first.server.peers == {link.peer for link in links}
    closed = asyncio.ensure_future(first.server.wait_closed())
    address = first.server.address
    await asyncio.gather(first.server.stop(), first.server.stop())
    assert first.server.peers == set()
    assert waiting.cancelled == 5
    await asyncio.wait_for(closed, 1)
    await first.server.stop()
    await first.server.wait_closed()
    with pytest.raises(arpc.ConnectError):
        await arpc.connect(address)
    for call in calls:
        with pytest.raises(arpc.ConnectionClosed):
            await call


async def test_a_stop_that_is_cancelled_goes_on(connect: Connect) -> None:
    link = await connect()
    stopping = asyncio.ensure_future(link.server.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await asyncio.wait_for(link.server.wait_closed(), 5)


@SCHEMES
async def test_with_statements(scheme: str) -> None:
    router = arpc.Router()

    @router.handle("/echo")
    async def echo(body: str) -> str:
        return body

    async with (
        arpc.serve(ANY_ADDRESS[scheme], router) as server,
        arpc.connect(server.address) as client,
        await arpc.connect(server.address) as other,
    ):
        assert await client.call("/echo", "a", returns=str) == await other.call("/echo", "a", returns=str) == "a"
    assert client.closed
    assert other.closed
    async with await arpc.serve(ANY_ADDRESS[scheme], router) as server:
        pass
    with pytest.raises(arpc.ConnectError):
        await arpc.connect(server.address)


async def test_connecting_to_somebody_who_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(arpc.ConnectError):
        await arpc.connect(f"tcp://127.0.0.1:{port}")
    listener.close()


async def test_connecting_is_given_up() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.read(-1)
        writer.close()

    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]

    async def connect() -> None:
        await arpc.connect(f"tcp://127.0.0.1:{port}", hello_timeout=30)

    connecting = asyncio.create_task(connect())
    await eventually(lambda: accepted)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    listener.close()
