"""The processes of a measurement: programs that misbehave are failures, and none outlives the benchmark."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from benchmarks import cpu
from benchmarks.opponents import base
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import Failed, Running
from benchmarks.opponents.goarpc import GoArpcDefault
from benchmarks.opponents.ours import Ours, OursTwo
from benchmarks.workload import Load, Setup
from tests.benchmarks.programs import HANGS, RESULT, SERVES, SOME, Scripted, prints, ready, start, systems
from tests.tools import eventually

pytestmark = pytest.mark.usefixtures("processes")

Processes = Callable[[], dict[int, str]]


def test_a_result() -> None:
    with Running(Scripted(), Setup()) as server:
        assert server.address == "here"
        result = server.load(SOME)
        assert {name: getattr(result, name) for name in RESULT} == RESULT
        assert result.server_cpu >= 0
        assert result.elsewhere >= 0
        assert server.load(SOME, [sys.executable, "-c", prints(RESULT | {"calls": 1})]).calls == 1


def test_the_options_that_programs_get(capfd: pytest.CaptureFixture[str]) -> None:
    told = "import sys; print(*sys.argv[1:], file=sys.stderr)\n"
    setup, load = Setup("json", 0.01), Load(pattern="open", body="json", rate=5.0)
    with Running(Scripted(told + SERVES, told + prints(RESULT)), setup) as server:
        server.load(load)
    server_options, client_options = capfd.readouterr().err.splitlines()
    assert Setup.parse(server_options.split()) == setup
    assert Load.parse(client_options.split()) == ("here", load)


def test_a_server_that_ends_at_once() -> None:
    with pytest.raises(Failed, match="Scripted: the server ended before it had an address"):
        Running(Scripted("raise SystemExit(3)"), Setup())


@pytest.mark.parametrize("text", ["hello", "[1]", "{}", '{"address": 1}', '{"address": null}', ""])
def test_a_server_that_gives_no_address(text: str) -> None:
    serves = f"import sys; print({text!r}, flush=True); sys.stdin.read()"
    with pytest.raises(Failed, match=r"Scripted: the server printed .* instead of an address"):
        Running(Scripted(serves), Setup())


@pytest.mark.parametrize(
    "client",
    [
        "",
        "raise SystemExit(1)",
        prints(RESULT) + "; raise SystemExit(1)",
        "import os; os.kill(os.getpid(), 9)",
        prints("'hello'"),
        "import os; os.write(1, bytes([0xff]))",
        prints([1]),
        prints(5),
        prints({}),
        prints(RESULT | {"calls": "many"}),
        prints(RESULT | {"histogram": "hello"}),
        prints(RESULT) + "; " + prints(RESULT),
    ],
)
def test_a_client_that_gives_no_result(client: str) -> None:
    with Running(Scripted(client=client), Setup()) as server, pytest.raises(Failed, match=r"Scripted: .*failed"):
        server.load(SOME)


async def test_a_client_that_hangs(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "GRACE", 0.1)
    with Running(Scripted(client=HANGS), Setup()) as server:
        with pytest.raises(Failed, match="Scripted: no result after 0 s: Load"):
            server.load(SOME)
        await eventually(lambda: set(processes()) == {server.pid}, why="the client is killed")


async def test_a_server_that_does_not_end(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "GRACE", 0.1)
    server = Running(Scripted(SERVES + HANGS), Setup())
    assert list(processes()) == [server.pid]
    server.stop()
    assert not processes()


@systems(Bare, OursTwo, GoArpcDefault)
async def test_stop_ends_all_there_is(kind: type[base.Opponent], processes: Processes) -> None:
    server = Running(ready(kind), Setup())
    assert set(processes()) == set(cpu.tree(server.pid))
    assert len(processes()) == (2 if kind is OursTwo else 1)
    server.stop()
    assert not processes()
    with pytest.raises(Failed, match="failed"):
        server.load(SOME)


# Cores.

PLACED = """
import json, os
print(json.dumps(RESULT | {"calls": min(os.sched_getaffinity(0)), "total": len(os.sched_getaffinity(0)),
                           "errors": int(os.environ.get("GOMAXPROCS", "0"))}))
""".replace("RESULT", repr(RESULT))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be pinned here")
def test_pinned_processes_have_one_core_each() -> None:
    all_cores = os.sched_getaffinity(0)
    with Running(Scripted(client=PLACED), Setup(), pinned=True) as server:
        (core,) = os.sched_getaffinity(server.pid)
        placed = server.load(SOME)
    assert (placed.total, placed.errors) == (1, 1)
    assert {core, placed.calls} <= all_cores
    assert placed.calls != core or len(all_cores) == 1
    assert os.sched_getaffinity(0) == all_cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be pinned here")
def test_others_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    with Running(Scripted(client=PLACED), Setup()) as server:
        assert os.sched_getaffinity(server.pid) == os.sched_getaffinity(0)
        placed = server.load(SOME)
    assert (placed.total, placed.errors) == (len(os.sched_getaffinity(0)), 0)


# When the benchmark is killed, nobody is left to stop anything.

BENCHMARK = """
import sys
from benchmarks.opponents import bare, goarpc, ours
from benchmarks.opponents.base import Running
from benchmarks.workload import Load, Setup
servers = [Running(kind(), Setup()) for kind in (KINDS)]
print("up", flush=True)
servers[0].load(Load(callers=5, seconds=30))
"""


@systems(Ours, Bare, GoArpcDefault)
async def test_nothing_outlives_a_killed_benchmark(kind: type[base.Opponent], processes: Processes) -> None:
    ready(kind)
    servers = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}, ours.OursTwo"
    with start(sys.executable, "-c", BENCHMARK.replace("KINDS", servers)) as benchmark:
        assert benchmark.stdout is not None
        assert benchmark.stdout.readline() == "up\n"
        # Itself, a server, two of the other kind, and a load client, which has connected.
        await eventually(lambda: len(processes()) == 5, why="the load client is started")
        assert set(processes()) == set(cpu.tree(benchmark.pid))
        benchmark.send_signal(signal.SIGKILL)
    await eventually(lambda: not processes(), why="all end by themselves")
