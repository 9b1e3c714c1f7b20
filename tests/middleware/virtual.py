"""An event loop whose time passes only while everybody waits, and then at once: properties of minutes in moments."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Jumping(selectors.SelectSelector):
    """Waits for nothing: it moves the time of its loop on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits, and nothing will ever wake one"
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def block(self, seconds: float) -> None:
        self._jumping.now += seconds


def now() -> float:
    return asyncio.get_running_loop().time()


def block(seconds: float) -> None:
    """Keeps the running loop, which is a virtual one, as a function would that does not return for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.block(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Someone:
    """As much of a peer as is looked at."""

    def __init__(self) -> None:
        self.stats = self
        self.notifies_dropped = 0


class Message:
    """As much of a context as is looked at."""

    kind = "call"
    outgoing = False
    method = "/x"
    body = b""

    def __init__(self, peer: Someone, name: Any = None) -> None:
        self.peer = peer
        self.name = name

    def remaining(self) -> float | None:
        return None
