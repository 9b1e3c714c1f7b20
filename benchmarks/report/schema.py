"""What a result file holds, and reading one: `benchmarks/results/*.json`, as `python -m benchmarks` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from benchmarks.workload import Load

SCHEMA = 1
SERVERS = frozenset({"servers", "busy"})
"""The cases in which all servers have the same clients, so that they can be compared alone."""
LARGE = "large"
"""The case whose unit is GB/s."""
IDLE, IDLE_STREAMS, AFTER_LOAD = "idle", "idle-streams", "after-load"
"""The cases of memory."""
PACED = "open"
"""The pattern whose rate is given."""
EXTRAS = "extras"
"""The pattern in which systems that are all ours differ in what a call carries."""
ITEMS = frozenset({"items", "fan-in"})
"""The patterns that send items on streams."""
KIB = 1 << 10
MIB = 1 << 20


class BadResults(ValueError):
    """A file or an object is no result of this suite, or has nothing of what is asked for; the text says what."""


class System(msgspec.Struct, frozen=True):
    """One that was measured."""

    title: str
    versions: str = ""


class Round(msgspec.Struct, frozen=True):
    """One round of one system."""

    rate: float
    errors: int = 0
    p50: float = 0.0
    p99: float = 0.0


class Measured(msgspec.Struct, frozen=True):
    """One system under one load: medians over its rounds, in calls a second and seconds."""

    rate: float
    spread: float = 0.0
    errors: int = 0
    elsewhere: float = 0.0
    latency: dict[str, float] = {}
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    curve: list[tuple[float, float]] = []
    rounds: list[Round] = []


class Measurement(msgspec.Struct, frozen=True):
    """One load, and each system under it."""

    case: str
    title: str
    load: Load
    systems: dict[str, Measured]

    @property
    def unit(self) -> str:
        """Of its throughput."""
        return "GB/s" if self.case == LARGE else f"{self.counted}/s"

    @property
    def counted(self) -> str:
        """What its rate is made of."""
        return "items" if self.streams else "notifies" if self.load.pattern == "notify" else "calls"

    def throughput(self, name: str) -> float:
        """Of a system, in that unit."""
        rate = self.systems[name].rate
        return rate * self.load.size / 1e9 if self.case == LARGE else rate

    def megabytes(self, name: str) -> float:
        """A second, one way."""
        return self.systems[name].rate * self.load.size / 1e6

    @property
    def streams(self) -> bool:
        """Whether items of streams are what counts."""
        return self.load.pattern in ITEMS

    @property
    def varied(self) -> bool:
        """Whether its systems are calls of ours that carry more, beside plain ones."""
        return self.load.pattern == EXTRAS

    @property
    def paced(self) -> bool:
        """Whether its rate is given, so that only latencies tell systems apart."""
        return self.load.pattern == PACED

    @property
    def crowd(self) -> str:
        """The callers, in words; where calls start at a fixed rate there are none."""
        if self.streams:
            return f"{self.load.callers:,} streams"
        return "fixed rate" if self.paced else callers_in_words(self.load.callers)

    @property
    def conditions(self) -> str:
        """The rest of the load, without what the title says already."""
        load = self.load
        words = [
            size_in_words(load.size) if self.case == LARGE or self.streams else "",
            f"{load.rate:,.0f} calls/s" if load.rate else "",
            f"beside {load.background:g} x 1 MiB/s" if load.background else "",
            f"{load.connections:,} connection{'s' * (load.connections != 1)}" if load.pattern != "connect" else "",
            f"handlers sleep {load.delay * 1e3:g} ms" if load.delay else "",
        ]
        return ", ".join(word for word in words if word and word not in self.title)

    @property
    def heading(self) -> str:
        """All of it."""
        return f"{self.title}; {', '.join(filter(None, (self.crowd, self.conditions)))}"


class Memory(msgspec.Struct, frozen=True):
    """Resident bytes: idle connections on the server, idle streams on both sides, or before and after a load."""

    case: str
    systems: dict[str, dict[str, float]]
    title: str = ""
    connections: int = 0
    processes: int = 1
    client: str = "raw"
    streams: int = 0

    @property
    def heading(self) -> str:
        """What tells it from the other measurements of memory."""
        if self.case != IDLE:
            return self.title or self.case
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        clients = f", {self.client} clients" if self.client != "raw" else ""
        return f"{self.connections:,} idle connections{processes}{clients}"


class Import(msgspec.Struct, frozen=True):
    """What one import takes, and its ratio to that of the event loop."""

    seconds: float
    ratio: float


class Run(msgspec.Struct, frozen=True):
    """A whole run."""

    schema: int
    machine: dict[str, Any]
    settings: dict[str, Any]
    systems: dict[str, System]
    calls: list[Measurement]
    made: str = ""
    command: str = ""
    complete: bool = True
    left_out: dict[str, str] = {}
    failures: list[str] = []
    memory: list[Memory] = []
    imports: dict[str, Import] = {}

    def title(self, name: str) -> str:
        """Of a system."""
        return self.systems[name].title if name in self.systems else name

    def versions(self, name: str) -> list[str]:
        """What a system is made of."""
        return [word for word in self.systems[name].versions.split(", ") if word] if name in self.systems else []

    def case(self, name: str) -> list[Measurement]:
        """Its measurements, fewest callers first."""
        return sorted((one for one in self.calls if one.case == name), key=lambda one: one.load.callers)

    def idle(self) -> list[Memory]:
        """Memory of idle connections."""
        return [one for one in self.memory if one.case == IDLE]

    def idle_streams(self) -> list[Memory]:
        """Memory of idle streams."""
        return [one for one in self.memory if one.case == IDLE_STREAMS]

    def after_load(self) -> list[Memory]:
        """Memory before, during and after a load."""
        return [one for one in self.memory if one.case == AFTER_LOAD]

    def order(self, *groups: Mapping[str, object]) -> list[str]:
        """The names of the systems in any of these, in the order of the whole run."""
        names = dict.fromkeys(name for group in groups for name in group)
        return [
            *(name for name in self.systems if name in names),
            *(name for name in names if name not in self.systems),
        ]

    @property
    def where(self) -> str:
        """The machine in one line; figures are nothing without it."""
        machine = self.machine
        return f"{machine.get('cores', '?')} cores, " + ", ".join(
            str(machine[key]) for key in ("processor", "system", "python") if machine.get(key)
        )


Shape = TypeVar("Shape", Run, Measurement)


def convert(data: object, shape: type[Shape]) -> Shape:
    """What was read from JSON, or is yet to be written as such, by name. Raises `BadResults`."""
    try:
        converted = msgspec.convert(data, shape)
    except (msgspec.ValidationError, TypeError) as error:
        raise BadResults(f"not a result of this suite: {error}") from None
    return converted


def run_of(data: Mapping[str, Any]) -> Run:
    """A whole run, if it is of the schema that is known here. Raises `BadResults`."""
    found: object = data
    schema = found.get("schema") if isinstance(found, Mapping) else None
    if schema != SCHEMA:
        raise BadResults(f"not a result of this suite: its schema is {schema!r}, not {SCHEMA}")
    return convert(data, Run)


def read(path: Path) -> dict[str, Any]:
    """The content of a result file, checked. Raises `BadResults`."""
    try:
        data = msgspec.json.decode(path.read_bytes())
        run_of(data)
    except OSError as error:
        raise BadResults(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BadResults(f"{path}: not JSON: {error}") from None
    except BadResults as error:
        raise BadResults(f"{path}: {error}") from None
    assert isinstance(data, dict)
    return data


def callers_in_words(callers: int) -> str:
    """1 caller, 1,000 callers."""
    return f"{callers:,} caller{'s' * (callers != 1)}"


def size_in_words(size: int) -> str:
    """Bytes, or KiB or MiB where that is a round number."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit:,} {name}"
    return f"{size:,} bytes"
