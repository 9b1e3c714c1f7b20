"""What ours is meant to reach, as ratios to others within one run, and whether a run shows it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from benchmarks.report.grids import significant
from benchmarks.report.ratios import OURS, P50, P99, RATE, Quantity, memory_ratio, ratio
from benchmarks.report.schema import IDLE, LARGE, MIB, Measurement, Run, callers_in_words

RELATIONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "<": operator.lt}
EACH = "bytes_per_connection"


@dataclass(frozen=True, slots=True)
class Target:
    """`quantity` of ours by that of `reference` shall stand in `relation` to `bound`, under the load described."""

    title: str
    case: str
    reference: str
    relation: str
    bound: float
    quantity: Quantity = RATE
    callers: int | None = None
    size: int | None = None
    connections: int | None = None
    """Of idle memory, in one process."""

    def fits(self, measurement: Measurement) -> bool:
        """Whether it is about that load; with handlers that sleep, no target is."""
        load = measurement.load
        return (
            measurement.case == self.case
            and load.delay == 0
            and self.callers in (None, load.callers)
            and self.size in (None, load.size)
        )

    def holds(self, value: float) -> bool:
        """Whether this ratio meets it."""
        return RELATIONS[self.relation](value, self.bound)

    def text(self, value: float) -> str:
        """The ratio with three digits, or as many as show on which side of the bound it is."""
        texts = (significant(value, digits) for digits in range(3, 18))
        return next((text for text in texts if self.holds(float(text)) == self.holds(value)), repr(value))


def _at(callers: int, *targets: Target) -> tuple[Target, ...]:
    return tuple(replace(one, title=f"{one.title}, {callers_in_words(callers)}", callers=callers) for one in targets)


_ECHO = (
    Target("bytes echo", "bytes", "go-default", ">=", 2.5),
    Target("bytes echo", "bytes", "go-best", ">=", 1.4),
    Target("bytes echo", "bytes", "grpc-aio", ">=", 50),
    Target("bytes echo", "bytes", "pycapnp", ">=", 8),
    Target("bytes echo", "bytes", "bare", ">=", 0.65),
)
_ITEMS = Target("stream items of 100 bytes", "streams", "", ">=", 2, replace(RATE, name="items/s"), size=100)
_SAY = Target("Hello.Say, no delay", "say", "go-default", ">=", 1.5)

TARGETS = (
    *_at(100, *_ECHO),
    *_at(1000, *_ECHO),
    *_at(100, _SAY),
    *_at(1000, _SAY),
    *_at(1000, Target("bytes echo", "bytes", "go-default", "<", 1, P99)),
    *_at(1, Target("bytes echo", "bytes", "go-default", "<=", 1.25, P50)),
    replace(_ITEMS, reference="go-default"),
    replace(_ITEMS, reference="go-best"),
    replace(_ITEMS, reference="grpc-aio", bound=20),
    *_at(100, Target("typed JSON without five middlewares", "chain", "ours-chain", "<=", 1 / 0.7)),
    *_at(1000, Target("typed JSON without five middlewares", "chain", "ours-chain", "<=", 1 / 0.7)),
    Target("1 MiB echo", LARGE, "go-default", ">=", 1, replace(RATE, name="GB/s"), size=MIB),
    Target(
        "19,000 idle connections", IDLE, "go-default", "<=", 0.25, replace(RATE, name="bytes each"), connections=19_000
    ),
)


class State(StrEnum):
    """How a target stands."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target in one run."""

    target: Target
    state: State
    value: float | None = None
    note: str = ""


def verdicts(results: Run) -> list[Verdict]:
    """Of every target; of each load where a target fits several."""
    return [verdict for target in TARGETS for verdict in _judged(target, results)]


def _judged(target: Target, results: Run) -> Iterator[Verdict]:
    if target.case == IDLE:
        yield _of_memory(target, results)
        return
    fitting = [one for one in results.calls if target.fits(one)]
    if not fitting:
        yield Verdict(target, State.UNKNOWN, note=_absence(target, results))
    for one in fitting:
        title = f"{target.title}; {one.crowd}, {one.conditions}" if len(fitting) > 1 else target.title
        yield _of_calls(replace(target, title=title), one, results)


def _of_calls(target: Target, measurement: Measurement, results: Run) -> Verdict:
    """Wrong answers of ours miss every target; those of the other leave nothing to compare with."""
    wrong = {name: measurement.systems[name].errors for name in (OURS, target.reference) if name in measurement.systems}
    found = ratio(measurement, target.quantity, OURS, target.reference)
    value = found.value if found else None
    if wrong.get(OURS):
        return Verdict(target, State.MISSED, value, f"{wrong[OURS]:,} errors")
    if wrong.get(target.reference):
        note = f"{wrong[target.reference]:,} errors of {results.title(target.reference)}"
        return Verdict(target, State.UNKNOWN, value, note)
    if found is None:
        return Verdict(target, State.UNKNOWN, note=_absence(target, results))
    close = abs(found.value / target.bound - 1) < found.spread
    return _verdict(target, found.value, f"nearer than the rounds' spread, {found.spread:.0%}" if close else "")


def _of_memory(target: Target, results: Run) -> Verdict:
    for one in results.idle():
        if (one.connections, one.processes, one.client) == (target.connections, 1, "raw"):
            value = memory_ratio(one, EACH, OURS, target.reference)
            if value is not None:
                return _verdict(target, value, "")
    return Verdict(target, State.UNKNOWN, note=_absence(target, results))


def _verdict(target: Target, value: float, note: str) -> Verdict:
    return Verdict(target, State.MET if target.holds(value) else State.MISSED, value, note)


def _absence(target: Target, results: Run) -> str:
    """Why there is nothing, as far as it is known."""
    for name in (OURS, target.reference):
        if name in results.left_out:
            return f"{name} was left out"
        if name not in results.systems:
            return f"{name} is not in this run"
    return ""
