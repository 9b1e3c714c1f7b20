"""The open loop: calls start at a fixed rate, whether or not those before them were answered."""

from __future__ import annotations

import asyncio
import time
from array import array
from contextlib import AsyncExitStack

from benchmarks import histogram
from benchmarks.loads.calls import Call, Connect
from benchmarks.workload import BODIES, Load, Result

TICK = 0.001
"""Seconds between two looks at the clock; what is due by then starts."""
LARGE = 1 << 20
MOST = 20_000
"""Calls under way at the same time; one that is due beyond them waits, and its latency goes on."""
PATIENCE = 20.0


async def run(address: str, load: Load, connect: Connect) -> Result:
    """Calls at `load.rate`, and echoes of 1 MiB at `load.background`, spread over the same connections.

    Latency runs from the moment at which a call was due, so that what a stall holds up counts in full (no coordinated
    omission). What is not answered `PATIENCE` seconds after the window is an error.
    """
    async with AsyncExitStack() as stack:
        connections = [(await stack.enter_async_context(connect(address)))[load.body] for _ in range(load.connections)]
        return await _paced(connections, load)


async def _paced(connections: list[Call], load: Load) -> Result:
    clock = time.perf_counter
    latencies = array("d")
    calls = total = errors = ended = 0
    room = asyncio.Semaphore(MOST)
    running: set[asyncio.Task[None]] = set()
    bodies = [BODIES[load.body](load.size, number) for number in range(load.connections)]
    large, is_large = BODIES["bytes"](LARGE, 0)
    cpu = time.process_time()
    began = clock()
    start, end = began + load.warmup, began + load.warmup + load.seconds

    async def one(number: int, due: float) -> None:
        nonlocal calls, total, errors, ended
        index = number % len(connections)
        body, right = bodies[index]
        try:
            answer = await connections[index](body)
        except Exception:
            errors += 1
            return
        finally:
            ended += 1
            room.release()
        if not right(answer):
            errors += 1
            return
        total += 1
        now = clock()
        if start <= now < end:
            calls += 1
        if start <= due < end:
            latencies.append(now - due)

    async def other(number: int) -> None:
        nonlocal errors, ended
        try:
            errors += not is_large(await connections[number % len(connections)](large))
        except Exception:
            errors += 1
        ended += 1

    def launch(task: asyncio.Task[None]) -> None:
        running.add(task)
        task.add_done_callback(running.discard)

    async def pace() -> None:
        due, number, large_due, large_number = began, 0, began, 0
        while (now := clock()) < end or due < end:
            while due <= now and due < end:
                await room.acquire()
                launch(asyncio.create_task(one(number, due)))
                number += 1
                due = began + number / load.rate
            while load.background and large_due <= now and large_due < end:
                launch(asyncio.create_task(other(large_number)))
                large_number += 1
                large_due = began + large_number / load.background
            await asyncio.sleep(TICK)

    try:
        async with asyncio.timeout(load.warmup + load.seconds + PATIENCE):
            await pace()
            while running:
                await asyncio.wait(running)
    except TimeoutError:
        for task in tuple(running):
            task.cancel()
        errors += max(int((load.rate + load.background) * (end - began)) - ended, 0)  # unanswered, or never sent
    cpu = time.process_time() - cpu
    return Result(calls, total, errors, load.seconds, cpu, histogram.encoded(latencies))
