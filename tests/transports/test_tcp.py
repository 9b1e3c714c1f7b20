"""TCP alone: its options, its errors, and connections that end while they begin."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

import arpc
from tests.peer.raw import Events, Raw
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def test_nodelay_is_set_on_both_sides() -> None:
    server = await arpc.serve("tcp://127.0.0.1:0", arpc.Router())
    async with server, arpc.connect(server.address) as client:
        await eventually(lambda: server.peers)
        for peer in (client, *server.peers):
            transport = peer._connection.transport
            assert transport is not None
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_port_0_takes_a_free_one_and_a_given_port_is_taken() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server:
        port = port_of(server.address)
        assert port > 0
    async with arpc.serve(f"tcp://127.0.0.1:{port}", arpc.Router()) as server:
        assert server.address == f"tcp://127.0.0.1:{port}"


async def test_names_are_resolved() -> None:
    server = await arpc.serve("tcp://localhost:0", arpc.Router())
    async with server, arpc.connect(f"tcp://localhost:{port_of(server.address)}") as client:
        await client.ping()


async def test_several_processes_may_share_a_port() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router(), reuse_port=True) as first:
        async with arpc.serve(first.address, arpc.Router(), reuse_port=True) as second:
            assert second.address == first.address
        with pytest.raises(arpc.ConnectError, match="cannot listen"):
            await arpc.serve(first.address, arpc.Router())


async def test_a_restarted_server_gets_its_port_back_at_once() -> None:
    address = "tcp://127.0.0.1:0"
    for _ in range(5):
        async with arpc.serve(address, arpc.Router()) as server:
            address = server.address
            client = await arpc.connect(address)
            await client.ping()
        await client.wait_closed()


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """A listener whose queue is full: it lets nobody in, and refuses nobody."""
    listener = Raw.listener(backlog=0)
    waiting: list[socket.socket] = []
    try:
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for sock in (*waiting, listener):
            sock.close()


async def test_connecting_has_a_timeout() -> None:
    with deaf() as address:
        started = time.perf_counter()
        with pytest.raises(arpc.ConnectTimeout, match=r"did not accept within 0\.1 s") as caught:
            await arpc.connect(address, connect_timeout=0.1)
        assert time.perf_counter() - started < 2
        assert address in str(caught.value)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, arpc.ConnectError)


async def test_connecting_can_be_given_up() -> None:
    with deaf() as address, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await arpc.connect(address, connect_timeout=None)


async def test_a_refused_connection() -> None:
    listener = Raw.listener()
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    with pytest.raises(arpc.ConnectError, match=f"cannot connect to {address}: ") as caught:
        await arpc.connect(address)
    assert not isinstance(caught.value, arpc.ConnectTimeout)
    assert isinstance(caught.value.__cause__, OSError)


async def test_connections_that_end_before_they_are_accepted() -> None:
    events = Events()
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router(), on_event=events) as server:
        for _ in range(100):
            sock = socket.create_connection(("127.0.0.1", port_of(server.address)))
            Raw(sock).reset()
        async with arpc.connect(server.address) as client:
            await client.ping()
            await eventually(lambda: len(server._endpoint.connections) == 1)
        for event in events.seen:
            assert event.peer.address.startswith("tcp://"), event.peer.address


async def test_stopping_ends_what_was_accepted_just_now() -> None:
    server = await arpc.serve("tcp://127.0.0.1:0", arpc.Router())
    with contextlib.ExitStack() as sockets:
        address = ("127.0.0.1", port_of(server.address))
        clients = [sockets.enter_context(socket.create_connection(address)) for _ in range(50)]
        await asyncio.sleep(0)
        await server.stop()
        for sock in clients:
            sock.setblocking(False)
            await asyncio.wait_for(Raw(sock).ended(), 2)
        await eventually(lambda: not server._endpoint.connections)


async def test_an_ipv4_server_is_not_found_over_ipv6() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server:
        with pytest.raises(arpc.ConnectError):
            await arpc.connect(f"tcp://[::1]:{port_of(server.address)}", connect_timeout=2)
