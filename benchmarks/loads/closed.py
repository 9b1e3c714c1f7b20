"""The closed loop: each caller makes its next call when it has the answer to the last one."""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack

from benchmarks import histogram
from benchmarks.loads.calls import Call, Connect
from benchmarks.workload import BODIES, Load, Result


async def run(address: str, load: Load, connect: Connect) -> Result:
    """Share the connections among the callers."""
    async with AsyncExitStack() as stack:
        connections = [(await stack.enter_async_context(connect(address)))[load.body] for _ in range(load.connections)]
        return await closed_loop([connections[number % load.connections] for number in range(load.callers)], load)


async def closed_loop(callers: Sequence[Call], load: Load) -> Result:
    """Keep every caller at work; count what ends within the window, time that and what was under way at its end.

    One clock reading a call: a call's latency runs from the end of the caller's one before it. No waiting time is left
    out. A wrong answer is an error; a caller whose call raises is an error and stops.
    """
    clock = time.perf_counter
    latencies = array("d")
    record = latencies.append
    late: list[float] = []
    total = wrong = 0
    failures: list[Exception] = []
    cpu = time.process_time()
    start = clock() + load.warmup
    end = start + load.seconds

    async def caller(number: int, call: Call) -> None:
        nonlocal total, wrong
        body, right = BODIES[load.body](load.size, number)
        began = clock()
        done = 0
        try:
            while began < end:
                answer = await call(body)
                now = clock()
                if not right(answer):
                    wrong += 1
                elif now < end:
                    if start <= now:
                        record(now - began)
                else:
                    late.append(now - began)
                done += 1
                began = now
        except Exception as error:
            failures.append(error)
        total += done

    await asyncio.gather(*(caller(number, call) for number, call in enumerate(callers)))
    cpu = time.process_time() - cpu
    if wrong or failures:
        first = f", the first: {failures[0]!r}" if failures else ""
        print(f"{wrong} wrong answers, {len(failures)} failed calls{first}", file=sys.stderr)
    errors = wrong + len(failures)
    return Result(len(latencies), total - wrong, errors, load.seconds, cpu, histogram.encoded([*latencies, *late]))
