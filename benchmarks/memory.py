"""What connections cost the server, and streams both sides: idle ones; and whether what a load took comes back.

Resident memory of processes, by /proc (Linux).
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
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from benchmarks.cpu import tree
from benchmarks.opponents.base import ROOT, Failed, Opponent, Running
from benchmarks.workload import Load, Result, Setup

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
class IdleStreams(Memory):
    """Growth of both sides over so many streams, on each of which one item was sent and read; its own load client."""

    streams: int
    connections: int = 10

    def heading(self) -> dict[str, Any]:
        title = f"memory of {self.streams:,} idle streams on {self.connections} connections"
        return {"case": "idle-streams", "title": title, "streams": self.streams, "connections": self.connections}

    def systems(self, opponents: Sequence[Opponent]) -> list[Opponent]:
        return [one for one in opponents if one.takes(self._load())]

    def _load(self) -> Load:
        return Load(pattern="hold", size=100, connections=self.connections)

    def measure_one(self, opponent: Opponent) -> dict[str, float]:
        with Running(opponent, Setup()) as server, HeldStreams(server, self._load()) as client:
            client.open(WARMING)
            before = resident(server), resident(client)
            client.open(self.streams)
            after = resident(server), resident(client)
            client.end()
        each = [(late - early) / self.streams for early, late in zip(before, after, strict=True)]
        return {"server_bytes_per_stream": each[0], "client_bytes_per_stream": each[1]}


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


class Holding:
    """A client process that holds what it has opened; leaving it ends it."""

    def __init__(self, server: Running, command: Sequence[str]) -> None:
        self._server = server
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _holds(self, expected: dict[str, int], otherwise: str) -> None:
        """Wait until it says that it does. Raises `Failed`."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:
            self.__exit__()
            raise
        if not line or json.loads(line) != expected:
            self.__exit__()
            raise Failed(f"{self._server.opponent.title}: {otherwise}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()


class Held(Holding):
    """This many connections, each of which has made a call."""

    def __init__(self, server: Running, connections: int, client: str) -> None:
        """Start it and wait until all stand. Raises `Failed`."""
        super().__init__(server, [sys.executable, "-m", "benchmarks.idle", server.address, str(connections), client])
        self._holds({"connections": connections}, f"not all of {connections} connections made their call")


class HeldStreams(Holding):
    """Streams on the connections of this load, by the system's own load client."""

    def __init__(self, server: Running, load: Load) -> None:
        """Start it; it has none yet."""
        super().__init__(server, [*server.opponent.client_command(), "--address", server.address, *load.arguments()])
        self._streams = 0

    def open(self, more: int) -> None:
        """Wait until so many more stand, and one item of each has arrived. Raises `Failed`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which is found out next
            print(more, file=self._process.stdin, flush=True)
        self._streams += more
        self._holds({"streams": self._streams}, f"not all of {self._streams} streams were opened")

    def end(self) -> None:
        """End them all. Raises `Failed` where the server has not read one item of each."""
        try:
            right = msgspec.json.decode(self._process.communicate()[0], type=Result).calls
        except msgspec.DecodeError:
            right = 0
        if right != self._streams:
            raise Failed(f"{self._server.opponent.title}: {right} of {self._streams} idle streams had their item read")


def resident(process: Running | Holding) -> int:
    """Resident memory of a server's processes, or of a client's, in bytes."""
    return sum(_statm(pid) for pid in tree(process.pid))


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
