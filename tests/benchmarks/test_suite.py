"""The run: who is measured when, and what becomes of it when something fails or the run is ended.

Without processes: servers are objects here that note what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cases, histogram, imports, memory, suite
from benchmarks.cases import Case
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import Failed, Opponent, Unavailable
from benchmarks.report.schema import read, run_of
from benchmarks.results import Results
from benchmarks.suite import Plan, Suite
from benchmarks.workload import Load, Result, Setup
from tests.benchmarks.programs import Scripted

ONE, TWO = Load(callers=1), Load(callers=2)
CASE = Case("bytes", "bytes echo", (ONE, TWO))


class Servers:
    """Stands in for `Running`: remembers the servers that were started, and their loads in order."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Setup, bool]] = []
        self.loads: list[tuple[str, Load]] = []
        self.clients: list[Sequence[str] | None] = []
        self.stopped: list[str] = []
        self.result = Result(calls=3, total=4, errors=0, seconds=0.5, cpu=0.1)
        self.trouble: Callable[[str, Load | None], None] = lambda name, load: None
        """Told before a server starts and before each load, which it may have fail."""

    def __call__(self, opponent: Opponent, setup: Setup, *, pinned: bool = False) -> _Server:
        self.trouble(opponent.name, None)
        self.started.append((opponent.name, setup, pinned))
        return _Server(self, opponent.name)


class _Server:
    def __init__(self, servers: Servers, name: str) -> None:
        self._servers, self._name = servers, name

    def load(self, load: Load, client: Sequence[str] | None = None) -> Result:
        self._servers.trouble(self._name, load)
        self._servers.loads.append((self._name, load))
        self._servers.clients.append(client)
        return self._servers.result

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self._servers.stopped.append(self._name)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """All of them must have been stopped in the end."""
    servers = Servers()
    monkeypatch.setattr(suite, "Running", servers)
    yield servers
    assert sorted(servers.stopped) == sorted(name for name, _, _ in servers.started)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    opponents = [Scripted(name=name) for name in ("first", "second", "third")]
    return Plan(opponents, [CASE], [], imports=False, rounds=3, seed=1, pinned=False, output=tmp_path / "run.json")


