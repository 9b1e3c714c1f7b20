"""How streams end, or do not begin, without anybody asking them: the connection, the server, limits, deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import arpc
from arpc.options import KIB
from tests.peer.conftest import Connect, Dial, Pair
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

everywhere = pytest.mark.parametrize(("opener", "scheme"), [("client", "mem"), ("server", "mem"), ("client", "tcp")])


async def rest(stream: arpc.Stream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


# --- the connection


@everywhere
@pytest.mark.parametrize("abort", [False, True], ids=["close", "abort"])
async def test_a_lost_connection_ends_its_streams(pair: Pair, opener: str, scheme: str, abort: bool) -> None:
    ends = await pair(opener, scheme=scheme)
    near, far = ends.both()
    await far.send(b"arrived")
    await eventually(lambda: near.queued)
    reader = asyncio.create_task(far.recv())
    await asyncio.sleep(0)
    transport = far.peer._connection.transport
    assert transport is not None
    if abort:
        transport.abort()
    else:
        await far.peer.close()
    with pytest.raises(arpc.ConnectionClosed):
        await reader
    await eventually(lambda: near.closed)
    assert await near.recv() == b"arrived"
    for stream in ends.both():
        for _ in range(2):
            with pytest.raises(arpc.ConnectionClosed):
                await stream.recv()
            with pytest.raises(arpc.ConnectionClosed):
                await stream.send(b"x")
            with pytest.raises(arpc.ConnectionClosed):
                stream.try_send(b"x")
        await stream.end()
        await stream.close()
        await stream.reset("x")
    assert not any(peer.stats.streams or peer.stats.stream_bytes for peer in ends.link.both)


async def test_items_that_had_arrived_with_their_end_are_worked_on_after_the_connection(connect: Connect) -> None:
    router = arpc.Router()
    got: list[object] = []

    @router.stream("/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        async for item in stream:
            got.append(item)
            await asyncio.sleep(0.005)
        got.append("end")

    link = await connect(router, server_options={"notify_grace": 5})
    stream = await link.client.open_stream("/take")
    for number in range(10):
        await stream.send(b"%d" % number)
    await stream.end()
    await link.client.close()
    await eventually(lambda: "end" in got)
    assert got == [*(b"%d" % number for number in range(10)), "end"]


async def test_handlers_that_wait_are_told_or_cancelled_when_the_connection_is_lost(connect: Connect) -> None:
    router = arpc.Router()
    ended: list[str] = []

    @router.stream("/recv")
    async def recv(stream: arpc.Stream[bytes, bytes]) -> None:
        with pytest.raises(arpc.ConnectionClosed):
            await stream.recv()
        ended.append("recv")

    @router.stream("/else")
    async def otherwise(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("else")

    @router.stream("/generator")
    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append("generator")

    link = await connect(router, router, scheme="tcp", options={"notify_grace": 5})
    for method in ("/recv", "/else", "/generator"):
        for peer in link.both:
            await peer.open_stream(method)
    await eventually(lambda: all(peer.stats.streams == 6 for peer in link.both))
    await asyncio.sleep(0.01)
    await link.client.close()
    await eventually(lambda: len(ended) == 6)
    assert sorted(ended) == ["else"] * 2 + ["generator"] * 2 + ["recv"] * 2


async def test_handlers_past_the_grace_are_cancelled(connect: Connect) -> None:
    router = arpc.Router()
    cancelled = asyncio.Event()

    @router.stream("/work")
    async def work(stream: arpc.Stream[bytes, bytes]) -> None:
        assert await rest(stream) == [b"x"]
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    link = await connect(router, server_options={"notify_grace": 0.05})
    async with link.client.stream("/work", b"x") as _:
        await link.client.close()
    await asyncio.wait_for(cancelled.wait(), 2)


@pytest.mark.parametrize("opener", ["client", "server"])
async def test_a_stopped_server_ends_its_streams(dial: Dial, opener: str) -> None:
    router = arpc.Router()
    ended: list[str] = []

    @router.stream("/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            await rest(stream)
        except arpc.ConnectionClosed:
            ended.append("closed")
            raise
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    server = await arpc.serve("tcp://127.0.0.1:0", router)
    link = await dial(server, router)
    peer = link.client if opener == "client" else link.peer
    stream = await peer.open_stream("/take", returns=bytes)
    await stream.send(b"x")
    await asyncio.sleep(0.01)
    await asyncio.wait_for(server.stop(), 5)
    await eventually(lambda: ended)
    for use in (stream.send(b"x"), stream.recv()):
        with pytest.raises(arpc.ConnectionClosed, match="server was stopped"):
            await use


# --- what cannot be opened


async def test_unknown_methods_and_calls_for_streams(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/call")
    def call(body: bytes) -> bytes:
        return body

    @router.stream("/stream")
    async def stream(stream: arpc.Stream[bytes, bytes]) -> None: ...

    link = await connect(router, router)
    for peer in link.both:
        for method, text in (("/nothing", "method not found"), ("/call", "/call serves calls, not streams")):
            async with peer.stream(method, b"body", returns=bytes) as refused:
                with pytest.raises(arpc.StreamReset, match=text):
                    await refused.recv()
                with pytest.raises(arpc.StreamReset, match=text):
                    await refused.send(b"x")
        with pytest.raises(arpc.RemoteError, match="/stream serves streams, not calls") as caught:
            await peer.call("/stream", b"x")
        assert caught.value.code == arpc.Code.UNIMPLEMENTED
        await peer.notify("/stream", b"x")  # nobody is told
        with pytest.raises(arpc.LocalProtocolError):
            await peer.open_stream("")
        with pytest.raises(arpc.LocalProtocolError):
            await peer.open_stream("x" * 128)


async def test_no_more_streams_than_the_other_side_accepts(connect: Connect) -> None:
    router = arpc.Router()

    @router.stream("/wait")
    async def wait(stream: arpc.Stream[bytes, bytes]) -> None:
        await rest(stream)

    link = await connect(router, router, server_options={"max_streams": 3}, client_options={"max_streams": 2})
    for peer, limit in ((link.client, 3), (link.peer, 2)):
        streams = [await peer.open_stream("/wait") for _ in range(limit)]
        for make in (peer.open_stream("/wait"), peer.stream("/wait", b"x"), peer.stream("/wait", items=[b"x"])):
            with pytest.raises(arpc.LimitExceeded, match=f"{limit} streams are open"):
                await make
        await streams[0].close()
        async with peer.open_stream("/wait"):
            assert peer.stats.streams == limit
        for stream in streams:
            await stream.reset()
    no_streams = await connect(router, server_options={"max_streams": 0})
    with pytest.raises(arpc.LimitExceeded):
        await no_streams.client.open_stream("/wait")


async def test_an_item_that_is_too_large_resets_its_stream_alone(pair: Pair) -> None:
    ends = await pair(options={"max_item": 1000})
    other = await pair(link=ends.link)
    await ends.near.send(bytes(1000))
    await ends.near.send(bytes(1001))
    assert await ends.far.recv() == bytes(1000)
    for stream in ends.both():
        with pytest.raises(arpc.StreamReset, match=r"an item of 1001 bytes.*max_item"):
            await stream.recv()
    await other.near.send(b"x")
    assert await other.far.recv() == b"x"


async def test_an_item_that_is_larger_than_a_body_is_not_sent(pair: Pair) -> None:
    ends = await pair(server_options={"max_body": 10 * KIB})
    for send in (ends.near.send(bytes(10 * KIB)), ends.link.client.stream("/pair", bytes(10 * KIB))):
        with pytest.raises(arpc.LimitExceeded):
            await send
    await ends.near.send(b"x")
    assert await ends.far.recv() == b"x"


@pytest.mark.parametrize("how", ["leave", "end", "reset", "lost"])
async def test_a_handler_that_lets_the_end_of_its_stream_through_is_no_failure(
    connect: Connect, logged: Callable[[], str], how: str
) -> None:
    router = arpc.Router()
    tasks: list[asyncio.Task[Any] | None] = []

    @router.stream("/recv")
    async def recv(stream: arpc.Stream[bytes, bytes]) -> None:
        tasks.append(asyncio.current_task())
        await stream.recv()

    link = await connect(router)
    stream = await link.client.open_stream("/recv")
    await eventually(lambda: tasks)
    if how == "leave":
        await stream.close()
    elif how == "reset":
        await stream.reset("why")
    elif how == "lost":
        await link.client.close()
    else:
        await stream.end()
    (task,) = tasks
    assert task is not None
    await asyncio.wait([task])
    await eventually(lambda: stream.closed)
    assert ("Traceback" in logged()) == (how == "end")  # there it asked for more than there is


async def test_a_handler_past_its_deadline_is_cancelled_though_both_halves_have_ended(
    connect: Connect, logged: Callable[[], str]
) -> None:
    router = arpc.Router()
    cancelled = asyncio.Event()

    @router.stream("/work")
    async def work(stream: arpc.Stream[bytes, bytes]) -> None:
        await rest(stream)
        await stream.end()
        try:
            await asyncio.sleep(3)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    link = await connect(router)
    async with link.client.stream("/work", b"x", timeout=0.1, returns=bytes) as stream:
        assert await rest(stream) == []
    await asyncio.wait_for(cancelled.wait(), 1)
    assert "Traceback" not in logged()


async def test_a_stream_has_no_typed_client(connect: Connect) -> None:
    class Chat:
        @arpc.rpc
        async def chat(self, stream: arpc.Stream[str, str]) -> None: ...

    link = await connect()
    with pytest.raises(arpc.RegistrationError, match=r"Chat\.chat takes a Stream, which has no typed client"):
        link.client.service(Chat)
