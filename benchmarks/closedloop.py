"""The load client's loop, the same one for every system written in Python."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.opponents.base import Result
from benchmarks.workload import Load

Call = Callable[[], Awaitable[object]]


async def closed_loop(callers: Sequence[tuple[Call, object]], load: Load) -> Result:
    """Keep every caller, a call and the answer it expects, at work; count and time what ends within the window.

    One clock reading a call: a call's latency runs from the end of the caller's one before it. A wrong answer is an
    error; a caller whose call raises is an error and stops.
    """
    clock = time.perf_counter
    latencies: list[float] = []
    record = latencies.append
    wrong = 0
    failures: list[Exception] = []
    start = clock() + load.warmup
    end = start + load.seconds

    async def caller(call: Call, expected: object) -> None:
        nonlocal wrong
        began = clock()
        try:
            while began < end:
                answer = await call()
                now = clock()
                if answer != expected:
                    wrong += 1
                elif start <= now < end:
                    record(now - began)
                began = now
        except Exception as error:
            failures.append(error)

    await asyncio.gather(*(caller(call, expected) for call, expected in callers))
    if wrong or failures:
        first = f", the first: {failures[0]!r}" if failures else ""
        print(f"{wrong} wrong answers, {len(failures)} failed calls{first}", file=sys.stderr)
    latencies.sort()
    errors = wrong + len(failures)
    return Result(len(latencies), errors, load.seconds, percentile(latencies, 0.50), percentile(latencies, 0.99))


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the ordered values lie; 0 when there are none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def announce(address: str) -> None:
    """Tell the benchmark where this server listens."""
    print(json.dumps({"address": address}), flush=True)


async def until_stdin_closes() -> None:
    """Return when the benchmark, which holds the other end, closes it or is gone: no server outlives its run."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    stdin = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            closed.set_result(None)

    loop.add_reader(stdin, readable)
    await closed
