"""The interface of a measured system: a server process, and load client processes that are started against it."""

from __future__ import annotations

import abc
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from select import select

import msgspec

from benchmarks import histogram
from benchmarks.cpu import Elsewhere, of_tree
from benchmarks.workload import Load, Result, Setup

ROOT = Path(__file__).resolve().parents[2]
GRACE = 40.0
"""Seconds that a process may take beyond its own work before it counts as hung."""


class Unavailable(Exception):
    """This system cannot be measured on this machine; the text says why, and what to install."""


class Failed(Exception):
    """A program of this system failed or hung; counted as an error."""


class Opponent(abc.ABC):
    """One system: how its programs are started, and what it can do.

    Systems in Python: `benchmarks.opponents.python.PythonOpponent` does all of this from two methods.
    """

    name: str
    """Short, for options and for JSON."""
    title: str
    """For tables."""
    bodies: frozenset[str] = frozenset({"bytes"})
    """Of `benchmarks.workload.BODIES`."""
    patterns: frozenset[str] = frozenset({"closed", "open"})
    """Of `benchmarks.loads.PATTERNS`."""
    wire: bool = False
    """Whether its server speaks the arpc wire, so that bare clients can call its `ECHO`."""
    hello: bool = False
    """Whether it also has the extensions of that wire, so that clients of ours negotiate them."""
    processes: int = 1
    """Of its server."""

    @abc.abstractmethod
    def prepare(self) -> str:
        """Build what has to be built; return the versions in one line. Raises `Unavailable` or `Failed`."""

    @abc.abstractmethod
    def server_command(self) -> list[str]:
        """Takes the options of `Setup`; prints {"address": ...} as a line of JSON; serves until its stdin is closed."""

    @abc.abstractmethod
    def client_command(self) -> list[str]:
        """Takes --address and the options of `Load`; prints a `Result` as a line of JSON."""

    def takes(self, load: Load) -> bool:
        """Whether it can be put under this load."""
        return load.pattern in self.patterns and load.body in self.bodies


class Running:
    """A server of an opponent that runs; `stop` ends it."""

    def __init__(self, opponent: Opponent, setup: Setup, *, pinned: bool = False) -> None:
        """Start it. `pinned`: the server has one core for itself, each load client another. Raises `Failed`."""
        self.opponent = opponent
        self._pinned = pinned
        self._environment = {**os.environ, "GOMAXPROCS": "1"} if pinned else None
        self._server = subprocess.Popen(
            [*opponent.server_command(), *setup.arguments()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the benchmark alone
            preexec_fn=self._placed(0),
            env=self._environment,
        )
        assert self._server.stdout is not None
        try:
            spoke, _, _ = select([self._server.stdout], [], [], GRACE)
            line = self._server.stdout.readline() if spoke else ""
        except BaseException:
            self.stop()
            raise
        try:
            self.address = msgspec.json.decode(line, type=dict[str, str])["address"]
        except (msgspec.DecodeError, KeyError):
            self.stop()
            said = (
                f"printed {line!r} instead of"
                if line
                else "ended before it had"
                if spoke
                else "is silent and has not given"
            )
            raise Failed(f"{opponent.title}: the server {said} an address") from None

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._server.pid

    def load(self, load: Load, client: Sequence[str] | None = None) -> Result:
        """Run a load client of its own process against the server: its own, or that of another. Raises `Failed`."""
        title = self.opponent.title
        command = [*(client or self.opponent.client_command()), "--address", self.address, *load.arguments()]
        limit = load.warmup + load.seconds + GRACE + load.connections / 500
        began, elsewhere, server_cpu = time.monotonic(), Elsewhere(self.pid), of_tree(self.pid)
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                timeout=limit,
                check=True,
                start_new_session=True,
                preexec_fn=self._placed(1),
                env=self._environment,
            )
            result = msgspec.json.decode(done.stdout, type=Result)
            histogram.merged([result.histogram])  # it can be read
        except subprocess.TimeoutExpired:
            raise Failed(f"{title}: no result after {limit:.0f} s: {load}") from None
        except (subprocess.CalledProcessError, msgspec.DecodeError, ValueError) as error:
            raise Failed(f"{title}: the load client failed ({type(error).__name__}): {load}") from error
        return replace(
            result,
            server_cpu=of_tree(self.pid) - server_cpu,
            elsewhere=elsewhere.seconds() / (time.monotonic() - began),
        )

    def _placed(self, core: int) -> Callable[[], None] | None:
        """What gives a new process one of the cores there are, where it is pinned."""
        if not self._pinned:
            return None
        cores = sorted(os.sched_getaffinity(0))
        mine = {cores[core % len(cores)]}
        return lambda: os.sched_setaffinity(0, mine)

    def stop(self) -> None:
        """Stop the server."""
        with self._server as server:
            assert server.stdin is not None
            server.stdin.close()
            try:
                server.wait(GRACE)
            except subprocess.TimeoutExpired:
                server.kill()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
