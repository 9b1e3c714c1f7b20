"""Items of streams, as many as the senders get rid of. What counts is what the server has read.

Each stream is ended by its sender, and answered with the number of its items.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.loads.calls import Connect, Outgoing
from benchmarks.workload import BODIES, Load, Result

BATCH = 10
"""Items between two looks at the clock."""
PATIENCE = 20.0
"""Seconds that the server may take to read what it has not yet, when sending has ended."""


@dataclass(slots=True)
class Sent:
    """One stream, and what was sent on it."""

    stream: Outgoing
    body: object
    count: int = 0
    failed: bool = False


async def run(address: str, load: Load, connect: Connect) -> Result:
    """Each stream has a task that sends on it without a pause; the streams share the connections."""
    return await _run(address, load, connect, turns=False)


async def fan_in(address: str, load: Load, connect: Connect) -> Result:
    """Each connection has a task that goes round its streams and sends one item on each: most are idle at any time."""
    return await _run(address, load, connect, turns=True)


async def _run(address: str, load: Load, connect: Connect, *, turns: bool) -> Result:
    """The rate is that of all items from the opening of the first stream to the last answer, warm-up included.

    A stream that fails is an error and ends its task; so is each item too few or too many in the server's count.
    """
    clock = time.perf_counter
    failures: list[Exception] = []
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(address)) for _ in range(load.connections)]
        cpu, began = time.process_time(), clock()
        streams = [
            Sent(await connections[number % load.connections]["stream"](None), BODIES["bytes"](load.size, number)[0])
            for number in range(load.callers)
        ]
        end = clock() + load.warmup + load.seconds

        async def sender(mine: Sequence[Sent], batch: int) -> None:
            while clock() < end:
                for one in mine:
                    send, body = one.stream.send, one.body
                    try:
                        for _ in range(batch):
                            await send(body)
                    except Exception as error:
                        one.failed = True
                        failures.append(error)
                        return
                    one.count += batch

        async def counted(one: Sent) -> tuple[int, int]:
            """What the server has read of it, and how many of these are errors."""
            if one.failed:
                return 0, 0
            try:
                async with asyncio.timeout(PATIENCE):
                    total = await one.stream.total()
            except Exception as error:
                failures.append(error)
                return 0, 0
            return total, abs(total - one.count)

        if turns:
            senders = [sender(streams[first :: load.connections], 1) for first in range(load.connections)]
        else:
            senders = [sender([one], BATCH) for one in streams]
        await asyncio.gather(*senders)
        totals = await asyncio.gather(*map(counted, streams))
        seconds = clock() - began
        cpu = time.process_time() - cpu
    received, wrong = (sum(column) for column in zip(*totals, strict=True))
    if wrong or failures:
        first = f", the first: {failures[0]!r}" if failures else ""
        print(f"{wrong} items lost or doubled, {len(failures)} failed streams{first}", file=sys.stderr)
    return Result(received, received, wrong + len(failures), seconds, cpu)
