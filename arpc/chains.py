"""The middleware around what an endpoint sends, composed for each method when it is first used."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

from .middleware import Census, Middleware, Next, Target, compose

__all__ = ["Chains"]

METHODS: Final = 4096
"""Methods whose chains are kept; state that has to last belongs to the middleware, not to its chains."""


class Chains:
    """All chains of one endpoint."""

    __slots__ = ("messages", "open", "streams")

    def __init__(self, middleware: tuple[Middleware, ...], endpoint: Census) -> None:
        self.messages = _ByMethod(middleware, "message", endpoint)
        """Around calls and notifies, by method."""
        self.streams = _ByMethod(middleware, "stream", endpoint)
        self.open: set[asyncio.Task[None]] = set()
        """Tasks of the chains around streams that are open: a loop knows its tasks only weakly."""


class _ByMethod(dict[str, Next]):
    __slots__ = ("_endpoint", "_kind", "_middleware")

    def __init__(
        self, middleware: tuple[Middleware, ...], kind: Literal["message", "stream"], endpoint: Census
    ) -> None:
        self._middleware = middleware
        self._kind: Literal["message", "stream"] = kind
        self._endpoint = endpoint

    def __missing__(self, method: str) -> Next:
        if len(self) >= METHODS:
            self.clear()
        target = Target(method, self._kind, True, _same, self._endpoint)
        chain = self[method] = compose(self._middleware, _send, target)
        return chain


def _same(body: Any) -> bytes:
    made: bytes = body
    return made


def _send(ctx: Any) -> Any:
    """The innermost of each chain: the context knows how its message is sent."""
    return ctx.send(ctx)
