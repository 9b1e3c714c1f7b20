"""The drain notice: nothing new is started, what runs goes on, and handlers may still call who said it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import arpc
from arpc.options import OptionKeywords
from tests.peer.conftest import Dial
from tests.peer.raw import NOTIFY, PING, REQUEST, RESPONSE, STREAM, Events, Raw, Received, frame
from tests.tools import eventually

pytestmark = pytest.mark.timeout(20)

GOAWAY = 10
LOCAL = 0x80
EOF = 0x40
CAPABILITIES = (31).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") * 3


class Leaving:
    """A server of raw bytes, with one client of arpc, that may say that it goes away."""

    def __init__(self, raw: Raw, client: arpc.Client, events: Events) -> None:
        self.raw = raw
        self.client = client
        self.events = events

    async def go_away(self, reason: bytes = b"maintenance") -> None:
        await self.raw.send(frame(GOAWAY, data=reason))
        await eventually(lambda: self.events.details("goaway"))

    async def receive(self) -> Received:
        return await asyncio.wait_for(self.raw.receive_frame(), 5)


Start = Callable[..., Awaitable[Leaving]]


@pytest.fixture
async def start(nothing_left: None) -> AsyncIterator[Start]:
    made: list[Leaving] = []
    listener = Raw.listener()

    async def start(router: arpc.Router | None = None, **options: Any) -> Leaving:
        events = Events()
        port = listener.getsockname()[1]
        dialling = asyncio.ensure_future(
            _dial(arpc.connect(f"tcp://127.0.0.1:{port}", router, on_event=events, **options))
        )
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        accepted.setblocking(False)
        raw = Raw(accepted)
        assert (await raw.receive_frame()).command == PING
        await raw.send(frame(5, data=b"arpc+\x01" + CAPABILITIES))
        leaving = Leaving(raw, await dialling, events)
        made.append(leaving)
        return leaving

    yield start
    for leaving in made:
        leaving.raw.close()
        await leaving.client.close()
    listener.close()


async def _dial(connecting: Any) -> arpc.Client:
    client: arpc.Client = await connecting
    return client


async def refused(client: arpc.Client) -> None:
    """Nothing new can be started."""
    for use in (
        client.call("/x", b""),
        client.notify("/x", b""),
        client.open_stream("/x"),
        client.stream("/x", b"x"),
    ):
        with pytest.raises(arpc.ConnectionClosed, match="going away and takes nothing new: maintenance") as caught:
            await use
        assert not caught.value.sent
    with pytest.raises(arpc.ConnectionClosed, match="going away"):
        client.try_notify("/x", b"")


async def test_nothing_new_is_started_and_an_event_tells(start: Start) -> None:
    leaving = await start()
    await leaving.go_away()
    assert leaving.events.details("goaway") == ["maintenance"]
    await refused(leaving.client)
    assert not leaving.client.closed
    await leaving.raw.send(frame(GOAWAY, data=b"again"))  # said once is enough
    await leaving.raw.send(frame(PING))
    assert (await leaving.receive()).command == 5
    assert leaving.events.details("goaway") == ["maintenance"]
    await refused(leaving.client)


async def test_what_was_started_goes_on(start: Start) -> None:
    leaving = await start()
    call = asyncio.create_task(leaving.client.call("/x", b"body", returns=bytes))
    asked = await leaving.receive()
    stream = await leaving.client.open_stream("/stream", returns=bytes)
    opened = await leaving.receive()
    assert opened.command == STREAM | LOCAL
    await leaving.go_away()
    await stream.send(b"item")
    item = await leaving.receive()
    assert (item.command, item.seq, item.data) == (STREAM | LOCAL, opened.seq, b"item")
    stream.try_send(b"item 2")
    assert (await leaving.receive()).data == b"item 2"
    await leaving.raw.send(frame(STREAM | EOF, opened.seq, b"/stream", b"answer"))
    assert [item async for item in stream] == [b"answer"]
    await stream.close()
    assert (await leaving.receive()).command == STREAM | LOCAL | EOF
    await leaving.raw.send(frame(RESPONSE, asked.seq, b"/x", b"answer"))
    assert await call == b"answer"
    ping = asyncio.create_task(leaving.client.ping())
    assert (await leaving.receive()).command == PING
    await leaving.raw.send(frame(5))
    await ping


async def test_handlers_that_serve_the_leaving_peer_may_call_it(start: Start) -> None:
    router = arpc.Router()
    outside = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def in_background(peer: arpc.Peer) -> None:
        await outside.wait()
        await peer.notify("/from-background")

    @router.handle("/nest")
    async def nest(ctx: arpc.Context) -> bytes:
        tasks.append(asyncio.create_task(in_background(ctx.peer)))
        await ctx.peer.notify("/note")
        return await asyncio.create_task(ctx.peer.call("/ask", returns=bytes))

    @router.stream("/nest-stream")
    async def nest_stream(stream: arpc.Stream[bytes, bytes]) -> None:
        tasks.append(asyncio.create_task(in_background(stream.peer)))
        await stream.send(await stream.peer.call("/ask", returns=bytes))

    leaving = await start(router)
    await leaving.go_away()
    await leaving.raw.send(frame(REQUEST, 1, b"/nest"))
    note = await leaving.receive()
    assert (note.command, note.method) == (NOTIFY, b"/note")
    asked = await leaving.receive()
    assert (asked.command, asked.method) == (REQUEST, b"/ask")
    await refused(leaving.client)  # others may not, meanwhile
    await leaving.raw.send(frame(RESPONSE, asked.seq, b"/ask", b"answer"))
    answer = await leaving.receive()
    assert (answer.command, answer.seq, answer.data) == (RESPONSE, 1, b"answer")

    await leaving.raw.send(frame(STREAM | LOCAL, 2, b"/nest-stream"))
    asked = await leaving.receive()
    await leaving.raw.send(frame(RESPONSE, asked.seq, b"/ask", b"answer"))
    item = await leaving.receive()
    assert (item.command, item.seq, item.data) == (STREAM, 2, b"answer")
    await eventually(lambda: not leaving.client.stats.streams)
    outside.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, arpc.ConnectionClosed)  # their handlers have ended


async def test_the_end_after_a_notice_names_its_reason(start: Start) -> None:
    leaving = await start()
    call = asyncio.create_task(leaving.client.call("/x", b""))
    await leaving.receive()
    await leaving.go_away()
    leaving.raw.end()
    with pytest.raises(arpc.ConnectionClosed, match="maintenance"):
        await call


async def test_a_notice_wakes_who_waits_for_the_socket_only_when_there_is_room(start: Start) -> None:
    """Those who had asked before it came are not refused."""
    leaving = await start(write_buffer=1000)
    waiting: list[asyncio.Task[None]] = []
    while not waiting or waiting[-1].done():
        waiting.append(asyncio.create_task(leaving.client.notify("/x", bytes(100_000))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await leaving.go_away()
    for _ in waiting:
        assert len((await leaving.receive()).data) == 100_000
    await asyncio.gather(*waiting)
    await refused(leaving.client)


async def test_a_stopped_server_says_so(dial: Dial) -> None:
    events, router = Events(), arpc.Router()
    started = asyncio.Event()

    @router.handle("/hang")
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    for scheme in ("mem://0", "tcp://127.0.0.1:0"):
        server = await arpc.serve(scheme, router)
        link = await dial(server, options={"on_event": events})
        started.clear()
        call = asyncio.create_task(link.client.call("/hang"))
        await started.wait()
        await server.stop()
        assert events.details("goaway") == ["the server was stopped"]
        with pytest.raises(arpc.ConnectionClosed, match="the server was stopped"):
            await call
        names = [event.name for event in events.seen]
        assert names.index("goaway") < names.index("close")
        events.seen.clear()


async def test_without_the_capability_nothing_is_said(dial: Dial) -> None:
    less: list[OptionKeywords] = [
        {"extensions": False},
        {"capabilities": arpc.Capability(31) & ~arpc.Capability.GOAWAY},
    ]
    for options in less:
        events = Events()
        server = await arpc.serve("mem://0", arpc.Router())
        link = await dial(server, options={"on_event": events, **options})
        await server.stop()
        await link.client.wait_closed()
        assert events.details("goaway") == []
        assert len(events.details("close")) == 1
