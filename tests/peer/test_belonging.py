"""Where an object may be used, and what it says about itself."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.tools import eventually

Log = Callable[[], str]
SCHEMES = pytest.mark.parametrize("scheme", ["mem", "tcp"])


# Where an object may be used.


async def test_from_another_thread(connect: Connect) -> None:
    link = await connect()
    errors: list[BaseException] = []

    def use() -> None:
        peer = link.client
        for made in (peer.call, peer.notify):
            with pytest.raises(arpc.LoopError, match="another thread") as caught:
                asyncio.run(made("/x"))
            errors.append(caught.value)
        for closing in (peer.ping, peer.close, peer.wait_closed, link.server.stop, link.server.wait_closed):
            with pytest.raises(arpc.LoopError, match="another thread") as caught:
                asyncio.run(closing())
            errors.append(caught.value)
        with pytest.raises(arpc.LoopError, match="another thread") as caught:
            peer.try_notify("/x")
        errors.append(caught.value)

    await asyncio.to_thread(use)
    assert len(errors) == 8
    assert all(isinstance(error, RuntimeError) for error in errors)
    assert await link.client.ping() > 0
    assert threading.active_count() < 20


def test_from_another_event_loop() -> None:
    """Of the same thread: the first one stands still meanwhile, and goes on afterwards."""

    async def start() -> tuple[arpc.Server, arpc.Client]:
        server = await arpc.serve("mem://0", arpc.Router())
        return server, await arpc.connect(server.address)

    async def misuse(server: arpc.Server, peer: arpc.Client) -> int:
        def call() -> Any:
            return peer.call("/x")

        uses = [call, peer.ping, peer.close, peer.wait_closed, server.stop, server.wait_closed]
        for use in uses:
            with pytest.raises(arpc.LoopError, match="another event loop"):
                await use()
        with pytest.raises(arpc.LoopError, match="another event loop"):
            peer.try_notify("/x")
        return len(uses)

    async def finish(server: arpc.Server, peer: arpc.Client) -> None:
        assert await peer.ping() > 0
        await peer.close()
        await server.stop()

    with asyncio.Runner() as one:
        server, peer = one.run(start())
        with asyncio.Runner() as other:
            assert other.run(misuse(server, peer)) == 6
        one.run(finish(server, peer))


FORK = """
import asyncio, os, sys
import arpc

async def misuse(peer):
    for use in (peer.call("/x"), peer.notify("/x"), peer.ping(), peer.close()):
        try:
            await use
        except arpc.LoopError as error:
            assert "before a fork" in str(error), error
        else:
            raise AssertionError("used")
    try:
        peer.try_notify("/x")
    except arpc.LoopError:
        pass
    async with arpc.serve("mem://new", arpc.Router()) as server, arpc.connect(server.address) as own:
        assert await own.ping() > 0

async def main():
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server, arpc.connect(server.address) as peer:
        child = os.fork()
        if not child:
            try:
                asyncio.run(misuse(peer))
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert await peer.ping() > 0
        return os.waitstatus_to_exitcode(status)

sys.exit(RUN(main()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.parametrize("run", ["asyncio.run", "arpc.run"])
def test_after_a_fork(run: str) -> None:
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK.replace("RUN", run)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# What they tell.


async def test_events_come_in_order(connect: Connect) -> None:
    events: list[tuple[str, str, arpc.Peer]] = []

    def note(side: str) -> Callable[[arpc.Event], None]:
        return lambda event: events.append((side, event.name, event.peer))

    router = arpc.Router()

    @router.handle("/x")
    def handle(ctx: arpc.Context) -> None:
        events.append(("server", "message", ctx.peer))

    link = await connect(
        router, server_options={"on_event": note("server")}, client_options={"on_event": note("client")}
    )
    await link.client.call("/x")
    await link.client.close()
    await eventually(lambda: link.peer.closed)
    assert [(name, peer) for side, name, peer in events if side == "server"] == [
        ("open", link.peer),
        ("message", link.peer),
        ("close", link.peer),
    ]
    assert [(name, peer) for side, name, peer in events if side == "client"] == [
        ("open", link.client),
        ("close", link.client),
    ]


async def test_a_close_event_says_why(connect: Connect) -> None:
    details: dict[str, str] = {}

    def note(event: arpc.Event) -> None:
        if event.name == "close":
            details[type(event.peer).__name__] = event.detail

    link = await connect(options={"on_event": note})
    await link.client.close()
    await eventually(lambda: len(details) == 2)
    assert details == {"Client": "it was closed by this side", "Peer": "the other side closed the connection"}
    link = await connect(options={"on_event": note})
    link.peer._connection.data_received(b"\xff" * 16)
    await eventually(lambda: link.client.closed)
    assert "claims a body" in details["Peer"] or "unknown command" in details["Peer"]


async def test_an_event_handler_that_fails_harms_nobody(connect: Connect, logged: Log) -> None:
    def fail(event: arpc.Event) -> None:
        raise ValueError(event.name)

    link = await connect(options={"on_event": fail})
    assert await link.client.ping() > 0
    assert logged().count("on_event failed") == 2


async def test_state_stats_and_repr(connect: Connect) -> None:
    link = await connect(scheme="tcp")
    client, peer = link.both
    client.state.user = "Ann"
    assert (client.state["user"], client.state, peer.state) == ("Ann", {"user": "Ann"}, {})
    with pytest.raises(AttributeError, match="other"):
        client.state.other  # noqa: B018
    assert client.stats == peer.stats == arpc.Stats()
    assert repr(client) == f"<arpc.Client {link.server.address}>"
    assert repr(peer) == f"<arpc.Peer {peer.address}>"
    assert peer.address.startswith("tcp://127.0.0.1:")
    assert link.server.address in repr(link.server)
    assert "1 connection" in repr(link.server)
    assert client.address == link.server.address
    assert link.server.addresses == [link.server.address]
    await client.close()
    assert repr(client) == f"<arpc.Client {link.server.address} closed>"


async def test_capabilities(connect: Connect) -> None:
    link = await connect(server_options={"max_body": 12345})
    for peer in link.both:
        assert peer.remote_capabilities.extended
    assert link.client.remote_capabilities.max_body == 12345
    sides: list[arpc.options.OptionKeywords] = [{"extensions": False}, {"extensions": True}]
    for server, client in (sides, sides[::-1], (sides[0], sides[0])):
        link = await connect(server_options=server, client_options=client)
        for peer in link.both:
            assert peer.remote_capabilities == arpc.Capabilities()
            assert not peer.remote_capabilities.extended


async def test_a_forgotten_await_is_visible() -> None:
    """What is not awaited is no peer: type checkers, the first use of it, and a warning when it is dropped say so."""
    starting: Any = arpc.serve("mem://0", arpc.Router())
    connecting: Any = arpc.connect("mem://0")
    for forgotten, kind in ((starting, arpc.Starting), (connecting, arpc.Connecting)):
        assert type(forgotten) is kind
        assert inspect.isawaitable(forgotten)
        for name in ("call", "notify", "peers", "address"):
            with pytest.raises(AttributeError, match=rf"no {name} yet: write await arpc\."):
                getattr(forgotten, name)
    del forgotten
    with pytest.warns(RuntimeWarning, match=r"arpc\.serve\(\.\.\.\) was never awaited nor entered"):
        del starting
    with pytest.warns(RuntimeWarning, match=r"arpc\.connect\(\.\.\.\) was never awaited nor entered"):
        del connecting
