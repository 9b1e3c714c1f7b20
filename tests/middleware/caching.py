"""A service whose answers are kept, behind a cache on either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

import arpc
from arpc.middleware import Middleware


class Service:
    """Answers the number of the call; fails, or hangs, as it is told."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.release = asyncio.Event()
        self.release.set()
        self.router = arpc.Router()
        for method in ("/get", "/put"):
            self.router.handle(method)(self.get)
        self.router.stream("/get/all")(self.watch)
        self.router.handle("/big")(self.big)
        self.router.handle("/wrong")(self.wrong)

    async def get(self, ctx: arpc.Context, body: Any = None) -> int:
        self.calls += 1
        number, error = self.calls, self.error
        ctx.answer_metadata["number"] = number
        await self.release.wait()
        if error is not None:
            raise error
        return number

    async def watch(self, stream: arpc.Stream[int, int]) -> None:
        self.calls += 1
        await stream.send(self.calls)

    async def big(self, size: int) -> bytes:
        self.calls += 1
        return b"x" * size

    async def wrong(self) -> int:
        self.calls += 1
        return cast(int, "no number")


@asynccontextmanager
async def outgoing(service: Service, *layers: Middleware, address: str = "mem://0") -> AsyncIterator[arpc.Client]:
    async with arpc.serve(address, service.router) as server, arpc.connect(server.address, outgoing=layers) as peer:
        yield peer


@asynccontextmanager
async def incoming(service: Service, *layers: Middleware, address: str = "mem://0") -> AsyncIterator[arpc.Client]:
    serving = arpc.serve(address, service.router, middleware=layers)
    async with serving as server, arpc.connect(server.address) as peer:
        yield peer


both_sides = pytest.mark.parametrize("side", [outgoing, incoming])
