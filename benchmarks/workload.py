"""What every server answers and every load client sends; benchmarks/go/workload says the same in Go."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields

import msgspec

ECHO = "/echo"
PERSON = "/person"
SIZES = {"bytes": 581, "json": 480}
"""Per case: bytes of the body, or of the note in the JSON body."""


class Person(msgspec.Struct):
    """The typed JSON body; the server answers it with age + 1, so that an answer proves that it was decoded."""

    name: str
    age: int
    tags: list[str]
    note: str


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement: `callers` at work over `connections` for `seconds`, after `warmup` seconds that do not count."""

    case: str
    callers: int
    connections: int = 10
    seconds: float = 1.0
    warmup: float = 0.3

    def arguments(self) -> list[str]:
        """The same as command-line options, as the load clients in Python and in Go take them."""
        options = {**asdict(self), "size": SIZES[self.case]}
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]

    @classmethod
    def parse(cls, argv: list[str]) -> tuple[str, Load]:
        """The server's address and the load, of the command line of a load client."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--address", required=True)
        parser.add_argument("--case", choices=SIZES, required=True)
        for name in ("callers", "connections", "size"):
            parser.add_argument(f"--{name}", type=int, required=True)
        for name in ("seconds", "warmup"):
            parser.add_argument(f"--{name}", type=float, required=True)
        options = vars(parser.parse_args(argv))
        return options["address"], cls(**{field.name: options[field.name] for field in fields(cls)})


def echo_body(caller: int) -> bytes:
    """Each caller sends a body of its own, so that an answer to somebody else's call is seen."""
    return b"x" * (SIZES["bytes"] - 8) + b"%08d" % caller


def person_body(caller: int) -> Person:
    """The JSON body of this caller, see `echo_body`."""
    return Person(f"caller {caller:08d}", 20 + caller % 60, ["red", "green", "blue"], "n" * SIZES["json"])


def older(person: Person) -> Person:
    """What /person answers to it."""
    return Person(person.name, person.age + 1, person.tags, person.note)
