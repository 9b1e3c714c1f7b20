"""Memory of connections, import times and file descriptors: figures that can be true."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from benchmarks import imports, memory
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import ROOT, Failed, Opponent, Running
from benchmarks.opponents.goarpc import GoArpcDefault
from benchmarks.opponents.ours import Ours, OursTwo
from benchmarks.opponents.pycapnp import Pycapnp
from benchmarks.report.schema import Memory
from benchmarks.workload import Setup
from tests.benchmarks.programs import RESULT, SERVES, Scripted, ready, systems

MIB = 1 << 20

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc"),
]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "WARMING", 10)
    monkeypatch.setattr(memory, "LATER", 0.0)


def measured(one: memory.Memory, *opponents: Opponent) -> tuple[dict[str, dict[str, float]], list[str]]:
    """The figures by system, and what failed; the record is as the report reads it."""
    steps: list[str] = []
    failures: list[str] = []
    figures: memory.Systems = {}
    one.measure(opponents, steps.append, lambda failure: failures.append(str(failure)), figures)
    assert len(steps) == one.steps(opponents)
    assert {"case", "title"} <= set(one.heading()) < set(Memory.__struct_fields__)
    return figures, failures


@systems(Ours, GoArpcDefault)
def test_idle_connections(kind: type[Opponent]) -> None:
    figures, failures = measured(memory.Idle(500), ready(kind), Pycapnp())  # which has another wire
    assert not failures
    ((name, one),) = figures.items()
    assert name == kind.name
    assert 100 < one["bytes_per_connection"] < 100_000
    assert one["bytes_per_connection"] == (one["after"] - one["before"]) / 500
    assert 2 * MIB < one["before"] < one["after"] < 200 * MIB


def test_idle_connections_of_several_processes() -> None:
    figures, failures = measured(memory.Idle(100, processes=2), Bare())
    assert not failures
    with Running(Bare(), Setup()) as server:
        assert figures["bare"]["before"] == pytest.approx(2 * memory.resident(server), rel=0.2)


def test_idle_connections_of_our_clients() -> None:
    figures, failures = measured(memory.Idle(50, client="arpc"), Ours(), Bare())
    assert not failures
    assert list(figures) == ["ours"]


HOLDS = """
import json, sys
asked = []
for line in sys.stdin:
    asked.append(int(line))
    print(json.dumps({"streams": sum(asked)}), flush=True)
print(json.dumps(RESULT))
"""
"""A client that says that it holds as many streams as it is asked to."""


def accepting(answer: str) -> str:
    """A server that answers each request so; `body` is what came after the header."""
    return f"""
import json, socket, sys, threading

def serve():
    while True:
        connection = listener.accept()[0]
        header = connection.recv(16)
        body = connection.recv(65536)
        connection.sendall({answer})

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()
print(json.dumps({{"address": "tcp://127.0.0.1:%d" % listener.getsockname()[1]}}), flush=True)
sys.stdin.read()
"""


class OnTheWire(Scripted):
    wire = True


@pytest.mark.parametrize("answer", ["header + body[:-1] + b'?'", "header + b'?' * len(body)"])
def test_a_wrong_answer_on_an_idle_connection(answer: str, capfd: pytest.CaptureFixture[str]) -> None:
    figures, failures = measured(memory.Idle(5), OnTheWire(accepting(answer)), Bare())
    assert failures == ["Scripted: not all of 10 connections made their call"]
    assert list(figures) == ["bare"]
    assert "WrongAnswer: connection 0" in capfd.readouterr().err


def test_a_server_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    _, failures = measured(memory.Idle(5), OnTheWire(SERVES.replace("here", nobody)))
    assert failures == ["Scripted: not all of 10 connections made their call"]
    assert "ConnectionRefusedError" in capfd.readouterr().err


@systems(Ours, GoArpcDefault)
def test_idle_streams(kind: type[Opponent]) -> None:
    figures, failures = measured(memory.IdleStreams(1000), ready(kind), Bare())  # which has no streams
    assert not failures
    ((name, one),) = figures.items()
    assert name == kind.name
    assert set(one) == {"server_bytes_per_stream", "client_bytes_per_stream"}
    assert all(50 < each < 50_000 for each in one.values()), one


@pytest.mark.parametrize(
    ("client", "failure"),
    [
        ("", "not all of 10 streams were opened"),
        (HOLDS.replace("sum(asked)", "5"), "not all of 10 streams were opened"),
        (HOLDS.replace("sum(asked)", "sum(asked[:1])"), "not all of 30 streams were opened"),
        (HOLDS, "3 of 30 idle streams had their item read"),
        (HOLDS.replace("RESULT", "'no result'"), "0 of 30 idle streams had their item read"),
    ],
)
def test_idle_streams_that_are_not_there(client: str, failure: str) -> None:
    holding = Scripted(client=client.replace("RESULT", repr(RESULT)))
    holding.patterns = frozenset({"hold"})
    figures, failures = measured(memory.IdleStreams(20), holding)
    assert (figures, failures) == ({}, [f"Scripted: {failure}"])


def test_after_a_load() -> None:
    figures, failures = measured(memory.AfterLoad(0.1), Ours(), OursTwo())
    assert not failures
    ((name, one),) = figures.items()  # of one process
    assert name == "ours"
    assert 5 * MIB < one["before"] < one["peak"] < 1000 * MIB
    assert one["before"] < one["after"] <= one["peak"]
    assert one["later"] <= one["peak"]


def test_all_processes_of_a_server_count() -> None:
    with Running(Ours(), Setup()) as one, Running(OursTwo(), Setup()) as two:
        assert memory.resident(two) > 1.5 * memory.resident(one)
        assert memory.highest(two) > 1.5 * memory.highest(one)
        assert memory.highest(one) >= memory.resident(one) * 0.95  # the kernel adds up in steps
    with pytest.raises(Failed, match="not all of 3 connections"):
        memory.Held(one, 3, "raw")


# File descriptors.

ALLOWED = """
import json, resource, sys
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from benchmarks import memory
allowed = memory.allowed_connections(wanted)
print(json.dumps([allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "files"),
    [
        (256, 4096, 1000, 1000, 1400),
        (256, 4096, 19_000, 3696, 4096),
        (4096, 4096, 1000, 1000, 4096),  # never lowered
        (500, 500, 19_000, 100, 500),
    ],
)
def test_the_limit_of_open_files(soft: int, hard: int, wanted: int, allowed: int, files: int) -> None:
    command = [sys.executable, "-c", ALLOWED, *map(str, (soft, hard, wanted))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [allowed, files]


# Imports.


def test_import_times() -> None:
    times = imports.measure(rounds=1)
    assert set(times) == set(imports.STATEMENTS)
    for one in times.values():
        assert 0.001 < one["seconds"] < 10
        assert one["ratio"] == one["seconds"] / times[imports.BASE]["seconds"]


def test_what_cannot_be_imported_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "STATEMENTS", ("import asyncio", "import no_such_module"))
    assert imports.measure(rounds=1) == {"import asyncio": {"seconds": pytest.approx(5, abs=5), "ratio": 1.0}}
