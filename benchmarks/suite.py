"""The run: the systems take turns under each load, round after round, and what they did is kept as it comes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import imports, memory
from benchmarks.cases import Case
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import Failed, Opponent, Running, Unavailable
from benchmarks.results import Results, Series
from benchmarks.workload import Load, Setup

Step = Callable[[str], None]
"""Told what is measured next."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    opponents: Sequence[Opponent]
    cases: Sequence[Case]
    memory: Sequence[memory.Memory]
    imports: bool
    rounds: int
    seed: int
    pinned: bool
    output: Path

    def steps(self) -> int:
        """How often `step` is going to be called, if every system is there and none fails."""
        calls = sum(len(takers(self.opponents, case, load)) for case in self.cases for load in case.loads)
        return calls * self.rounds + sum(one.steps(self.opponents) for one in self.memory) + self.imports


@dataclass(slots=True)
class Suite:
    """One run. `show` is given the record of each load, `step` the name of each measurement before it."""

    plan: Plan
    results: Results
    show: Callable[[dict[str, Any]], None]
    step: Step
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.plan.seed)

    def run(self) -> None:
        """Measure everything of the plan. What is there is saved after each load, and when it is interrupted."""
        try:
            for case in self.plan.cases:
                for setup, loads in groupby(case.loads, key=lambda load: load.setup):
                    self._measure(case, setup, tuple(loads))
            for one in self.plan.memory:
                systems: memory.Systems = {}
                self.results.data["memory"].append(one.heading() | {"systems": systems})
                one.measure(self.plan.opponents, self.step, self._failed, systems)
                self.results.save(self.plan.output)
            if self.plan.imports:
                self.step("import time")
                self.results.data["imports"] = imports.measure()
            self.results.data["complete"] = True
        finally:
            self.results.save(self.plan.output)

    def _measure(self, case: Case, setup: Setup, loads: Sequence[Load]) -> None:
        """All loads of a case that need the same servers; these run side by side, idle but for one."""
        with ExitStack() as stack:
            running: dict[str, Running] = {}
            for opponent in self.plan.opponents:
                if any(opponent in takers(self.plan.opponents, case, load) for load in loads):
                    try:
                        server = Running(opponent, setup, pinned=self.plan.pinned)
                        running[opponent.name] = stack.enter_context(server)
                    except Failed as failure:
                        self._failed(failure)
            for load in loads:
                there = [one for one in takers(self.plan.opponents, case, load) if one.name in running]
                series = [Series(opponent) for opponent in there]
                try:
                    self._rounds(case, load, series, running)
                finally:
                    record = self.results.add(case, load, series)
                self.results.save(self.plan.output)
                self.show(record)

    def _rounds(self, case: Case, load: Load, series: Sequence[Series], running: dict[str, Running]) -> None:
        """Every system once in each round, in an order of chance, so that a slow moment of the machine favours none.

        One that fails is not run again under this load.
        """
        client = Bare().client_command() if case.on_the_wire else None
        left = list(series)
        for number in range(self.plan.rounds):
            for one in self._random.sample(left, len(left)):
                self.step(f"{case.name}, {load.callers} callers, round {number + 1}: {one.opponent.title}")
                try:
                    one.rounds.append(running[one.opponent.name].load(load, client))
                except Failed as failure:
                    self._failed(failure)
                    left.remove(one)

    def _failed(self, failure: Failed) -> None:
        self.results.data["failures"].append(str(failure))


def takers(opponents: Iterable[Opponent], case: Case, load: Load) -> list[Opponent]:
    """The systems that can be put under this load."""
    return [one for one in opponents if (one.wire if case.on_the_wire else one.takes(load))]


def prepared(kinds: Iterable[type[Opponent]], results: Results) -> Iterator[Opponent]:
    """Those systems that can be measured here; why another cannot goes into the results."""
    for kind in kinds:
        opponent = kind()
        try:
            versions = opponent.prepare()
        except Unavailable as reason:
            results.data["left_out"][opponent.name] = str(reason)
        except Failed as failure:
            results.data["failures"].append(str(failure))
        else:
            results.data["systems"][opponent.name] = {"title": opponent.title, "versions": versions}
            yield opponent
