"""Shows everything against a café that listens at ADDRESS, then measures it. The exit code tells whether all was right.

python -m examples.cafe.client ADDRESS [SECONDS]
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version

import arpc

from . import screen
from .guest import STEPS, Guest, Lines, Wrong
from .load import CONNECTIONS, SIZE, Measured, measure
from .parent import end_with_parent

CALLERS = (1, 100, 1000)
STEP_SECONDS = 10
HEADS = ("callers", "calls/s", "p50 ms", "p99 ms", "wrong")
WIDTHS = (7, 10, 9, 9, 7)


async def show(peer: arpc.Peer, guest: Guest) -> list[str]:
    """Shows every step; returns the titles of those that went wrong."""
    failed: list[str] = []
    for number, (title, step) in enumerate(STEPS, 1):
        lines: Lines = []
        problem = None
        try:
            async with asyncio.timeout(STEP_SECONDS):
                lines = await step(peer, guest)
        except Wrong as wrong:
            problem = str(wrong)
        except (arpc.ArpcError, TimeoutError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            failed.append(title)
        screen.result(number, title, lines, problem)
    return failed


async def show_speed(address: str, seconds: float) -> list[str]:
    """Measures and shows the table; returns the rows that went wrong."""
    screen.say("\n" + screen.paint("How fast", screen.BOLD))
    screen.say(
        f"    {SIZE} bytes echoed over {CONNECTIONS} TCP connections, every answer compared, {seconds:g} s a row\n"
    )
    rows: list[Measured] = []
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(arpc.connect(address)) for _ in range(CONNECTIONS)]
        screen.say(screen.paint(screen.row(*HEADS, widths=WIDTHS), screen.DIM))
        for callers in CALLERS:
            row = await measure(peers, callers, seconds)
            rows.append(row)
            times = f"{row.p50 * 1000:.2f}", f"{row.p99 * 1000:.2f}"
            screen.say(screen.row(f"{callers}", f"{row.rate:,.0f}", *times, f"{row.wrong}", widths=WIDTHS))
    screen.say("\n    " + screen.paint(machine(), screen.DIM))
    return [
        f"{row.callers} callers: {row.calls} calls, {row.wrong} wrong" for row in rows if row.wrong or not row.calls
    ]


def machine() -> str:
    """What the figures depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores for both processes, {platform.python_implementation()} {platform.python_version()}, {loop()}"


def loop() -> str:
    """The event loop that runs here, with its version if it has one of its own."""
    if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
        return f"uvloop {version('uvloop')}"
    return "asyncio's own event loop (uvloop is not installed)"


async def main(address: str, seconds: float) -> int:
    guest = Guest()
    screen.say(f"    client: process {os.getpid()}")
    try:
        async with arpc.connect(address, guest.router) as peer:
            failed = await show(peer, guest)
        failed += await show_speed(address, seconds)
    except arpc.ArpcError as error:
        failed = [f"{type(error).__name__}: {error}"]
    if failed:
        screen.say("\n" + screen.paint(f"WRONG: {'; '.join(failed)}", screen.RED, screen.BOLD))
        return 1
    screen.say("\n" + screen.paint("Everything above was checked, and right.", screen.GREEN))
    return 0


if __name__ == "__main__":
    end_with_parent()
    try:
        sys.exit(arpc.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 2.0)))
    except BrokenPipeError:  # whoever read what is printed here has gone
        os._exit(1)
