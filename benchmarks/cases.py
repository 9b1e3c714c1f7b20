"""What the suite measures: each case a name, a title, and the loads that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.workload import SIZES, Load

KIB = 1 << 10
MIB = 1 << 20
CALLERS = (1, 100, 500, 1000, 2000, 5000)
DELAYS = (0.0, 0.01, 0.03)
"""Seconds that the server's handlers sleep, for `Hello.Say`."""
MANY = 19_000
"""Connections of one client process: its file descriptors and the ports of one address end soon after."""
ITEM = 100
"""Bytes of a small item."""
STREAMS = 10_000
"""Streams of a fan-in, and idle ones."""


@dataclass(frozen=True, slots=True)
class Case:
    """A table of the report."""

    name: str
    title: str
    loads: tuple[Load, ...]
    on_the_wire: bool = False
    """The clients are bare ones, the same for every server that speaks this wire: servers are compared, not pairs."""
    windows: int = 1
    """How many times as long it is measured as the others."""


def _closed(body: str, callers: Iterable[int], delays: Iterable[float] = (0.0,)) -> tuple[Load, ...]:
    sizes = SIZES[body]
    return tuple(Load(body=body, size=sizes, callers=one, delay=delay) for delay in delays for one in callers)


def cases(callers: Sequence[int] = CALLERS, delays: Sequence[float] = DELAYS, many: int = MANY) -> dict[str, Case]:
    """All cases by name, those of the rpcx suite with these numbers of callers and these delays."""
    every = (
        Case("bytes", f"bytes echo, {SIZES['bytes']} bytes", _closed("bytes", callers)),
        Case("say", "Hello.Say, protobuf, 581 bytes", _closed("say", callers, delays)),
        Case("json", f"typed JSON, {SIZES['json']}-byte note", _closed("json", callers)),
        Case(
            "servers",
            f"bytes echo, {SIZES['bytes']} bytes, the bare client for every server",
            _closed("bytes", (100, 1000)),
            on_the_wire=True,
        ),
        Case(
            "large",
            "echo of large bodies",
            (Load(size=MIB, callers=10), Load(size=16 * MIB, callers=4, connections=4)),
        ),
        Case("notify", "one-way notifies, 581 bytes", (Load(pattern="notify", callers=10),)),
        Case("reverse", "calls from the server to its clients", (Load(pattern="reverse", callers=100),)),
        Case("connect", "connect, one call, close", (Load(pattern="connect", callers=10),)),
        Case(
            "paced",
            "20,000 calls/s at a fixed rate, alone and next to fifty 1 MiB echoes a second",
            (Load(pattern="open", rate=20_000), Load(pattern="open", rate=20_000, background=50)),
        ),
        Case(
            "busy",
            f"1 KiB echo spread over {many:,} connections",
            (Load(size=1024, callers=many, connections=many),),
            on_the_wire=True,
            windows=3,
        ),
        Case(
            "streams",
            "items of streams",
            (Load(pattern="items", size=ITEM), Load(pattern="items", size=64 * KIB)),
        ),
        Case(
            "fan-in",
            f"items of {STREAMS:,} streams, {ITEM} bytes, one server reads all",
            (Load(pattern="fan-in", size=ITEM, callers=STREAMS),),
        ),
        Case(
            "extras",
            f"bytes echo, {SIZES['bytes']} bytes, with metadata and deadlines",
            tuple(replace(one, pattern="extras") for one in _closed("bytes", (100, 1000))),
        ),
        Case(
            "chain",
            "typed JSON through five middlewares",
            tuple(replace(one, pattern="extras") for one in _closed("json", (100, 1000))),
        ),
    )
    return {case.name: case for case in every}


def timed(case: Case, seconds: float, warmup: float) -> Case:
    """The same with another window, and with a warm-up in which a slow system has answered each of its callers."""
    seconds *= case.windows
    loads = (replace(one, seconds=seconds, warmup=max(warmup, min(one.callers / 5000, 1.5))) for one in case.loads)
    return replace(case, loads=tuple(loads))
