"""Credentials among other middleware around what goes out: their own call waits for nothing that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import arpc
from arpc.middleware import (
    Auth,
    BearerToken,
    CircuitBreaker,
    ConcurrencyLimit,
    Layer,
    LoadShed,
    Next,
    Target,
)
from tests.middleware.authenticating import TOKEN, Clock, linked, tokens


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize(
    "limit",
    [
        lambda: ConcurrencyLimit(1, per="peer", queue=10),
        lambda: ConcurrencyLimit(1, per="server", queue=10),
        lambda: ConcurrencyLimit(2, per="peer", queue=10),
    ],
)
async def test_a_limit_outside_that_is_full_of_messages_that_wait(address: str, limit: Callable[[], Layer]) -> None:
    async with linked(Auth(tokens()), address=address, outgoing=[limit(), BearerToken(TOKEN)]) as link:
        calls = [link.client.call("/whoami", returns=str, timeout=5) for _ in range(4)]
        assert await asyncio.gather(*calls) == ["ann"] * 4


@pytest.mark.parametrize("limit", [lambda: ConcurrencyLimit(1), lambda: LoadShed(max_inflight=1)])
async def test_a_limit_outside_that_has_no_queue(limit: Callable[[], Layer]) -> None:
    async with linked(Auth(tokens()), outgoing=[limit(), BearerToken(TOKEN)]) as link:
        assert await link.client.call("/whoami", returns=str, timeout=5) == "ann"


async def test_a_stream_and_a_notify_authenticate_in_a_limit_too() -> None:
    async with (
        linked(Auth(tokens()), outgoing=[ConcurrencyLimit(1), BearerToken(TOKEN)]) as link,
        link.client.open_stream("/count", returns=int, timeout=5) as stream,
    ):
        await stream.send(1)
        assert await stream.recv() == 2
    async with linked(Auth(tokens()), outgoing=[ConcurrencyLimit(1), BearerToken(TOKEN)]) as link:
        await asyncio.wait_for(link.client.notify("/whoami"), 5)


async def test_the_trial_of_a_circuit_may_authenticate() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, per="peer", reset=10, clock=clock, counts=lambda ctx, error: True)
    async with linked(Auth(tokens()), outgoing=[breaker, BearerToken(lambda: TOKEN)]) as link:
        assert await link.client.call("/whoami", returns=str) == "ann"
        with pytest.raises(arpc.MethodNotFound):
            await link.client.call("/missing")
        assert breaker.state(link.client) == "open"
        link.peer.identity = None  # as when it has expired
        clock.now += 10
        assert await link.client.call("/whoami", returns=str) == "ann"
        assert breaker.state(link.client) == "closed"


class Ends(Layer):
    """Notes how each message ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        def noted(ctx: arpc.Context) -> Any:
            ctx.on_end(self.end)
            return call_next(ctx)

        return noted

    def end(self, ctx: arpc.Context, error: BaseException | None, size: int) -> None:
        self.seen.append((ctx.method, "ok" if error is None else ctx.code_of(error)))


async def test_a_repeat_ends_the_first_attempt_for_those_inside() -> None:
    outside, inside = Ends(), Ends()
    async with linked(Auth(tokens()), outgoing=[outside, BearerToken(TOKEN), inside]) as link:
        assert await link.client.call("/whoami", returns=str) == "ann"
        link.peer.identity = None
        assert await link.client.call("/whoami", returns=str) == "ann"
        assert inside.seen == [("/whoami", "ok"), ("/whoami", "unauthenticated"), ("/whoami", "ok")]
        assert outside.seen == [("/whoami", "ok")] * 2
