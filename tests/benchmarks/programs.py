"""Programs for the benchmark to run: systems that may be missing here, and systems of a few lines that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import histogram
from benchmarks.opponents import go
from benchmarks.opponents.base import ROOT, Opponent, Unavailable
from benchmarks.opponents.go import GoOpponent
from benchmarks.workload import Load
from tests.tools import missing

BUILD_PATIENCE = 300
"""Seconds for a test that builds a Go program: with cold caches Go compiles its own standard library, too."""
BUILT_HERE = "arpc"
"""The folder of the Go module that tests build; the others are large, so that they must have been built before."""


def ready(kind: type[Opponent]) -> Opponent:
    """That system, prepared. Skips the test where something of it is not installed or not built."""
    opponent = kind()
    if isinstance(opponent, GoOpponent) and opponent.folder != BUILT_HERE:
        program = go.BUILD / f"go-{opponent.folder}"
        if not program.exists():
            missing(f"{program.name} is not built: make opponents")
    try:
        opponent.prepare()
        reason = None
    except Unavailable as error:
        reason = f"{opponent.title}: {error}"
    if reason:
        missing(reason)
    return opponent


def systems(*kinds: type[Opponent]) -> pytest.MarkDecorator:
    """Runs a test with each of these, as the argument `kind`."""
    slow = pytest.mark.timeout(BUILD_PATIENCE)
    return pytest.mark.parametrize(
        "kind", [pytest.param(one, id=one.name, marks=[slow] * issubclass(one, GoOpponent)) for one in kinds]
    )


# Scripts.

SERVES = """
import json, sys
print(json.dumps({"address": "here"}), flush=True)
sys.stdin.read()
"""
RESULT = {
    "calls": 3,
    "total": 4,
    "errors": 0,
    "seconds": 0.5,
    "cpu": 0.1,
    "histogram": histogram.encoded([0.001, 0.002, 0.003]),
}
HANGS = "import time; time.sleep(600)"


def prints(text: object) -> str:
    """A client that prints this, as JSON unless it is a string."""
    return f"print({text if isinstance(text, str) else json.dumps(text)!r})"


class Scripted(Opponent):
    """One whose programs are these scripts; they get the options that all programs get."""

    patterns = frozenset({"closed", "open", "notify", "reverse", "connect"})

    def __init__(self, server: str = SERVES, client: str = prints(RESULT), name: str = "scripted") -> None:
        self.name, self.title = name, name.capitalize()
        self._server, self._client = server, client

    def prepare(self) -> str:
        return f"{self.name} 1.0"

    def server_command(self) -> list[str]:
        return [sys.executable, "-c", self._server]

    def client_command(self) -> list[str]:
        return [sys.executable, "-c", self._client]


def start(*command: str) -> subprocess.Popen[str]:
    """Starts it as a terminal does: in a process group of its own, which gets Ctrl-C."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def started_with(mark: str) -> dict[int, str]:
    """Processes that run with this in their environment: their command lines by their numbers."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            pass  # it has ended, or is another user's
    return found


SOME = Load(callers=2, connections=1, seconds=0.05, warmup=0.0)
"""A load for those who do not look at it."""
