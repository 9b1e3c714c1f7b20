"""Two processes call and notify each other over TCP, with every result checked; then a short measured run.

    python -m examples.demo [--seconds 2.5]

It starts examples/cafe/server.py and examples/cafe/client.py, and stops both however it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 60
"""Seconds after which something hangs, beside the measured time."""


@contextmanager
def process(*words: str, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process that ends with this block, or when this process is gone: each ends when its stdin is closed.

    It gets a session of its own, so that Ctrl-C reaches this process alone, which then ends the others.
    """
    started = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=stdout,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        assert started.stdin is not None
        started.stdin.close()
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def demo(seconds: float) -> int:
    """The exit code: 0 when everything that was shown is right."""
    with process("examples.cafe.server", stdout=subprocess.PIPE) as server:
        watchdog = threading.Timer(LIMIT + 4 * seconds, server.kill)
        watchdog.daemon = True
        watchdog.start()
        assert server.stdout is not None
        with server.stdout:
            address = server.stdout.readline().strip()
        if not address:
            print("The server ended before it had an address.", file=sys.stderr)
            return 1
        print("arpc: a server and a client, equals once they are connected\n")
        print(f"    server: process {server.pid}, {address}", flush=True)
        with process("examples.cafe.client", address, f"{seconds}") as client:
            try:
                return 0 if client.wait(LIMIT + 4 * seconds) == 0 else 1
            except subprocess.TimeoutExpired:
                print("The client hangs.", file=sys.stderr)
                return 1
            finally:
                watchdog.cancel()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.5, help="for each row of the measured run (default: 2.5)")
    options = parser.parse_args()
    if not 0 < options.seconds <= 60:
        parser.error("--seconds is above 0, at most 60")
    try:
        return demo(options.seconds)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
