"""Graceful: what runs goes on to its end, nothing new is begun, then the server is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import arpc
from arpc.middleware import Graceful
from tests.middleware.holding import ADDRESSES, Holding, calling, settled
from tests.tools import eventually

WITHOUT_GOAWAY = arpc.Capability(31) & ~arpc.Capability.GOAWAY


@asynccontextmanager
async def serving(
    holding: Holding, graceful: Graceful, address: str = "mem://0", router: arpc.Router | None = None, **options: Any
) -> AsyncIterator[tuple[arpc.Server, arpc.Client]]:
    """A server, and a client that does not understand GOAWAY unless ``options`` say so: it goes on asking."""
    given: Any = {"capabilities": WITHOUT_GOAWAY, **options}
    async with arpc.serve(address, holding.router, middleware=[graceful]) as server:
        client = await arpc.connect(server.address, router, **given)
        yield server, client
        await client.close()


async def refused(peer: arpc.Peer, text: str = "shutting down") -> None:
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call("/hold", "late", returns=str)
    assert (caught.value.message, caught.value.code) == (text, "unavailable")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_what_runs_ends_and_nothing_new_is_run(address: str) -> None:
    holding, graceful = Holding(), Graceful("closed for the night")
    async with serving(holding, graceful, address) as (server, peer):
        calls = calling(peer, "/hold", "a", "b")
        await holding.until_begun("a", "b")
        async with peer.stream("/stream", "c", returns=str) as stream:
            assert await stream.recv() == "c"
            assert graceful.running == 3
            shutdown = asyncio.create_task(graceful.shutdown(server))
            await eventually(lambda: graceful.draining)
            await refused(peer, "closed for the night")
            async with peer.stream("/stream", "late", returns=str) as late:
                with pytest.raises(arpc.StreamReset, match="closed for the night"):
                    await late.recv()
            (accepted,) = server.peers
            await peer.notify("/hold", "late")
            await eventually(lambda: accepted.stats.notifies_dropped == 1)
            assert graceful.refused == 3
            holding.release("b")
            assert await calls[1] == "b"
            assert not shutdown.done()
            holding.release("a", "c")
            assert await calls[0] == "a"
            assert [item async for item in stream] == []
        assert await shutdown
        await server.wait_closed()
        await peer.wait_closed()
        assert holding.begun == ["a", "b", "c"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_answers_and_items_are_flushed(address: str) -> None:
    holding, graceful, size = Holding(), Graceful(), 4_000_000

    @holding.router.handle("/large")
    async def large() -> bytes:
        await holding._gate("large").wait()
        return b"x" * size

    @holding.router.stream("/items")
    async def items() -> AsyncIterator[bytes]:
        await holding._gate("large").wait()
        for _ in range(3):
            yield b"y" * size

    async with serving(holding, graceful, address) as (server, peer):
        call = asyncio.create_task(peer.call("/large", returns=bytes))
        async with peer.stream("/items", returns=bytes) as stream:
            await eventually(lambda: graceful.running == 2)
            shutdown = asyncio.create_task(graceful.shutdown(server))
            holding.release("large")
            assert len(await call) == size
            assert [len(item) async for item in stream] == [size] * 3
        assert await shutdown


async def test_messages_that_had_come_are_answered_not_lost() -> None:
    holding, graceful = Holding(), Graceful()
    starting = arpc.serve("mem://0", holding.router, middleware=[graceful], max_inflight=1)
    async with starting as server, arpc.connect(server.address, capabilities=WITHOUT_GOAWAY) as peer:
        calls = calling(peer, "/hold", "a", *map(str, range(500)))
        await settled(lambda: holding.begun == ["a"])  # the others wait for its slot
        shutdown = asyncio.create_task(graceful.shutdown(server))
        await eventually(lambda: graceful.draining)
        holding.release("a")
        assert await calls[0] == "a"
        for error in await asyncio.gather(*calls[1:], return_exceptions=True):
            assert isinstance(error, arpc.RemoteError)
            assert error.code == "unavailable"
        assert await shutdown
        assert holding.begun == ["a"]


async def test_after_the_timeout_what_runs_is_cancelled() -> None:
    holding, graceful = Holding(), Graceful()
    async with serving(holding, graceful) as (server, peer):
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        first = asyncio.create_task(graceful.shutdown(server, timeout=0.02))
        second = asyncio.create_task(graceful.shutdown(server))  # waits for the same end
        assert [await first, await second] == [False, False]
        assert holding.ended == ["a"]
        with pytest.raises(arpc.ConnectionClosed):
            await call
        assert graceful.running == 0
        assert not await graceful.shutdown(server)


async def test_peers_are_told_and_start_nothing_new() -> None:
    holding, graceful = Holding(), Graceful("maintenance")
    events: list[arpc.Event] = []
    options: Any = {"capabilities": arpc.Capability(31), "on_event": events.append}
    async with serving(holding, graceful, **options) as (server, peer):
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        shutdown = asyncio.create_task(graceful.shutdown(server))
        await eventually(lambda: "goaway" in [event.name for event in events])
        assert [event.detail for event in events if event.name == "goaway"] == ["maintenance"]
        with pytest.raises(arpc.ConnectionClosed, match="maintenance") as caught:
            await peer.call("/hold", "late")
        assert not caught.value.sent
        holding.release("a")
        assert await call == "a"
        assert await shutdown


async def test_who_connects_meanwhile_is_refused_and_told() -> None:
    holding, graceful, events = Holding(), Graceful(), list[arpc.Event]()
    async with serving(holding, graceful) as (server, peer):
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        shutdown = asyncio.create_task(graceful.shutdown(server))
        await eventually(lambda: graceful.draining)
        async with arpc.connect(server.address, on_event=events.append) as late:
            await refused(late)
            await eventually(lambda: "goaway" in [event.name for event in events])
        holding.release("a")
        assert await call == "a"
        assert await shutdown


async def test_what_runs_may_call_back_and_be_called_back_for_that() -> None:
    holding, graceful, back = Holding(), Graceful(), arpc.Router()
    go = asyncio.Event()

    @holding.router.handle("/work")
    async def work(ctx: arpc.Context) -> str:
        await go.wait()
        return await ctx.peer.call("/confirm", returns=str)

    @back.handle("/confirm")
    async def confirm(ctx: arpc.Context) -> str:
        return await ctx.peer.call("/free", "details", returns=str)

    async with serving(holding, graceful, router=back, capabilities=arpc.Capability(31)) as (server, peer):
        call = asyncio.create_task(peer.call("/work", returns=str))
        await eventually(lambda: graceful.running)
        shutdown = asyncio.create_task(graceful.shutdown(server))
        await eventually(lambda: graceful.draining)
        go.set()
        assert await call == "details"
        assert await shutdown


async def test_several_servers_share_one() -> None:
    holding, graceful = Holding(), Graceful()
    async with serving(holding, graceful) as (one, peer), serving(holding, graceful) as (two, other):
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        shutdowns = asyncio.gather(*(graceful.shutdown(server) for server in (one, two)))
        await eventually(lambda: graceful.draining)
        await refused(other)
        holding.release("a")
        assert await call == "a"
        assert await shutdowns == [True, True]


async def test_without_a_server() -> None:
    holding, graceful = Holding(), Graceful()
    options: Any = {"middleware": [graceful], "capabilities": WITHOUT_GOAWAY}
    starting = arpc.serve("mem://0", arpc.Router())
    async with starting as server, arpc.connect(server.address, holding.router, **options):
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        assert not await graceful.drain(timeout=0.01)
        await refused(peer)
        holding.release("a")
        assert await graceful.drain(timeout=None)
        assert await call == "a"
        assert await graceful.drain()


async def test_who_waits_for_it_may_give_up() -> None:
    holding, graceful = Holding(), Graceful()
    async with serving(holding, graceful) as (server, peer):
        (call,) = calling(peer, "/hold", "a")
        await holding.until_begun("a")
        waits = asyncio.create_task(graceful.shutdown(server))
        await eventually(lambda: graceful.draining)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        holding.release("a")
        assert await call == "a"
        assert await graceful.shutdown(server)
        await server.wait_closed()


async def test_an_idle_server_is_stopped_at_once() -> None:
    graceful = Graceful()
    async with serving(Holding(), graceful) as (server, peer):
        assert await graceful.shutdown(server, timeout=None)
        await peer.wait_closed()


async def test_where_it_may_not_stand_and_what_makes_no_sense() -> None:
    graceful = Graceful()
    async with serving(Holding(), graceful) as (server, _):
        with pytest.raises(arpc.RegistrationError, match="Graceful stands around handlers"):
            await arpc.connect(server.address, outgoing=[graceful])
        for wrong in (graceful.drain(timeout=0), graceful.shutdown(server, timeout=-1)):
            with pytest.raises(ValueError, match=r"timeout is seconds above 0, or None, not (0|-1)"):
                await wrong
        assert not graceful.draining
    with pytest.raises(ValueError, match="message is what callers are told"):
        Graceful("")
