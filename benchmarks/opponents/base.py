"""The interface of a measured system: a server process, and load client processes that are started against it."""

from __future__ import annotations

import abc
import json
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from benchmarks.cpu import Elsewhere
from benchmarks.workload import Load

ROOT = Path(__file__).resolve().parents[2]
GRACE = 15.0
"""Seconds that a process may take beyond its own work before it counts as hung."""


class Unavailable(Exception):
    """This system cannot be measured on this machine; the text says why."""


class Failed(Exception):
    """A program of this system failed or hung; counted as an error."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one window: calls that ended well in it, errors and wrong answers; its length and the latencies in seconds."""

    calls: int
    errors: int
    seconds: float
    p50: float
    p99: float
    elsewhere: float = 0.0
    """Cores that other programs used meanwhile: the benchmark adds it to what the load client printed."""

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    def to_json(self) -> str:
        """One line, as the load clients print it."""
        return json.dumps(asdict(self))


class Opponent(abc.ABC):
    """One system. Entering starts its server, leaving stops it; `prepare` comes first."""

    name: str
    """Short, for options and for JSON."""
    title: str
    """For tables."""
    cases: frozenset[str] = frozenset({"bytes", "json"})

    def __init__(self) -> None:
        self.address = ""
        self._server: subprocess.Popen[str] | None = None

    @abc.abstractmethod
    def prepare(self) -> str:
        """Build what has to be built; return the versions in one line. Raises `Unavailable` or `Failed`."""

    @abc.abstractmethod
    def server_command(self) -> list[str]:
        """Its server prints {"address": ...} as a line of JSON and serves until its standard input is closed."""

    @abc.abstractmethod
    def client_command(self) -> list[str]:
        """Its load client takes --address and the options of `Load`, and prints a `Result` as a line of JSON."""

    @property
    def pid(self) -> int:
        """Of the server's process."""
        assert self._server is not None, "enter the opponent first"
        return self._server.pid

    def start(self) -> str:
        """Start the server and return its address. Raises `Failed`."""
        self._server = subprocess.Popen(
            self.server_command(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            self.stop()
            raise Failed(f"{self.title}: the server ended before it had an address")
        self.address = json.loads(line)["address"]
        return self.address

    def load(self, load: Load) -> Result:
        """Run a load client of its own process against the server. Raises `Failed`."""
        command = [*self.client_command(), "--address", self.address, *load.arguments()]
        limit = load.warmup + load.seconds + GRACE
        began, elsewhere = time.monotonic(), Elsewhere(self.pid)
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=limit, check=True)
            result = Result(**json.loads(done.stdout))
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.title}: no result after {limit:.0f} s: {load}") from None
        except (subprocess.CalledProcessError, ValueError, TypeError) as error:
            raise Failed(f"{self.title}: the load client failed ({type(error).__name__}): {load}") from error
        return replace(result, elsewhere=elsewhere.seconds() / (time.monotonic() - began))

    def stop(self) -> None:
        """Stop the server."""
        if self._server is None:
            return
        with self._server as server:
            assert server.stdin is not None
            server.stdin.close()
            try:
                server.wait(GRACE)
            except subprocess.TimeoutExpired:
                server.kill()
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
