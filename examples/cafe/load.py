"""The measured run: callers that each call, compare the answer, and call again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import arpc

SIZE = 581
"""Bytes of each body, as in the benchmarks."""
CONNECTIONS = 10
WARMUP = 0.2


@dataclass
class Measured:
    """One row: calls per second, and latencies in seconds."""

    callers: int
    calls: int
    wrong: int
    rate: float
    p50: float
    p99: float


async def measure(peers: Sequence[arpc.Peer], callers: int, seconds: float) -> Measured:
    """Keeps that many callers at work, spread over the peers, and counts the calls that end well within the time."""
    clock = time.perf_counter
    start = clock() + min(WARMUP, seconds)
    end = start + seconds
    latencies: list[float] = []
    wrong = 0

    async def caller(number: int) -> None:
        nonlocal wrong
        call = peers[number % len(peers)].call
        body = b"%08d" % number + b"x" * (SIZE - 8)  # of its own, so that somebody else's answer would be seen
        began = clock()
        while began < end:
            right = await call("/echo", body, returns=bytes) == body
            now = clock()
            if not right:
                wrong += 1
            elif start <= now < end:
                latencies.append(now - began)
            began = now

    await asyncio.gather(*map(caller, range(callers)))
    latencies.sort()
    count = len(latencies)
    p50, p99 = (latencies[int(count * part)] if count else 0.0 for part in (0.50, 0.99))
    return Measured(callers, count, wrong, count / seconds, p50, p99)
