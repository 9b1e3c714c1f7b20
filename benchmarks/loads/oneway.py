"""Notifies: as many as the senders get rid of. What counts is what the server has handled."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from benchmarks.loads.calls import Calls, Connect
from benchmarks.workload import BODIES, Load, Result

PATIENCE = 10.0
"""Seconds that the server may take to handle what it has not yet, when sending has ended."""


async def run(address: str, load: Load, connect: Connect) -> Result:
    """Send until the window ends, then wait for the server's count. What it does not count in time is an error.

    The rate is that of all notifies from the first sent to the last handled; warm-up lengthens it and is not left out.
    """
    body, _ = BODIES["bytes"](load.size, 0)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(address)) for _ in range(load.connections)]
        earlier = await connections[0]["received"](b"")
        cpu, began = time.process_time(), time.perf_counter()
        end = began + load.warmup + load.seconds

        async def sender(calls: Calls) -> int:
            notify, sent = calls["notify"], 0
            while time.perf_counter() < end:
                for _ in range(100):
                    await notify(body)
                sent += 100
            return sent

        senders = (sender(connections[number % load.connections]) for number in range(load.callers))
        sent = sum(await asyncio.gather(*senders))
        while True:
            received = await connections[0]["received"](b"") - earlier
            now = time.perf_counter()
            if received >= sent or now > end + PATIENCE:
                break
            await asyncio.sleep(0.001)
        cpu = time.process_time() - cpu
    return Result(received, received, abs(sent - received), now - began, cpu)
