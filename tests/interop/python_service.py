"""What the Python side serves to Go, whether it is the server or the client: the twin of go/service.go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import arpc

LONG_METHOD = "/" + "m" * 126
"""As long as a method may be: 127 bytes."""


@dataclass
class Person:
    name: str
    age: int


class Seen(NamedTuple):
    """A message as a handler got it."""

    method: str
    kind: str
    body: Any


@dataclass
class Order:
    """The first item of ``/stream/make``: how many items the other side wants, and how large."""

    count: int
    size: int


def pattern(size: int) -> bytes:
    """The body of ``size`` bytes that both languages make on their own."""
    period = bytes(range(251))
    return (period * (size // len(period) + 1))[:size]


def numbered(number: int, size: int) -> bytes:
    """An item of ``size`` bytes, at least 8, that both languages make on their own."""
    return f"{number:08}".encode() + pattern(size - 8)


class PythonService:
    """Handlers for Go to call, and the record of what came."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.held = 0
        self.gate = asyncio.Event()
        self.ready: asyncio.Queue[arpc.Peer] = asyncio.Queue()
        self.router = self._router()

    def bodies(self, method: str, kind: str = "call") -> list[Any]:
        """The bodies that came for that method, in their order."""
        return [seen.body for seen in self.seen if seen.method == method and seen.kind == kind]

    def _router(self) -> arpc.Router:
        router = arpc.Router()
        self._add_values(router)
        self._add_errors(router)
        self._add_waiting(router)
        self._add_calls_back(router)
        self._add_streams(router)
        self._add_ends_of_streams(router)
        return router

    def _record(self, ctx: arpc.Context, body: Any) -> None:
        self.seen.append(Seen(ctx.method, ctx.kind, body))

    def _add_values(self, router: arpc.Router) -> None:
        @router.handle(LONG_METHOD)
        @router.handle("/echo")
        async def echo(body: bytes, ctx: arpc.Context) -> bytes:
            self._record(ctx, body)
            return body

        @router.handle("/inline/echo")
        def inline_echo(body: bytes, ctx: arpc.Context) -> bytes:
            self._record(ctx, body)
            return body

        @router.handle("/threaded/echo", threaded=True)
        def threaded_echo(body: bytes, ctx: arpc.Context) -> bytes:
            self._record(ctx, body)
            return body

        @router.handle("/ordered/echo", ordered=True)
        async def ordered_echo(body: bytes, ctx: arpc.Context) -> bytes:
            self._record(ctx, body)
            return body

        @router.handle("/text")
        async def text(body: str, ctx: arpc.Context) -> str:
            self._record(ctx, body)
            return f"{body}, said Python"

        @router.handle("/nil")
        async def nil(body: bytes, ctx: arpc.Context) -> None:
            self._record(ctx, body)

        @router.handle("/person")
        async def person(body: Person, ctx: arpc.Context) -> Person:
            self._record(ctx, body)
            return Person(body.name, body.age + 1)

        @router.handle("/note")
        def note(body: str, ctx: arpc.Context) -> None:
            self._record(ctx, body)

        @router.handle("/notes")
        def notes() -> list[str]:
            return self.bodies("/note", "notify")

    def _add_errors(self, router: arpc.Router) -> None:
        @router.handle("/fail")
        async def fail(body: str) -> None:
            raise arpc.RpcError(f"boom: {body}")

        @router.handle("/fail/empty")
        async def fail_empty() -> None:
            raise arpc.RpcError("")

        @router.handle("/crash")
        async def crash() -> None:
            raise RuntimeError("a secret of the implementation")

    def _add_waiting(self, router: arpc.Router) -> None:
        @router.handle("/hold")
        async def hold() -> str:
            gate = self.gate
            self.held += 1
            await gate.wait()
            return "released"

        @router.handle("/release")
        async def release() -> int:
            held, self.held = self.held, 0
            self.gate.set()
            self.gate = asyncio.Event()
            return held

        @router.handle("/ready")
        async def ready(ctx: arpc.Context) -> None:
            self.ready.put_nowait(ctx.peer)

        @router.handle("/close")
        async def close(ctx: arpc.Context) -> None:
            await ctx.peer.close()

    def _add_calls_back(self, router: arpc.Router) -> None:
        @router.handle("/client/add")
        async def add(a: int, b: int) -> int:
            return a + b

        @router.handle("/whoami")
        async def whoami(a: int, b: int, ctx: arpc.Context) -> int:
            return await ctx.peer.call("/client/add", {"a": a, "b": b}, returns=int)

        @router.handle("/countdown")
        async def countdown(n: int, ctx: arpc.Context) -> list[str]:
            deeper = await ctx.peer.call("/countdown", n - 1, returns=list[str]) if n else []
            return [f"py {n}", *deeper]

    def _add_streams(self, router: arpc.Router) -> None:
        @router.handle("/stream/echo")
        async def echo(items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for item in items:
                yield item

        @router.handle("/stream/text")
        async def text(items: AsyncIterator[str], ctx: arpc.Context) -> AsyncIterator[str]:
            async for item in items:
                self._record(ctx, item)
                yield f"{item}, said Python"

        @router.handle("/stream/person")
        async def person(items: AsyncIterator[Person]) -> AsyncIterator[Person]:
            async for one in items:
                yield Person(one.name, one.age + 1)

        @router.handle("/stream/make")
        async def make(order: Order, ctx: arpc.Context) -> AsyncIterator[bytes]:
            self._record(ctx, order)
            for number in range(order.count):
                yield numbered(number, order.size)

        @router.handle("/stream/sum")
        async def sum_up(items: AsyncIterator[int]) -> int:
            return sum([item async for item in items])

        @router.stream("/stream/greet")
        async def greet(stream: arpc.Stream[bytes, str]) -> None:
            await stream.send("welcome")

    def _add_ends_of_streams(self, router: arpc.Router) -> None:
        async def keep(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            async for item in stream:
                self._record(ctx, item)
            self._record(ctx, None)

        @router.stream("/stream/hush")
        async def hush(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            await stream.end()
            await keep(stream, ctx)

        @router.stream("/stream/last")
        async def last(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            await stream.send("the last")
            await stream.end()
            await keep(stream, ctx)

        @router.stream("/stream/returns")
        async def returns(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            self._record(ctx, await stream.recv())
            await stream.send("that is all")

        @router.stream("/stream/raises")
        async def raises(stream: arpc.Stream[str, str], ctx: arpc.Context) -> None:
            self._record(ctx, await stream.recv())
            await stream.send("that is all")
            raise arpc.RpcError("of no use to Go")
