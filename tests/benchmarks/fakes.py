"""A server in this process, for loads: connections to it answer as a test wants it, and are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.loads import Call, Calls
from benchmarks.workload import Load, Result

ADDRESS = "fake://1"
Answer = Callable[[Any], Awaitable[Any]]
BUSY = 2.0**-10
"""Seconds of a `Clock` that each call takes the server: a binary fraction, so that sums are exact."""


async def echo(body: Any) -> Any:
    """The right answer to bytes, in the next turn of the loop."""
    await asyncio.sleep(0)
    return body


async def wrong(_body: Any) -> Any:
    await asyncio.sleep(0)
    return b"wrong"


async def failing(_body: Any) -> Any:
    await asyncio.sleep(0)
    raise ConnectionError("the fake server is gone")


async def silent(_body: Any) -> Any:
    """Never answers."""
    await asyncio.get_running_loop().create_future()


@dataclass
class Server:
    """`answer` is given each body, with `notified` and `reverse` as loads call them."""

    answer: Answer = echo
    notified: Answer = echo
    received: Callable[[], int] = int
    reverse: Callable[[Load], Awaitable[Result]] | None = None
    bodies: list[list[Any]] = field(default_factory=list)
    """That came, of each connection."""
    closed: int = 0

    @property
    def opened(self) -> int:
        return len(self.bodies)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Calls]:
        assert address == ADDRESS
        mine: list[Any] = []
        self.bodies.append(mine)

        async def call(body: Any) -> Any:
            mine.append(body)
            return await self.answer(body)

        async def count(_body: Any) -> int:
            return self.received()

        calls: dict[str, Call] = {"bytes": call, "json": call, "say": call, "notify": self.notified, "received": count}
        if self.reverse is not None:
            calls["reverse"] = self.reverse
        try:
            yield calls
        finally:
            self.closed += 1


@dataclass
class Clock:
    """In place of the module time: it stands still, but for what `work` and `server` take."""

    now: float = 1.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 2

    async def work(self, body: Any) -> Any:
        """An echo by a server that is busy with each call for `BUSY` seconds, and with one at a time."""
        self.now += BUSY
        await asyncio.sleep(0)
        return body
