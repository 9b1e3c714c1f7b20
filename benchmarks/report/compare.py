"""What has changed between two runs: their ratios of ours to others, never their absolute figures.

    python -m benchmarks compare BEFORE.json AFTER.json [--threshold 0.9] [--reference NAME ...] [--latency]

A change counts as one when it is larger than the spreads of both runs. Exit code 1: calls of ours fail that did not, or
a ratio fell below `threshold` x what it was: of calls/s, of memory and with `--latency` of p99 (of these two, turned
round). 2: nothing can be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.report.grids import aligned, significant
from benchmarks.report.notes import doubts
from benchmarks.report.ratios import CPU, FAMILY, P99, RATE, memory_ratio, ratio
from benchmarks.report.schema import BadResults, Measurement, Memory, Run, read, run_of
from benchmarks.report.targets import EACH

THRESHOLD = 0.9
DEFAULT = ("go-default", "go-best", "bare")
"""References, unless others are named."""
MEMORY = {
    EACH: "bytes each",
    "server_bytes_per_stream": "bytes each, server",
    "client_bytes_per_stream": "bytes each, client",
    "peak": "peak memory",
    "later": "memory later",
}
LEAST = 0.02
"""A change smaller than this is none: of memory there is one reading, and a single round has no spread."""
CHOSEN_FREELY = frozenset({"seed"})
"""Settings that may differ."""


@dataclass(frozen=True, slots=True)
class Change:
    """One ratio in both runs."""

    where: str
    of: str
    what: str
    before: float
    after: float
    spread: float = 0.0
    """Of both runs together."""
    more_is_better: bool = False
    counts: bool = True
    """Whether it can make the run a worse one."""

    @property
    def factor(self) -> float:
        """What it is by what it was."""
        return self.after / self.before

    @property
    def moved(self) -> bool:
        """Whether it changed by more than the rounds differ."""
        return abs(self.factor - 1) > max(self.spread, LEAST)

    def fell(self, threshold: float) -> bool:
        """Whether it is below `threshold` x what it was; turned round, where less is better."""
        return (self.factor if self.more_is_better else 1 / self.factor) < threshold

    def row(self, threshold: float) -> list[str]:
        """For the table."""
        verdict = ""
        if self.fell(threshold):
            verdict = "worse" if self.counts else "worse, not counted"
            if not self.moved:
                verdict += f", but within the spreads ({self.spread:.0%}): run more rounds"
        figures = (significant(self.before), significant(self.after), f"x {self.factor:.2f}")
        return [self.where, self.of, self.what, *figures, verdict]


def compare(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    threshold: float = THRESHOLD,
    references: Sequence[str] = DEFAULT,
    latency: bool = False,
) -> tuple[str, bool]:
    """What has changed, and whether it became worse. Raises `BadResults` where nothing can be compared.

    Whatever the rounds' spreads, a ratio below the threshold is worse; so are calls that fail and did not before.
    """
    both = Pair(run_of(before), run_of(after))
    shared = both.shared(references)
    broken = list(both.broken())
    changes = [*both.of_calls(shared, latency), *both.of_memory(shared)]
    if not changes and not broken:
        raise BadResults("the two runs have no measurement in common")
    worse = [one for one in changes if one.counts and one.fell(threshold)]
    shown = [one for one in changes if one.moved or one in worse]
    lines = [*both.differences(), *(f"WORSE: {line}" for line in broken)]
    if shown:
        head = ["", "", "", "before", "after", "", ""]
        lines += ["", *aligned([head, *(one.row(threshold) for one in shown)], left=(0, 1, 2, 6)), ""]
    lines += [*both.only_in_one(references), *both.spoiled(references)]
    lines.append(f"{len(changes) - len(shown):,} of {len(changes):,} ratios did not change by more than the spreads.")
    lines.append(f"{len(worse):,} fell below {threshold:g} x what they were.")
    return "\n".join(lines), bool(worse or broken)


class Pair:
    """Two runs, and what they have in common."""

    def __init__(self, before: Run, after: Run) -> None:
        self.before, self.after = before, after
        self._calls = _calls(before), _calls(after)
        self._memory = _memory(before), _memory(after)

    def shared(self, references: Sequence[str]) -> list[str]:
        """Those of these systems that both runs have measured. Raises `BadResults` when there is none."""
        measured = [
            {name for one in run.calls for name in one.systems} | {name for one in run.memory for name in one.systems}
            for run in (self.before, self.after)
        ]
        found = [name for name in references if all(name in names for names in measured)]
        if not found:
            has = (", ".join(name for name in references if name in names) or "none" for names in measured)
            raise BadResults(
                f"the two runs have no reference in common; of {', '.join(references)}: the first has {next(has)},"
                f" the second {next(has)}"
            )
        return found

    def of_calls(self, references: Sequence[str], latency: bool) -> Iterator[Change]:
        """Under each load that is in both; where one failed there is no ratio."""
        for was, now in self._loads():
            for name, reference in ((name, other) for name in FAMILY for other in references if name != other):
                if any(_wrong(one, system) for one in (was, now) for system in (name, reference)):
                    continue
                for quantity in (RATE, P99, CPU):
                    old, new = (ratio(one, quantity, name, reference) for one in (was, now))
                    if old and new:
                        yield Change(
                            now.heading,
                            f"{name} / {reference}",
                            now.unit if quantity is RATE else quantity.name,
                            old.value,
                            new.value,
                            old.spread + new.spread,
                            quantity.more_is_better,
                            counts=quantity is RATE or (quantity is P99 and latency),
                        )

    def of_memory(self, references: Sequence[str]) -> Iterator[Change]:
        """In each measurement of memory that is in both."""
        old, new = self._memory
        for key in (key for key in new if key in old):
            for name, reference in ((name, other) for name in FAMILY for other in references if name != other):
                for what, words in MEMORY.items():
                    was, now = (memory_ratio(one[key], what, name, reference) for one in (old, new))
                    if was and now:
                        yield Change(new[key].heading, f"{name} / {reference}", words, was, now)

    def broken(self) -> Iterator[str]:
        """What of ours answered every call before, and does no longer."""
        for was, now in self._loads():
            for name in FAMILY:
                if name in was.systems and not _wrong(was, name) and _wrong(now, name):
                    errors = now.systems[name].errors
                    what = f"{errors:,} errors, and none before" if errors else "no call ended in the window any more"
                    yield f"{now.heading}: {name}: {what}"

    def differences(self) -> Iterator[str]:
        """Of the machines and settings; and what speaks against one of the runs."""
        runs = {"before": self.before, "after": self.after}
        for label, run in runs.items():
            yield f"{label}: {run.made}, {run.where}"
        for what, free in (("machine", frozenset[str]()), ("settings", CHOSEN_FREELY)):
            old, new = (getattr(run, what) for run in runs.values())
            for key in sorted((old.keys() | new.keys()) - free):
                if old.get(key) != new.get(key):
                    yield f"the runs differ in {what}, {key}: {old.get(key)} before, {new.get(key)} after"
        if any(
            (was.load.seconds, was.load.warmup) != (now.load.seconds, now.load.warmup) for was, now in self._loads()
        ):
            yield "the runs differ in the length of the same loads"
        for label, run in runs.items():
            yield from (f"{label}: {doubt}" for doubt in doubts(run))

    def only_in_one(self, references: Sequence[str]) -> Iterator[str]:
        """Measurements without a counterpart, and systems without one in what both runs have measured."""
        for label, mine, other in (("before", 0, 1), ("after", 1, 0)):
            for kind in (self._calls, self._memory):
                yield from (f"only {label}: {one.heading}" for key, one in kind[mine].items() if key not in kind[other])
                pairs = [(one, kind[other][key]) for key, one in kind[mine].items() if key in kind[other]]
                for name in (*FAMILY, *references):
                    alone = [one.heading for one, its in pairs if name in one.systems and name not in its.systems]
                    yield from _named(f"only {label}: {name}", alone)

    def spoiled(self, references: Sequence[str]) -> Iterator[str]:
        """What cannot be compared, for errors or because no call ended."""
        for number, label in enumerate(("before", "after")):
            for name in (*FAMILY, *references):
                wrong = [pair[number].heading for pair in self._loads() if _wrong(pair[number], name)]
                yield from _named(f"not compared, as it failed {label}: {name}", wrong)

    def _loads(self) -> Iterator[tuple[Measurement, Measurement]]:
        old, new = self._calls
        return ((was, new[key]) for key, was in old.items() if key in new)


def _calls(run: Run) -> dict[object, Measurement]:
    """By what was done; not by for how long."""
    return {(one.case, replace(one.load, seconds=0, warmup=0)): one for one in run.calls}


def _memory(run: Run) -> dict[object, Memory]:
    return {(one.case, one.heading): one for one in run.memory}


def _named(what: str, headings: Sequence[str]) -> Iterator[str]:
    """One line, however many measurements it is about."""
    if headings:
        yield f"{what} in {headings[0]}" + (f" and {len(headings) - 1:,} more" if len(headings) > 1 else "")


def _wrong(one: Measurement, name: str) -> bool:
    """Whether this system was measured, and failed."""
    return name in one.systems and (one.systems[name].errors > 0 or one.systems[name].rate <= 0)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="a result file")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"default: {THRESHOLD}")
    parser.add_argument("--reference", nargs="+", default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--latency", action="store_true", help="p99 counts, too")
    options = parser.parse_args(argv)
    if not options.threshold > 0:
        parser.error("--threshold must be above 0")
    return options


def main(argv: Sequence[str]) -> int:
    """Print what has changed; 1 when it became worse, 2 when it cannot be told."""
    options = parse(argv)
    try:
        before, after = read(options.before), read(options.after)
        text, worse = compare(before, after, options.threshold, options.reference, options.latency)
    except BadResults as error:
        print(f"cannot compare: {error}", file=sys.stderr)
        return 2
    print(text)
    return int(worse)
