"""What connections cost the server: memory of idle ones after one call each, and whether what a load took comes back.

Resident memory of the server's processes, by /proc (Linux).
"""

from __future__ import annotations

import abc
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cpu import tree
from benchmarks.opponents.base import ROOT, Failed, Opponent, Running
from benchmarks.workload import Load, Setup

WARMING = 200
"""Connections that are open before the first reading: what a server builds once, it has built."""
SPARE = 200
"""File descriptors that a process needs besides its connections."""
AVAILABLE = Path("/proc/self/statm").exists()
LATER = 10.0
"""Seconds after a load until the last reading."""

Step = Callable[[str], None]
Report = Callable[[Failed], None]
Systems = dict[str, dict[str, float]]
"""Figures in bytes by the name of the system."""


class Memory(abc.ABC):
    """A measurement of memory."""

    @abc.abstractmethod
    def systems(self, opponents: Sequence[Opponent]) -> list[Opponent]:
        """Those that it can be made with."""

    @abc.abstractmethod
    def measure_one(self, opponent: Opponent) -> dict[str, float]:
        """The figures of one system, in bytes. Raises `Failed`."""

    @abc.abstractmethod
    def heading(self) -> dict[str, Any]:
        """What the record says besides the systems."""

    def steps(self, opponents: Sequence[Opponent]) -> int:
        """How many systems are measured."""
        return len(self.systems(opponents))

    def measure(self, opponents: Sequence[Opponent], step: Step, failed: Report, systems: Systems) -> None:
        """Put the figures of each system into `systems`, as they come."""
        for opponent in self.systems(opponents):
            step(f"{self.heading()['title']}: {opponent.title}")
            try:
                systems[opponent.name] = self.measure_one(opponent)
            except Failed as failure:
                failed(failure)


@dataclass(frozen=True, slots=True)
class Idle(Memory):
    """Growth over so many connections, each after one call; `processes` servers hold an equal part of them each.

    The clients: `raw` ones speak the base protocol through plain sockets, to every system alike; `arpc` ones are ours,
    with the extensions negotiated.
    """

    connections: int
    processes: int = 1
    client: str = "raw"

    def heading(self) -> dict[str, Any]:
        many = f" on {self.processes} servers" if self.processes > 1 else ""
        title = f"idle memory of {self.connections:,} connections{many}, {self.client} clients"
        about = {"connections": self.connections, "processes": self.processes, "client": self.client}
        return {"case": "idle", "title": title, **about}

    def systems(self, opponents: Sequence[Opponent]) -> list[Opponent]:
        return [one for one in opponents if one.wire and (self.client == "raw" or one.hello)]

    def measure_one(self, opponent: Opponent) -> dict[str, float]:
        each = self.connections // self.processes
        with ExitStack() as stack:
            servers = [stack.enter_context(Running(opponent, Setup())) for _ in range(self.processes)]
            for server in servers:
                stack.enter_context(Held(server, WARMING, self.client))
            before = sum(map(resident, servers))
            for server in servers:
                stack.enter_context(Held(server, each, self.client))
            after = sum(map(resident, servers))
        return {"bytes_per_connection": (after - before) / (each * self.processes), "before": before, "after": after}


@dataclass(frozen=True, slots=True)
class AfterLoad(Memory):
    """The server before a load, at its peak, when the clients have gone, and a while later: is memory given back?"""

    seconds: float = 1.0

    def heading(self) -> dict[str, Any]:
        return {"case": "after-load", "title": "memory after load: 1000 callers, then 1 MiB bodies"}

    def systems(self, opponents: Sequence[Opponent]) -> list[Opponent]:
        return [one for one in opponents if all(map(one.takes, self._loads())) and one.processes == 1]

    def _loads(self) -> tuple[Load, ...]:
        return Load(callers=1000, seconds=self.seconds), Load(size=1 << 20, callers=100, seconds=self.seconds)

    def measure_one(self, opponent: Opponent) -> dict[str, float]:
        with Running(opponent, Setup()) as server:
            server.load(Load(callers=1, seconds=0.2))
            before = resident(server)
            for load in self._loads():
                if server.load(load).errors:
                    raise Failed(f"{opponent.title}: errors while its memory was measured: {load}")
            after, peak = resident(server), highest(server)
            time.sleep(LATER)
            return {"before": before, "peak": peak, "after": after, "later": resident(server)}


class Held:
    """A process that holds this many connections, each of which has made a call; leaving it closes them all."""

    def __init__(self, server: Running, connections: int, client: str) -> None:
        """Start it and wait until all stand. Raises `Failed`."""
        command = [sys.executable, "-m", "benchmarks.idle", server.address, str(connections), client]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:
            self.__exit__()
            raise
        if not line or json.loads(line) != {"connections": connections}:
            self.__exit__()
            raise Failed(f"{server.opponent.title}: not all of {connections} connections made their call")

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()


def resident(server: Running) -> int:
    """Resident memory of a server's processes, in bytes."""
    return sum(_statm(pid) for pid in tree(server.pid))


def _statm(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def highest(server: Running) -> int:
    """The most that the server's processes have ever been resident with, in bytes."""
    return sum(_peak(pid) for pid in tree(server.pid))


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def allowed_connections(wanted: int) -> int:
    """Raise the soft limit of open files, for the children too; how many connections a process can have then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + WARMING + SPARE
    files = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))
    return files - WARMING - SPARE
