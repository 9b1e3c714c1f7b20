"""What an idle connection costs the server, after it has made one call.

    python -m benchmarks.memory [--connections 19000] [--only ours bare go-default] [--client raw]

The growth of the server process (resident memory, Linux) over that many connections. `raw` clients speak the base
protocol through plain sockets, to every system alike; `arpc` clients are ours, with the extensions negotiated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import ROOT, Failed, Opponent, Unavailable
from benchmarks.opponents.goarpc import GoArpcDefault
from benchmarks.opponents.ours import Ours

OPPONENTS = (Ours, Bare, GoArpcDefault)
WARMING = 200
"""Connections that are open before the first reading: what a server builds once, it has built."""
SPARE = 200
"""File descriptors that a process needs besides its connections."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print bytes per connection, and return the exit code: 1 after any failure."""
    options = parse(argv)
    connections = raise_descriptor_limit(options.connections)
    if not Path("/proc/self/statm").exists():
        print("needs /proc (Linux)")
        return 1
    print(f"{connections} connections, each after one call; {options.client} clients")
    failed = False
    for kind in OPPONENTS:
        opponent = kind()
        if options.only and opponent.name not in options.only:
            continue
        try:
            version = opponent.prepare()
            with opponent:
                before, after = growth(opponent, connections, options.client)
            each = (after - before) / connections
            print(
                f"  {opponent.title:<18}{each:8,.0f} bytes a connection   "
                f"({before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB after; {version})",
                flush=True,
            )
        except Unavailable as reason:
            print(f"  left out: {opponent.title}: {reason}")
        except Failed as failure:
            print(f"  FAILED: {failure}")
            failed = True
    return int(failed)


def growth(opponent: Opponent, connections: int, client: str) -> tuple[int, int]:
    """Resident bytes of the server with `WARMING` connections, and with that many more. Raises `Failed`."""
    warming = hold(opponent, WARMING, client)
    try:
        before = resident(opponent.pid)
        measured = hold(opponent, connections, client)
        try:
            return before, resident(opponent.pid)
        finally:
            release(measured)
    finally:
        release(warming)


def hold(opponent: Opponent, connections: int, client: str) -> subprocess.Popen[str]:
    """Start a process that holds this many connections; returns when each has made its call. Raises `Failed`."""
    command = [sys.executable, "-m", "benchmarks.idle", opponent.address, str(connections), client]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line or json.loads(line) != {"connections": connections}:
        release(process)
        raise Failed(f"{opponent.title}: not all of {connections} connections made their call")
    return process


def release(process: subprocess.Popen[str]) -> None:
    """Close all connections of a holding process, and wait for its end."""
    process.communicate()


def resident(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def raise_descriptor_limit(connections: int) -> int:
    """Raise the soft limit of open files, for the children too; return how many connections it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + WARMING + SPARE
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))
    if allowed < wanted:
        print(
            f"the hard limit of open files is {hard}: {allowed - WARMING - SPARE} connections instead of {connections}"
        )
    return allowed - WARMING - SPARE


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=19000, help="in one client process (default: 19000)")
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in OPPONENTS], help="systems (default: all)")
    parser.add_argument("--client", choices=("raw", "arpc"), default="raw", help="who connects (default: raw)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
