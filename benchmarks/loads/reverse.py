"""Calls from the server to the client, over the connections that the client has made."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

from benchmarks import histogram
from benchmarks.loads.calls import Connect
from benchmarks.workload import Load, Result


async def run(address: str, load: Load, connect: Connect) -> Result:
    """Have the server run its part of the callers as a closed loop on each connection, all at the same time."""
    share = replace(load, pattern="closed", callers=max(load.callers // load.connections, 1), connections=1)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(address)) for _ in range(load.connections)]
        cpu = time.process_time()
        parts = await asyncio.gather(*(connection["reverse"](share) for connection in connections))
        cpu = time.process_time() - cpu
    return Result(
        calls=sum(part.calls for part in parts),
        total=sum(part.total for part in parts),
        errors=sum(part.errors for part in parts),
        seconds=load.seconds,
        cpu=cpu,
        histogram=str(histogram.merged([part.histogram for part in parts]).encode(), "ascii"),
    )
