"""Connections that come and go: connect, one call, close."""

from __future__ import annotations

from benchmarks.loads.calls import Call, Connect
from benchmarks.loads.closed import closed_loop
from benchmarks.workload import Load, Result


async def run(address: str, load: Load, connect: Connect) -> Result:
    """A closed loop in which every call has a connection of its own, made for it and closed after it."""

    async def visit(body: object) -> object:
        async with connect(address) as calls:
            return await calls[load.body](body)

    async with connect(address):
        pass  # what a client imports and builds only once does not count
    callers: list[Call] = [visit] * load.callers
    return await closed_loop(callers, load)
