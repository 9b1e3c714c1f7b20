"""Streams that stay open and do nothing: what `benchmarks.memory` weighs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack

from benchmarks.loads.calls import Connect, Outgoing
from benchmarks.workload import BODIES, Load, Result


async def run(address: str, load: Load, connect: Connect) -> Result:
    """For each line of standard input, open so many more streams, send one item on each, and say how many there are.

    When standard input is closed they are ended; a stream of which the server has not read one item is an error.
    """
    body, _ = BODIES["bytes"](load.size, 0)
    streams: list[Outgoing] = []
    cpu, began = time.process_time(), time.perf_counter()
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(address)) for _ in range(load.connections)]
        while line := await asyncio.to_thread(sys.stdin.readline):
            for _ in range(int(line)):
                stream: Outgoing = await connections[len(streams) % load.connections]["stream"](None)
                await stream.send(body)
                streams.append(stream)
            await asyncio.gather(*(calls["bytes"](body) for calls in connections))  # comes after the items
            print(json.dumps({"streams": len(streams)}), flush=True)
        totals = await asyncio.gather(*(stream.total() for stream in streams))
    right = totals.count(1)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Result(right, right, len(totals) - right, seconds, cpu)
