"""How long `import arpc` takes, against the event loop that every such program imports anyway.

Each import runs in a fresh interpreter, in turn; the interpreter's own start does not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from statistics import median

from benchmarks.opponents.base import ROOT

BASE = "import asyncio, uvloop"
STATEMENTS = ("import arpc", "from arpc import Router, connect, serve", BASE, "import asyncio")
"""The second, in case that a part of the face is only loaded when it is asked for."""
ROUNDS = 21
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Medians in seconds by statement, and as a ratio to `BASE`; what cannot be imported here is not in it."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(rounds + 1):
            for statement in STATEMENTS:
                seconds = _import_seconds(statement, cache)
                if number and seconds is not None:  # the first round warms the caches: bytecode, files
                    times.setdefault(statement, []).append(seconds)
    medians = {statement: median(values) for statement, values in times.items()}
    base = medians.get(BASE) or medians.get("import asyncio", 0.0)
    return {one: {"seconds": value, "ratio": value / base if base else 0.0} for one, value in medians.items()}


def _import_seconds(statement: str, cache: str) -> float | None:
    """Seconds of this statement in a fresh interpreter; None when it fails there."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    # With the bytecode that an installed package has, whatever the environment says about writing it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None