def run(plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """Run it; what is in the file after it, and the steps."""
    steps: list[str] = []
    results = Results("test", {"rounds": plan.rounds})
    shown: list[dict[str, Any]] = []
    try:
        Suite(plan, results, shown.append, steps.append).run()
    finally:
        written = read(plan.output)
        assert len(shown) in (len(results.data["calls"]), len(results.data["calls"]) - 1)
    return written, steps


def order(servers: Servers, plan: Plan) -> list[tuple[str, Load]]:
    servers.loads.clear()
    run(plan)
    return list(servers.loads)


def test_all_of_it(servers: Servers, plan: Plan) -> None:
    servers.result = replace(servers.result, histogram=histogram.encoded([0.001, 0.002, 0.003]))
    data, steps = run(plan)
    assert data["complete"]
    assert data["failures"] == []
    assert servers.started == [(name, Setup(), False) for name in ("first", "second", "third")]
    assert len(steps) == plan.steps() == 2 * 3 * 3
    assert [one["load"]["callers"] for one in data["calls"]] == [1, 2]
    for one in run_of(data).calls:
        assert list(one.systems) == ["first", "second", "third"]
        for system in one.systems.values():
            assert len(system.rounds) == 3
            assert (system.rate, system.errors, system.spread) == (6.0, 0, 0.0)
            assert system.latency["p50"] == pytest.approx(0.002, rel=1e-3)
            assert system.client_cpu == pytest.approx(0.1 / 4 * 1e6)


def test_every_round_has_each_system_once(servers: Servers, plan: Plan) -> None:
    turns = order(servers, plan)
    for number in range(0, len(turns), 3):
        names, loads = zip(*turns[number : number + 3], strict=True)
        assert sorted(names) == ["first", "second", "third"]
        assert len(set(loads)) == 1


def test_the_order_depends_on_the_seed_alone(servers: Servers, plan: Plan) -> None:
    orders = [order(servers, replace(plan, seed=seed)) for seed in (1, 2, 3, 1, 2, 3)]
    assert orders[:3] == orders[3:]
    assert orders[0] != orders[1] != orders[2]


def test_pinned(servers: Servers, plan: Plan) -> None:
    run(replace(plan, pinned=True))
    assert all(pinned for _, _, pinned in servers.started)


def test_each_setup_has_servers_of_its_own(servers: Servers, plan: Plan) -> None:
    case = replace(CASE, loads=(ONE, replace(ONE, delay=0.01), replace(TWO, delay=0.01)))
    run(replace(plan, cases=[case], opponents=plan.opponents[:1]))
    assert [setup for _, setup, _ in servers.started] == [Setup(), Setup(delay=0.01)]


def test_systems_that_do_not_take_a_load(servers: Servers, plan: Plan) -> None:
    large = replace(CASE, loads=(Load(size=1 << 20), Load(callers=1)))
    plan = replace(plan, cases=[large, replace(CASE, loads=(Load(body="say"),))], opponents=[Scripted(), Bare()])
    data, steps = run(plan)
    assert [set(one["systems"]) for one in data["calls"]] == [{"scripted"}, {"scripted", "bare"}, set()]
    assert len(steps) == plan.steps()


def test_servers_alone_are_called_by_bare_clients(servers: Servers, plan: Plan) -> None:
    run(replace(plan, cases=[replace(CASE, on_the_wire=True)], opponents=[Scripted(), Bare()]))
    assert {name for name, _ in servers.loads} == {"bare"}  # the other does not speak this wire
    assert all(client == Bare().client_command() for client in servers.clients)
    servers.clients.clear()
    run(plan)
    assert not any(servers.clients)


def test_a_server_that_does_not_start(servers: Servers, plan: Plan) -> None:
    def trouble(name: str, load: Load | None) -> None:
        if name == "second" and load is None:
            raise Failed("Second: it does not start")

    servers.trouble = trouble
    data, _ = run(plan)
    assert data["complete"]
    assert data["failures"] == ["Second: it does not start"]
    assert [set(one["systems"]) for one in data["calls"]] == [{"first", "third"}] * 2


def test_a_load_that_fails(servers: Servers, plan: Plan) -> None:
    def trouble(name: str, load: Load | None) -> None:
        if (name, load) == ("second", ONE) and ("second", ONE) in servers.loads:
            raise Failed("Second: no result")

    servers.trouble = trouble
    data, _ = run(plan)
    assert data["failures"] == ["Second: no result"]  # it is not tried again
    rounds = [{name: len(one["rounds"]) for name, one in record["systems"].items()} for record in data["calls"]]
    assert rounds == [{"first": 3, "second": 1, "third": 3}, {"first": 3, "second": 3, "third": 3}]


@pytest.mark.parametrize("calls", range(0, 18, 4))
def test_what_was_measured_before_an_interrupt_is_kept(servers: Servers, plan: Plan, calls: int) -> None:
    def trouble(name: str, load: Load | None) -> None:
        if load is not None and len(servers.loads) == calls:
            raise KeyboardInterrupt

    servers.trouble = trouble
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    data = read(plan.output)
    assert not data["complete"]
    assert sum(len(one["rounds"]) for record in data["calls"] for one in record["systems"].values()) == calls


def test_memory_and_imports(servers: Servers, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "measure", lambda: {"import arpc": {"seconds": 0.1, "ratio": 1.0}})

    class Weighing(memory.AfterLoad):
        def measure_one(self, opponent: Opponent) -> dict[str, float]:
            if opponent.name == "second":
                raise Failed("Second: it has no weight")
            return {"before": 1, "peak": 3, "after": 2, "later": 1}

    plan = replace(plan, cases=[], memory=[Weighing()], imports=True)
    data, steps = run(plan)
    assert set(data["memory"][0]["systems"]) == {"first", "third"}
    assert data["failures"] == ["Second: it has no weight"]
    assert data["imports"] == {"import arpc": {"seconds": 0.1, "ratio": 1.0}}
    assert len(steps) == plan.steps() == 4
    assert data["complete"]


def test_what_can_be_measured_here() -> None:
    class Missing(Scripted):
        def __init__(self) -> None:
            super().__init__(name="missing")

        def prepare(self) -> str:
            raise Unavailable("it is not installed")

    class Broken(Missing):
        def __init__(self) -> None:
            Scripted.__init__(self, name="broken")

        def prepare(self) -> str:
            raise Failed("it does not compile")

    results = Results("test", {})
    assert [one.name for one in suite.prepared([Missing, Scripted, Broken], results)] == ["scripted"]
    assert results.data["left_out"] == {"missing": "it is not installed"}
    assert results.data["failures"] == ["it does not compile"]
    assert results.data["systems"] == {"scripted": {"title": "Scripted", "versions": "scripted 1.0"}}


# Cases.


def test_the_cases_have_names_and_loads_that_fit() -> None:
    known = cases.cases()
    assert all(name == case.name and case.loads for name, case in known.items())
    assert [load.callers for load in known["bytes"].loads] == [1, 100, 500, 1000, 2000, 5000]
    assert {load.delay for load in known["say"].loads} == {0, 0.01, 0.03}
    assert {load.body for load in known["json"].loads} == {"json"}
    assert [(load.pattern, load.size) for load in known["streams"].loads] == [("items", 100), ("items", 65_536)]
    assert [(load.callers, load.connections) for load in known["fan-in"].loads] == [(10_000, 10)]
    few = cases.cases([3], [0.5], 7)
    assert [(load.callers, load.delay) for load in few["say"].loads] == [(3, 0.5)]
    assert [(load.callers, load.connections) for load in few["busy"].loads] == [(7, 7)]


def test_the_length_of_a_case() -> None:
    few = cases.cases([1, 5000], [0.0])
    assert [load.warmup for load in cases.timed(few["bytes"], 2.0, 0.1).loads] == [0.1, 1.0]
    assert {load.seconds for load in cases.timed(few["bytes"], 2.0, 0.1).loads} == {2.0}
    assert {load.seconds for load in cases.timed(few["busy"], 2.0, 0.1).loads} == {6.0}
