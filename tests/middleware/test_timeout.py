"""Timeout around handlers and around what goes out: what takes too long is ended, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import arpc
from arpc.middleware import Next, Timeout
from tests.tools import eventually


class Slow:
    def __init__(self) -> None:
        self.ended: list[str] = []
        self.router = arpc.Router()

        @self.router.handle("/sleep")
        async def sleep(seconds: float) -> float:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                raise
            return seconds

        @self.router.handle("/prompt")
        async def prompt() -> int:
            return 7

        @self.router.handle("/own")
        async def own() -> None:
            await asyncio.sleep(0)
            raise TimeoutError("the handler's own")

        @self.router.handle("/refuses")
        async def refuses() -> None:
            await asyncio.sleep(0)
            raise arpc.RpcError("no", arpc.Code.NOT_FOUND)

        @self.router.stream("/ticks")
        async def ticks() -> AsyncIterator[int]:
            for number in range(3):
                yield number
                await asyncio.sleep(0.02)


async def test_a_handler_that_takes_too_long() -> None:
    slow = Slow()
    serving = arpc.serve("mem://0", slow.router, middleware=[Timeout(0.02)])
    async with serving as server, arpc.connect(server.address) as peer:
        with pytest.raises(arpc.RemoteError, match=r"^/sleep took longer than 0\.02 s$") as caught:
            await peer.call("/sleep", 60.0)
        assert caught.value.code == "deadline_exceeded"
        assert slow.ended == ["cancelled"]
        assert await peer.call("/sleep", 0.0) == 0.0
        assert await peer.call("/prompt") == 7
        with pytest.raises(arpc.RemoteError, match=r"^no$"):
            await peer.call("/refuses")
        with pytest.raises(arpc.RemoteError, match="internal error"):
            await peer.call("/own")
        async with peer.stream("/ticks", returns=int) as stream:
            assert [tick async for tick in stream] == [0, 1, 2]
        await peer.notify("/sleep", 60.0)
        await eventually(lambda: slow.ended == ["cancelled"] * 2)


async def test_a_call_that_takes_too_long() -> None:
    slow = Slow()
    around = [Timeout(0.02)]
    async with arpc.serve("mem://0", slow.router) as server, arpc.connect(server.address, outgoing=around) as peer:
        with pytest.raises(arpc.CallTimeout, match=r"^/sleep took longer than 0\.02 s$"):
            await peer.call("/sleep", 60.0)
        await eventually(lambda: slow.ended == ["cancelled"])
        with pytest.raises(arpc.CallTimeout):  # the call's own, which is shorter
            await peer.call("/sleep", 60.0, timeout=0.001)
        assert await peer.call("/sleep", 0.0) == 0.0
        await peer.notify("/sleep", 0.0)
        peer.try_notify("/sleep", 0.0)
        async with peer.stream("/ticks", returns=int) as stream:
            assert [tick async for tick in stream] == [0, 1, 2]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", None])
def test_a_time_is_seconds_above_zero(seconds: Any) -> None:
    with pytest.raises(ValueError, match="seconds above 0"):
        Timeout(seconds)


async def test_a_call_that_is_answered_at_once() -> None:
    async def answers(ctx: arpc.Outgoing, call_next: Next) -> bytes:
        return b"5"

    async with (
        arpc.serve("mem://0", arpc.Router()) as server,
        arpc.connect(server.address, outgoing=[Timeout(0.02), answers]) as peer,
    ):
        assert await peer.call("/x", returns=int) == 5
