"""A server under attack, with an honest client beside the attackers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Unpack

import arpc
from arpc.options import OptionKeywords
from tests.peer.raw import PING, PONG, REQUEST, Events, Raw, Received, frame
from tests.tools import eventually


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass
class Target:
    """A server under attack, and an honest client beside."""

    router: arpc.Router
    events: Events = field(default_factory=Events)
    noted: list[bytes] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    attackers: list[Raw] = field(default_factory=list)
    server: arpc.Server = field(init=False)
    honest: arpc.Client = field(init=False)

    async def connect(self, *, receive_buffer: int | None = None, accepted: bool = True) -> Raw:
        """An attacker, which the server knows already where ``accepted``."""
        known = self.server.peers if accepted else set()
        raw = await Raw.connect(self.server.address, receive_buffer=receive_buffer)
        self.attackers.append(raw)
        if accepted:
            await eventually(lambda: self.server.peers - known)
        return raw

    async def settled(self) -> Raw:
        """A client whose first frame was a ping: the server may call it."""
        raw = await self.connect()
        await raw.send(frame(PING))
        assert (await raw.receive_frame()).command == PONG
        return raw

    async def call(self, raw: Raw, **options: Any) -> tuple[asyncio.Task[Any], Received]:
        """Calls the attacker; the call and the request that came."""
        call = asyncio.create_task(self.peer().call("/ask", b"?", **options))
        asked = await raw.receive_frame()
        assert (asked.command, asked.method, asked.data) == (REQUEST, b"/ask", b"?")
        return call, asked

    def peer(self) -> arpc.Peer:
        """The attacker, as the server sees it."""
        (peer,) = self.server.peers - {self.honest.state["accepted"]}
        return peer

    async def holds(self, size: int) -> None:
        """The server counts that many bytes of what has not been served."""
        await eventually(lambda: self.server._endpoint.buffered >= size)

    async def unharmed(self) -> None:
        """The honest client is served, the others are gone, and nothing of them is left."""
        assert await self.honest.call("/echo", b"still here", returns=bytes, timeout=5) == b"still here"
        assert await self.honest.call("/later", b"still here", returns=bytes, timeout=5) == b"still here"
        await eventually(lambda: self.server.peers == {self.honest.state["accepted"]}, within=2, why="a peer is left")
        endpoint = self.server._endpoint
        await eventually(lambda: not endpoint.buffered and not endpoint.inflight, within=2, why="still counted")
        await eventually(lambda: not endpoint.lingering, within=2, why="an ended connection is kept")


def make_router(target: Target) -> arpc.Router:
    router = target.router

    @router.handle("/echo")
    def echo(body: bytes) -> bytes:
        return body

    @router.handle("/later")
    async def later(body: bytes) -> bytes:
        await asyncio.sleep(0)
        return body

    @router.handle("/point")
    async def point(body: Point) -> int:
        return body.x + body.y

    @router.handle("/plain")
    async def plain(body: object) -> str:
        return type(body).__name__

    @router.handle("/note")
    def note(body: bytes) -> None:
        target.noted.append(body)

    @router.handle("/hang")
    async def hang(body: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            target.cancelled.append(body.decode())
            raise
        return body

    return router


@asynccontextmanager
async def under_attack(**options: Unpack[OptionKeywords]) -> AsyncIterator[Target]:
    """A served target; at the end it must be unharmed."""
    target = Target(arpc.Router())
    make_router(target)
    options = {"notify_grace": 0.5, **options, "on_event": target.events}
    target.server = await arpc.serve("tcp://127.0.0.1:0", target.router, **options)
    async with target.server, arpc.connect(target.server.address) as target.honest:
        await eventually(lambda: target.server.peers)
        (target.honest.state["accepted"],) = target.server.peers
        try:
            yield target
        finally:
            for raw in target.attackers:
                raw.close()
        await target.unharmed()
