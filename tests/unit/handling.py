"""Runs a handler as an endpoint would, without one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from arpc.codecs import Codec, JsonCodec
from arpc.context import Context
from arpc.frame import REQUEST
from arpc.handler import ASYNC, ORDERED, Handler, Route, RunInThread
from arpc.middleware import Middleware
from arpc.peer import Peer
from arpc.threads import Threads

JSON = JsonCodec()


class Message:
    """A request whose sender nobody asks for."""

    def __init__(self, body: bytes, method: bytes = b"/test") -> None:
        self._frame = (REQUEST, 0, 0, 1, method, body)

    def context(self) -> Context:
        return Context(cast(Peer, None), self._frame)


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """As an endpoint does it, which tells the pool to start no threads after its end."""
    threads = Threads(1)
    try:
        return await threads.run(function, *args)
    finally:
        threads.shut_down()


async def run(route: Route, body: bytes = b"", method: bytes = b"/test") -> bytes:
    """The answer of a compiled handler; raises what it raises."""
    start, finish, mode, _ = route
    value = start(Message(body, method), body)
    return finish(await value if mode % ORDERED == ASYNC else value)


async def answer(
    function: Callable[..., Any],
    body: bytes = b"",
    *,
    codec: Codec = JSON,
    threaded: bool = False,
    run_in_thread: RunInThread = in_thread,
    middleware: Sequence[Middleware] = (),
) -> bytes:
    """The answer of a function to a body; what its annotations name is looked up where this is called."""
    handler = Handler("/test", function, threaded=threaded, scope=sys._getframe(1).f_locals)
    return await run(handler.compile(codec, run_in_thread, middleware), body)


class Counter:
    """An object that can be called, with methods of every kind."""

    def __init__(self, step: int = 1) -> None:
        self.step = step

    def __call__(self, number: int) -> int:
        return number + self.step

    async def later(self, number: int, ctx: Context) -> int:
        assert ctx.method == "/test"
        return number + self.step

    @staticmethod
    def twice(number: int) -> int:
        return number * 2

    @classmethod
    async def named(cls, suffix: str) -> str:
        return cls.__name__ + suffix


class LaterCounter:
    async def __call__(self, number: int) -> int:
        return number + 1
