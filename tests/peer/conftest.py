"""Peers in pairs, and what must be left of them after every test: nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import pytest

import arpc
from arpc import endpoint as endpoints
from arpc.codecs import Codec
from arpc.connection import Connection
from arpc.deadlines import bounded
from arpc.endpoint import Endpoint
from arpc.options import OptionKeywords
from arpc.wheel import wheel_of
from tests.tools import eventually

ANY_ADDRESS = {"mem": "mem://0", "tcp": "tcp://127.0.0.1:0"}


@dataclass
class Link:
    """A connection, seen from both of its ends."""

    server: arpc.Server
    client: arpc.Client
    """The peer that dialled."""
    peer: arpc.Peer
    """The peer that was accepted."""

    @property
    def both(self) -> tuple[arpc.Peer, arpc.Peer]:
        return self.client, self.peer


class Dial(Protocol):
    """Connects to a server; the client is closed after the test."""

    def __call__(
        self,
        server: arpc.Server,
        router: arpc.Router | None = None,
        *,
        codec: str | Codec | None = None,
        options: OptionKeywords | None = None,
    ) -> Awaitable[Link]: ...


class Connect(Protocol):
    """Starts a server with one router and connects to it with another; ``options`` are those of both sides."""

    def __call__(
        self,
        served: arpc.Router | None = None,
        calling: arpc.Router | None = None,
        *,
        scheme: str = "mem",
        codec: str | Codec | None = None,
        options: OptionKeywords | None = None,
        server_options: OptionKeywords | None = None,
        client_options: OptionKeywords | None = None,
    ) -> Awaitable[Link]: ...


class Ends:
    """One stream, both of whose ends the test holds; see :class:`Pair`."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.finish: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The handler ends as this does."""
        self.cancelled = 0
        """So often the handler was cancelled, and went on."""
        self.near: arpc.Stream[Any, Any]
        """Of the side that opened it."""
        self.far: arpc.Stream[Any, Any]
        """Of the side that serves it."""

    async def serve(self, stream: arpc.Stream[Any, Any]) -> None:
        self.far = stream
        while not self.finish.done():
            try:
                await asyncio.shield(self.finish)
            except asyncio.CancelledError:
                self.cancelled += 1
        self.finish.result()

    def both(self) -> tuple[arpc.Stream[Any, Any], arpc.Stream[Any, Any]]:
        return self.near, self.far

    def gone(self) -> bool:
        """Both sides have forgotten it."""
        return not any(peer.stats.streams for peer in self.link.both)

    async def close(self) -> None:
        if not self.finish.done():
            self.finish.set_result(None)
        await self.near.close()


class Pair(Protocol):
    """Connects two peers and opens a stream, of bytes both ways; the side ``opener`` opens it."""

    def __call__(
        self,
        opener: str = "client",
        *,
        scheme: str = "mem",
        link: Link | None = None,
        options: OptionKeywords | None = None,
        server_options: OptionKeywords | None = None,
        client_options: OptionKeywords | None = None,
        **opening: Any,
    ) -> Awaitable[Ends]: ...


@pytest.fixture
async def pair(connect: Connect) -> AsyncIterator[Pair]:
    made: list[Ends] = []
    next_one: list[Ends] = []
    router = arpc.Router()

    @router.stream("/pair")
    async def serve(stream: arpc.Stream[bytes, bytes]) -> None:
        await next_one.pop().serve(stream)

    async def pair(
        opener: str = "client",
        *,
        scheme: str = "mem",
        link: Link | None = None,
        options: OptionKeywords | None = None,
        server_options: OptionKeywords | None = None,
        client_options: OptionKeywords | None = None,
        **opening: Any,
    ) -> Ends:
        if link is None:
            link = await connect(
                router,
                router,
                scheme=scheme,
                options=options,
                server_options=server_options,
                client_options=client_options,
            )
        ends = Ends(link)
        next_one.append(ends)
        peer = link.client if opener == "client" else link.peer
        given: dict[str, Any] = {"returns": bytes, "sends": bytes, **opening}
        ends.near = await peer.open_stream("/pair", **given)
        await eventually(lambda: hasattr(ends, "far"))
        made.append(ends)
        return ends

    yield pair
    for ends in made:
        await ends.close()


@pytest.fixture
async def dial(nothing_left: None) -> AsyncIterator[Dial]:
    clients: list[arpc.Client] = []

    async def dial(
        server: arpc.Server,
        router: arpc.Router | None = None,
        *,
        codec: str | Codec | None = None,
        options: OptionKeywords | None = None,
    ) -> Link:
        known = server.peers
        client = await arpc.connect(server.address, router, codec=codec, **(options or {}))
        clients.append(client)
        await eventually(lambda: server.peers - known or client.closed)
        (peer,) = server.peers - known
        return Link(server, client, peer)

    yield dial
    for client in clients:
        await client.close()


