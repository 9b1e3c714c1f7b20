"""A trace over several processes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import arpc
from arpc.middleware import Tracing
from tests.middleware.hop import Spans

ROOT = Path(__file__).resolve().parents[2]


async def test_three_hops_through_three_processes_are_one_tree() -> None:
    spans = Spans()
    tracing = Tracing(spans.provider)
    a = arpc.Router()

    @a.handle("/a")
    async def last(number: int) -> int:
        return number * 10

    async with arpc.serve("tcp://127.0.0.1:0", a, middleware=[tracing]) as server:
        c, c_address = await start_hop("/c", server.address, "/a")
        b, b_address = await start_hop("/b", c_address, "/c")
        async with arpc.connect(b_address, outgoing=[tracing]) as peer:
            assert await peer.call("/b", 1, timeout=20) == 30
        await spans.served()
        made = [json.loads(span.to_json()) for span in spans()]
        for process in b, c:
            printed, _ = await asyncio.wait_for(process.communicate(b""), 20)
            assert process.returncode == 0
            made += json.loads(printed)
    assert len({span["context"]["trace_id"] for span in made}) == 1
    by_id = {span["context"]["span_id"]: span for span in made}
    line, at = [], next(span for span in made if (span["name"], span["kind"]) == ("/a", "SpanKind.SERVER"))
    while at is not None:
        line.append((at["name"], at["kind"].removeprefix("SpanKind.")))
        at = by_id[at["parent_id"]] if at["parent_id"] else None
    assert line[::-1] == [
        ("/b", "CLIENT"),
        ("/b", "SERVER"),
        ("work of /b", "INTERNAL"),
        ("/c", "CLIENT"),
        ("/c", "SERVER"),
        ("work of /c", "INTERNAL"),
        ("/a", "CLIENT"),
        ("/a", "SERVER"),
    ]
    assert len(made) == len(line)


async def start_hop(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """A process of hop.py, and its address."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.middleware.hop", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()
