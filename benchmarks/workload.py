"""What is measured: bodies, loads and results. The Go programs (benchmarks/go) take and print the same."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from operator import eq
from random import Random
from typing import Any, TypeVar

import msgspec

from benchmarks import messages

ECHO = "/echo"
PERSON = "/person"
SAY = "Hello.Say"

Right = Callable[[Any], object]
"""Tells whether an answer is the expected one."""


class Person(msgspec.Struct):
    """The typed JSON body; the server answers it with age + 1, so that an answer proves that it was decoded."""

    name: str
    age: int
    tags: list[str]
    note: str


def older(person: Person) -> Person:
    """What every server answers to it."""
    return Person(person.name, person.age + 1, person.tags, person.note)


def _bytes(size: int, caller: int) -> tuple[object, Right]:
    body = _noise(size - 8) + b"%08d" % caller
    return body, partial(eq, body)


@cache
def _noise(size: int) -> bytes:
    """Bytes that no compression makes fewer."""
    return Random(size).randbytes(size)


def _json(size: int, caller: int) -> tuple[object, Right]:
    person = Person(f"caller {caller:08d}", 20 + caller % 60, ["red", "green", "blue"], "n" * size)
    return person, partial(eq, older(person))


def _say(_size: int, _caller: int) -> tuple[object, Right]:
    return messages.request(), messages.is_said


BODIES: dict[str, Callable[[int, int], tuple[object, Right]]] = {"bytes": _bytes, "json": _json, "say": _say}
"""Makes, of a size and a caller's number, what it sends and the check of its answer.

`bytes`: that many bytes, echoed. `json`: a `Person` with a note of that many, one year older. `say`: the message of the
rpcx suite, whatever the size. The bodies of bytes and JSON differ by caller: an answer to somebody else's call is seen.
"""
SIZES = {"bytes": 581, "json": 480, "say": 581}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a server is started: the body that it has to answer, and the seconds that `Hello.Say` sleeps before it."""

    body: str = "bytes"
    delay: float = 0.0

    def arguments(self) -> list[str]:
        """The same as command-line options of a server."""
        return _arguments(self)

    @classmethod
    def parse(cls, argv: list[str]) -> Setup:
        """Of the command line of a server."""
        return _parse(cls, argparse.ArgumentParser(), argv)[1]


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement: `callers` at work over `connections` for `seconds`, after `warmup` seconds that do not count."""

    pattern: str = "closed"
    """A key of `benchmarks.loads.PATTERNS`."""
    body: str = "bytes"
    size: int = SIZES["bytes"]
    """Bytes of the body, or of the note in the JSON body."""
    callers: int = 100
    connections: int = 10
    seconds: float = 1.0
    warmup: float = 0.3
    delay: float = 0.0
    """Seconds that the server's `Hello.Say` sleeps."""
    rate: float = 0.0
    """Calls a second, for the pattern `open`."""
    background: float = 0.0
    """1 MiB echoes a second beside them, for the pattern `open`."""

    @property
    def setup(self) -> Setup:
        """The server that this load needs."""
        return Setup(self.body, self.delay)

    def arguments(self) -> list[str]:
        """The same as command-line options, as the load clients in Python and in Go take them."""
        return _arguments(self)

    @classmethod
    def parse(cls, argv: list[str]) -> tuple[str, Load]:
        """The server's address and the load, of the command line of a load client."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--address", required=True)
        options, load = _parse(cls, parser, argv)
        return options.address, load


_Values = TypeVar("_Values", Setup, Load)


def _arguments(values: Setup | Load) -> list[str]:
    return [word for name, value in asdict(values).items() for word in (f"--{name}", str(value))]


def _parse(cls: type[_Values], parser: argparse.ArgumentParser, argv: list[str]) -> tuple[Any, _Values]:
    for one in fields(cls):
        parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    options = parser.parse_args(argv)
    return options, cls(**{one.name: getattr(options, one.name) for one in fields(cls)})


@dataclass(frozen=True, slots=True)
class Result:
    """Of one load. A load client prints the first six as one line of JSON; the benchmark adds the others."""

    calls: int
    """That ended well within the window."""
    total: int
    """That ended well at all, warm-up included."""
    errors: int
    """Failed calls and wrong answers."""
    seconds: float
    """Length of the window."""
    cpu: float
    """CPU seconds of the load client's process from the first call to the last."""
    histogram: str = ""
    """Latencies of the calls, see `benchmarks.histogram`; empty when the load has none."""
    server_cpu: float = 0.0
    """CPU seconds of the server's processes meanwhile."""
    elsewhere: float = 0.0
    """Cores that other programs used meanwhile."""

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    def cpu_per_million(self, seconds: float) -> float:
        """Of CPU seconds that all calls took together, those of a million."""
        return seconds / self.total * 1e6 if self.total else 0.0