@pytest.fixture
async def connect(dial: Dial) -> AsyncIterator[Connect]:
    servers: list[arpc.Server] = []

    async def connect(
        served: arpc.Router | None = None,
        calling: arpc.Router | None = None,
        *,
        scheme: str = "mem",
        codec: str | Codec | None = None,
        options: OptionKeywords | None = None,
        server_options: OptionKeywords | None = None,
        client_options: OptionKeywords | None = None,
    ) -> Link:
        serving: OptionKeywords = {**(options or {}), **(server_options or {})}
        dialling: OptionKeywords = {**(options or {}), **(client_options or {})}
        server = await arpc.serve(ANY_ADDRESS[scheme], served or arpc.Router(), codec=codec, **serving)
        servers.append(server)
        return await dial(server, calling, codec=codec, options=dialling)

    yield connect
    with suppress(AssertionError):
        await eventually(lambda: not list(unfinished()), within=1.0)
    left = list(unfinished())
    for server in servers:
        await server.stop()
    if left:
        pytest.fail("before anything was closed, the test left:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
async def nothing_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Fails a test after which a call, a stream, a handler or a timeout is left, with connections closed or open."""
    begin = arpc.Stream.begin

    def noting(stream: arpc.Stream[Any, Any], *args: Any, **options: Any) -> None:
        begin(stream, *args, **options)
        if stream._limit is not None or stream._idle is not None:
            timed.add(stream)

    monkeypatch.setattr(arpc.Stream, "begin", noting)
    yield
    with suppress(AssertionError):
        await eventually(lambda: not list(remains()), within=1.0)
    if left := list(remains()):
        pytest.fail("the test left:\n  " + "\n  ".join(left), pytrace=False)


def remains() -> Iterator[str]:
    """What is left of endpoints whose connections have all been closed."""
    yield from unfinished()
    for endpoint in of_this_loop():
        for connection in endpoint.connections:
            yield f"{connection.peer!r}: open"
        for connection in endpoint.lingering:
            yield f"{connection.peer!r}: closed, and handlers of its notifies run on"


def unfinished() -> Iterator[str]:
    """Calls, handlers, queued messages and timeouts that have not ended."""
    for endpoint in of_this_loop():
        counters = {"inflight": endpoint.inflight, "starved": len(endpoint.starved), "buffered": endpoint.buffered}
        for name, count in counters.items():
            if count:
                yield f"{endpoint}: {name} is {count}"
        for connection in endpoint.connections:
            yield from _unfinished(connection)
    wheel = wheel_of(asyncio.get_running_loop())
    slots = [*wheel.slots.values(), *(slot for _, _, slot in wheel._closed)]
    if live := sum(not future.done() for slot in slots for future in slot):
        yield f"the wheel holds {live} futures"
    if bounded:
        yield f"{len(bounded)} handlers have a deadline"
    for stream in list(timed):
        if stream.peer.loop is asyncio.get_running_loop() and (stream._limit is not None or stream._idle is not None):
            yield f"{stream!r}: a timer"


timed: WeakSet[arpc.Stream[Any, Any]] = WeakSet()
"""Streams that were begun with a timer."""


def _unfinished(connection: Connection) -> Iterator[str]:
    if pending := connection.session.pending:
        yield f"{connection.peer!r}: {len(pending)} pending calls"
    if serving := connection.session.serving:
        yield f"{connection.peer!r}: {len(serving)} requests being served"
    inbox = connection.inbox
    if inbox is not None:
        yield f"{connection.peer!r}: {inbox.waiting} messages wait, {len(inbox.suspended)} handlers run"
    if connection.acceptor is not None:
        yield f"{connection.peer!r}: {len(connection.acceptor.tasks)} handlers of streams run"
    flows = connection.session.flows
    if flows is not None and (len(flows) or flows.queued):
        yield f"{connection.peer!r}: {len(flows)} streams, {flows.queued} bytes of their items"
    if connection.holds:
        yield f"{connection.peer!r}: reading is paused ({connection.holds})"


def of_this_loop() -> list[Endpoint]:
    """Every endpoint that was made in the running event loop."""
    loop = asyncio.get_running_loop()
    return [endpoint for endpoint in endpoints._endpoints or () if endpoint.loop is loop]


@pytest.fixture
async def eager_tasks() -> AsyncIterator[None]:
    """Tasks start at once, inside of what creates them, as with ``asyncio.eager_task_factory``."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    make: Any = asyncio.Task

    # Not asyncio's own factory: some versions of it refuse an argument that uvloop hands on.
    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = make(coroutine, loop=loop, **{**options, "eager_start": True})
        return task

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    yield
    loop.set_task_factory(None)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged so far, with tracebacks."""
    caplog.set_level("DEBUG", "arpc")
    return lambda: caplog.text
