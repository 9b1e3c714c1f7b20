"""What ours pays for middleware: typed JSON calls through a chain of five, beside the same without, which `ours` makes.

They take the case `chain` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import arpc
from arpc.middleware import (
    Auth,
    BearerToken,
    ConcurrencyLimit,
    Logger,
    Metrics,
    Middleware,
    Timeout,
    Tokens,
    authenticate,
)
from benchmarks.loads.calls import Calls
from benchmarks.opponents.ours import Ours, echoes
from benchmarks.workload import PERSON, Person, Setup

TOKEN = "the token of the benchmark"


class OursChain(Ours):
    """Five around the server's handlers: Logger below its level, Timeout, ConcurrencyLimit, Metrics, Auth."""

    name = "ours-chain"
    title = "arpc, 5 middlewares"
    wire = hello = False
    bodies = frozenset({"json"})
    patterns = frozenset({"extras"})
    packages = (*Ours.packages, "prometheus-client")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        auth = Auth(Tokens({TOKEN: "benchmark"}))
        chain: list[Middleware] = [Logger(), Timeout(30), ConcurrencyLimit(10_000), Metrics(), auth]
        router = echoes()
        router.include(auth.router)
        async with arpc.serve("tcp://127.0.0.1:0", router, middleware=chain) as server:
            yield server.address

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        async with arpc.connect(address) as peer:
            await authenticate(peer, BearerToken(TOKEN))
            call = peer.call
            yield {"json": lambda body: call(PERSON, body, returns=Person)}
