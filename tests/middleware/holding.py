"""Handlers that run until the test lets them go, served to the peers of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import arpc
from arpc.middleware import Middleware
from tests.tools import eventually

ADDRESSES = ["mem://0", "tcp://127.0.0.1:0"]


class Holding:
    """``/hold`` and ``/other`` answer their body when :meth:`release` is called for it, ``/free`` at once; ``/stream``
    yields its body, and ends when that is released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}
        self.router = arpc.Router()
        self.router.handle("/hold")(self._hold)
        self.router.handle("/other")(self._hold)
        self.router.handle("/free")(_free)
        self.router.stream("/stream")(self._stream)

    async def _hold(self, name: str) -> str:
        self.begun.append(name)
        try:
            await self._gate(name).wait()
        finally:
            self.ended.append(name)
        return name

    async def _stream(self, name: str) -> AsyncIterator[str]:
        self.begun.append(name)
        try:
            yield name
            await self._gate(name).wait()
        finally:
            self.ended.append(name)

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def release(self, *names: str) -> None:
        for name in names:
            self._gate(name).set()

    async def until_begun(self, *names: str) -> None:
        await eventually(lambda: set(names) <= set(self.begun), why=f"{names} have begun, {self.begun}")


async def _free(name: str) -> str:
    return name


@asynccontextmanager
async def linked(
    holding: Holding,
    middleware: Iterable[Middleware] = (),
    outgoing: Iterable[Middleware] = (),
    *,
    address: str = "mem://0",
    **options: Any,
) -> AsyncIterator[arpc.Client]:
    """A client of those handlers: ``middleware`` stands around them, ``outgoing`` around what the client sends."""
    serving = arpc.serve(address, holding.router, middleware=middleware)
    async with serving as server, arpc.connect(server.address, outgoing=outgoing, **options) as client:
        yield client


def calling(peer: arpc.Peer, method: str, *names: str, **options: Any) -> list[asyncio.Task[str]]:
    """Calls that begin in this order."""
    return [asyncio.create_task(peer.call(method, name, returns=str, **options)) for name in names]


async def settled(condition: Callable[[], object]) -> None:
    """Holds now, and still does when everything that is ready has run."""
    await eventually(condition)
    for _ in range(20):
        await asyncio.sleep(0)
    assert condition()
