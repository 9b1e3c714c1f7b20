"""No middleware changes what callers get: any of them, in any order, under many calls at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

import arpc
from arpc.middleware import (
    Auth,
    BearerToken,
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Graceful,
    Hedge,
    LoadShed,
    Logger,
    Metrics,
    Middleware,
    RateLimit,
    Recover,
    Retry,
    Timeout,
    Tokens,
    Tracing,
    Validate,
)

TOKEN = "a token that is long enough"

BOTH: dict[str, Callable[[], Middleware]] = {
    "logger": lambda: Logger("arpc.orders", level=logging.DEBUG, error_level=logging.DEBUG),
    "timeout": lambda: Timeout(30),
    "concurrency": lambda: ConcurrencyLimit(3, per="server", queue=10_000),
    "rate": lambda: RateLimit(1e6),
    "shed": lambda: LoadShed(max_inflight=100_000, max_lag=1000),
    "validate": lambda: Validate(1 << 20, 1 << 20),
    "metrics": lambda: Metrics(CollectorRegistry()),
    "tracing": lambda: Tracing(TracerProvider()),
    "breaker": lambda: CircuitBreaker(1_000_000),
    "cache": lambda: Cache(60, methods=["/double"]),
}
INCOMING = BOTH | {
    "recover": lambda: Recover(lambda ctx, error: None),
    "graceful": Graceful,
    "auth": lambda: Auth(Tokens({TOKEN: "tester"})),
}
OUTGOING = BOTH | {
    "retry": lambda: Retry(3, idempotent=["/double"]),
    "hedge": lambda: Hedge(20, methods=["/double"]),
}


def make_router() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/double")
    async def double(number: int) -> int:
        if number % 3 == 0:
            await asyncio.sleep(0)
        return number * 2

    @router.handle("/plain")
    def plain(text: str, ctx: arpc.Context) -> str:
        assert arpc.current() is ctx
        return text.upper()

    @router.handle("/refuses")
    async def refuses(number: int) -> int:
        await asyncio.sleep(0)
        raise arpc.RpcError(f"not {number}", arpc.Code.NOT_FOUND, {"number": number})

    @router.handle("/fails")
    async def fails() -> None:
        raise ValueError("inside")

    @router.stream("/count")
    async def count(until: int) -> AsyncIterator[int]:
        for number in range(until):
            yield number

    return router


async def outcome(peer: arpc.Peer, number: int) -> object:
    """What one of many gets: the answer, or the error as a caller sees it."""
    try:
        match number % 5:
            case 0:
                return await peer.call("/double", number, returns=int)
            case 1:
                return await peer.call("/plain", f"text {number}", returns=str)
            case 2:
                return await peer.call("/refuses", number, returns=int)
            case 3:
                async with peer.stream("/count", number % 7, returns=int) as items:
                    return [item async for item in items]
            case _:
                return await peer.call("/fails")
    except arpc.RemoteError as error:
        return type(error), error.message, error.code, error.details


async def outcomes(incoming: list[str], outgoing: list[str]) -> list[object]:
    """Of sixty at once."""
    around = [OUTGOING[name]() for name in outgoing]
    router = make_router()
    stands = {name: INCOMING[name]() for name in incoming}
    auth = stands.get("auth")
    if isinstance(auth, Auth):
        router.include(auth.router)
        around.insert(0, BearerToken(TOKEN))
    serving = arpc.serve("mem://0", router, middleware=list(stands.values()))
    async with serving as server, arpc.connect(server.address, outgoing=around) as peer:
        return await asyncio.gather(*(outcome(peer, number) for number in range(60)))


def orders(names: dict[str, Any]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(names)), unique=True)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "arpc")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(incoming=orders(INCOMING), outgoing=orders(OUTGOING))
def test_any_of_them_in_any_order(incoming: list[str], outgoing: list[str]) -> None:
    assert arpc.run(outcomes(incoming, outgoing)) == arpc.run(outcomes([], []))


@pytest.mark.parametrize("backwards", [False, True])
async def test_all_of_them(backwards: bool) -> None:
    step = -1 if backwards else 1
    assert await outcomes(list(INCOMING)[::step], list(OUTGOING)[::step]) == await outcomes([], [])
