"""What holds over every transport: the same messages, the same ends, the same errors."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import arpc
from tests.tools import eventually
from tests.transports.certificates import CLIENT, SERVER

pytestmark = pytest.mark.timeout(20)

Anywhere = Callable[[], str]
MIB = 1024 * 1024


def serve(addresses: str | list[str], router: arpc.Router, **options: Any) -> arpc.Starting:
    if "tls://" in str(addresses):
        options["ssl"] = SERVER
    return arpc.serve(addresses, router, **options)


def connect(address: str, router: arpc.Router | None = None, **options: Any) -> arpc.Connecting:
    if address.startswith("tls://"):
        options["ssl"] = CLIENT
    return arpc.connect(address, router, **options)


def echoing(seen: list[bytes] | None = None) -> arpc.Router:
    router = arpc.Router()

    @router.handle("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    @router.handle("/note")
    def note(body: bytes) -> None:
        if seen is not None:
            seen.append(body)

    @router.handle("/hang")
    async def hang() -> None:
        await asyncio.Event().wait()

    return router


async def accepted(server: arpc.Server) -> arpc.Peer:
    await eventually(lambda: server.peers)
    (peer,) = server.peers
    return peer


async def busy(client: arpc.Client, server: arpc.Server) -> None:
    """Handlers run on both sides."""
    await eventually(lambda: client._endpoint.inflight and server._endpoint.inflight)


async def deserted(server: arpc.Server) -> None:
    await eventually(lambda: not server._endpoint.connections)


async def arrived(count: int, messages: list[bytes]) -> None:
    await eventually(lambda: len(messages) == count)


async def test_both_sides_call_notify_and_ping(anywhere: Anywhere) -> None:
    heard: dict[str, list[bytes]] = {"server": [], "client": []}
    server = await serve(anywhere(), echoing(heard["server"]))
    async with server, connect(server.address, echoing(heard["client"])) as client:
        peer = await accepted(server)
        for one, other in ((client, "server"), (peer, "client")):
            assert await one.call("/echo", b"body", returns=bytes) == b"body"
            await one.notify("/note", b"waits")
            one.try_notify("/note", b"waits not")
            await arrived(2, heard[other])
            assert heard[other] == [b"waits", b"waits not"]
            assert 0 < await one.ping(timeout=5) < 5


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, MIB, 16 * MIB])
async def test_bodies_of_any_size(anywhere: Anywhere, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    server = await serve(anywhere(), echoing())
    async with server, connect(server.address, echoing()) as client:
        peer = await accepted(server)
        assert await client.call("/echo", body, returns=bytes) == body
        assert await peer.call("/echo", body, returns=bytes) == body


async def test_many_calls_at_once(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing())
    async with server, connect(server.address) as client:
        bodies = [b"%d" % number * (number % 50) for number in range(2000)]
        assert await asyncio.gather(*(client.call("/echo", body, returns=bytes) for body in bodies)) == bodies


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_end_is_seen_by_the_other_side(anywhere: Anywhere, who: str, how: str) -> None:
    server = await serve(anywhere(), echoing())
    async with server, connect(server.address, echoing()) as client:
        peer = await accepted(server)
        here, there = (client, peer) if who == "client" else (peer, client)
        calls = [asyncio.create_task(one.call("/hang", timeout=None)) for one in (here, there)]
        await busy(client, server)
        if how == "close":
            await here.close()
        else:
            here._connection.abort(arpc.ConnectionClosed("gone"))
        await asyncio.wait_for(there.wait_closed(), 2)
        await asyncio.wait_for(here.wait_closed(), 2)
        assert client.closed
        assert peer.closed
        for call in calls:
            with pytest.raises(arpc.ConnectionClosed) as caught:
                await call
            assert caught.value.sent
        for one in (here, there):
            with pytest.raises(arpc.ConnectionClosed) as caught:
                await one.call("/echo")
            assert not caught.value.sent
            with pytest.raises(arpc.ConnectionClosed):
                await one.notify("/note")
            with pytest.raises(arpc.ConnectionClosed):
                one.try_notify("/note")
            with pytest.raises(arpc.ConnectionClosed):
                await one.ping()
            await one.close()  # once more is fine
        assert not server.peers
        await eventually(lambda: not server._endpoint.inflight)


async def test_closing_from_both_sides_at_once(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing())
    async with server:
        for _ in range(20):
            client = await connect(server.address)
            peer = await accepted(server)
            await asyncio.wait_for(asyncio.gather(client.close(), peer.close(), client.close()), 2)
            assert not server.peers


async def test_what_was_notified_before_the_end_arrives(anywhere: Anywhere) -> None:
    seen: list[bytes] = []
    server = await serve(anywhere(), echoing(seen))
    async with server:
        async with connect(server.address) as client:
            for number in range(100):
                await client.notify("/note", b"%d" % number)
        await arrived(100, seen)


async def test_the_address_that_a_server_got_can_be_dialled(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing())
    async with server:
        assert not server.address.endswith(":0")
        async with connect(server.address) as client:
            assert await client.call("/echo", b"x", returns=bytes) == b"x"
            assert client.address == server.address
            assert (await accepted(server)).address.startswith(server.address.partition("://")[0])


async def test_two_addresses_at_once(anywhere: Anywhere) -> None:
    async with serve([anywhere(), anywhere()], echoing()) as server:
        first, second = server.addresses
        assert first == server.address
        assert first != second
        async with connect(first) as one, connect(second) as other:
            assert await one.call("/echo", b"1", returns=bytes) == b"1"
            assert await other.call("/echo", b"2", returns=bytes) == b"2"
            assert len(server.peers) == 2
    for address in (first, second):
        with pytest.raises(arpc.ConnectError):
            await connect(address)


async def test_stopping_closes_peers_and_frees_the_address(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing())
    async with connect(server.address, echoing()) as client:
        peer = await accepted(server)
        calls = [asyncio.create_task(one.call("/hang", timeout=None)) for one in (client, peer)]
        await busy(client, server)
        await asyncio.wait_for(asyncio.gather(server.stop(), server.stop(), server.wait_closed()), 5)
        assert not server.peers
        await asyncio.wait_for(client.wait_closed(), 2)
        for call in calls:
            with pytest.raises(arpc.ConnectionClosed):
                await call
    with pytest.raises(arpc.ConnectError, match="cannot connect to"):
        await connect(server.address)
    async with serve(server.address, echoing()) as again:
        assert again.address == server.address
        async with connect(again.address) as client:
            assert await client.call("/echo", b"x", returns=bytes) == b"x"
    await server.stop()  # once more is fine


async def test_an_address_in_use_is_refused(anywhere: Anywhere) -> None:
    async with serve(anywhere(), echoing()) as server:
        with pytest.raises(arpc.ConnectError, match="cannot listen on") as caught:
            await serve(server.address, echoing())
        assert str(caught.value).count("cannot listen on") == 1
        async with connect(server.address) as client:
            assert await client.call("/echo", b"x", returns=bytes) == b"x"


async def test_nothing_is_left_listening_when_one_of_two_addresses_is_in_use(anywhere: Anywhere) -> None:
    async with serve(anywhere(), echoing()) as server:
        free = await serve(anywhere(), echoing())
        await free.stop()
        with pytest.raises(arpc.ConnectError):
            await serve([free.address, server.address], echoing())
        with pytest.raises(arpc.ConnectError):
            await connect(free.address)


async def test_nobody_listens(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing())
    await server.stop()
    with pytest.raises(arpc.ConnectError, match="cannot connect to") as caught:
        await connect(server.address)
    assert server.address in str(caught.value)
    assert isinstance(caught.value, ConnectionError)
    assert not isinstance(caught.value, TimeoutError)


async def test_writing_pauses_and_resumes(anywhere: Anywhere) -> None:
    """Seen from outside: a notify waits while the other side does not read, and goes on when it does."""
    seen: list[bytes] = []
    server = await serve(anywhere(), echoing(seen))
    async with server, connect(server.address) as client:
        transport = (await accepted(server))._connection.transport
        assert transport is not None
        transport.pause_reading()
        sent: list[asyncio.Task[None]] = []
        while not sent or sent[-1].done():
            assert len(sent) < 1000
            sent.append(asyncio.create_task(client.notify("/note", bytes(100_000))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(arpc.Overstock):
            client.try_notify("/note", b"")
        assert client._connection.paused
        transport.resume_reading()
        await asyncio.gather(*sent)
        await arrived(len(sent), seen)
        await eventually(lambda: not client._connection.paused)
        client.try_notify("/note", b"")


async def test_closing_while_the_other_side_does_not_read(anywhere: Anywhere) -> None:
    server = await serve(anywhere(), echoing(), send_timeout=0.1)
    async with server, connect(server.address, echoing(), send_timeout=0.1) as client:
        peer = await accepted(server)
        transport = peer._connection.transport
        assert transport is not None
        transport.pause_reading()
        sending = [asyncio.create_task(client.notify("/note", bytes(MIB))) for _ in range(20)]
        await eventually(lambda: client._connection.paused)
        await asyncio.wait_for(client.close(), 3)
        for result in await asyncio.gather(*sending, return_exceptions=True):
            assert result is None or isinstance(result, arpc.ConnectionClosed)
        transport.resume_reading()
        await asyncio.wait_for(peer.wait_closed(), 3)


async def test_giving_up_a_connect_at_any_moment_leaves_nothing(anywhere: Anywhere) -> None:
    async with serve(anywhere(), echoing()) as server:
        for turns in range(25):
            connecting = asyncio.ensure_future(_connected(server.address))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            try:
                client = await connecting
            except asyncio.CancelledError:
                pass
            else:
                await client.close()
            del connecting
        await eventually(lambda: not server._endpoint.connections)


async def _connected(address: str) -> arpc.Client:
    return await connect(address)


async def test_closed_peers_are_not_kept(anywhere: Anywhere) -> None:
    async with serve(anywhere(), echoing()) as server:
        ended: list[weakref.ref[arpc.Peer]] = []
        for _ in range(10):
            client = await connect(server.address, echoing(), hello_timeout=0.1)
            peer = await accepted(server)
            waiting = asyncio.gather(client.call("/hang"), peer.call("/hang"), return_exceptions=True)
            await busy(client, server)
            ended += [weakref.ref(client), weakref.ref(peer)]
            await client.close()
            await deserted(server)
            await waiting
            del client, peer, waiting

        def forgotten() -> bool:
            gc.collect()
            return not any(peer() for peer in ended)

        await eventually(forgotten, within=2, why="an ended peer is kept")


async def test_connecting_while_the_server_stops(anywhere: Anywhere) -> None:
    for turns in range(8):
        server = await serve(anywhere(), echoing())
        dialling = [asyncio.ensure_future(_connected(server.address)) for _ in range(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(server.stop(), 5)
        for result in await asyncio.gather(*dialling, return_exceptions=True):
            if isinstance(result, arpc.Client):
                await asyncio.wait_for(result.wait_closed(), 2)
            else:
                assert isinstance(result, (arpc.ConnectError, arpc.ConnectionClosed)), repr(result)
        await deserted(server)
