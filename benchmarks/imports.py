"""How long `import arpc` takes, against the event loop that every such program imports anyway.

    python -m benchmarks.imports [--rounds 21]

Each import runs in a fresh interpreter, in turn; the interpreter's own start does not count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median

from benchmarks.opponents.base import ROOT

FACE = "from arpc import Router, connect, serve"
"""What a program needs of it, in case that a part of the face is only loaded when it is asked for."""
STATEMENTS = ("import arpc", FACE, "import asyncio, uvloop", "import asyncio")
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print milliseconds and ratios; 1 when a statement cannot be imported here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="medians are taken over these (default: 21)")
    rounds = max(parser.parse_args(argv).rounds, 1)
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    missing: set[str] = set()
    with tempfile.TemporaryDirectory() as cache:
        for number in range(rounds + 1):
            for statement in STATEMENTS:
                seconds = import_seconds(statement, cache) if statement not in missing else None
                if seconds is None:
                    missing.add(statement)
                elif number:  # the first round warms the caches: bytecode, files
                    times[statement].append(seconds)

    base = times["import asyncio, uvloop"] or times["import asyncio"]
    print(f"medians of {rounds} rounds; CPython {sys.version.split()[0]}")
    for statement in STATEMENTS:
        if statement in missing:
            print(f"  {statement:<42} not importable")
        else:
            middle = median(times[statement])
            print(f"  {statement:<42} {middle * 1e3:7.1f} ms   x {middle / median(base):.2f}")
    return 1 if FACE in missing else 0


def import_seconds(statement: str, cache: str) -> float | None:
    """Seconds of this statement in a fresh interpreter; None when it fails there."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    # With the bytecode that an installed package has, whatever the environment says about writing it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
