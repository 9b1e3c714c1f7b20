"""Medians over rounds, their ratios, and how they are printed and saved."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.opponents.base import Opponent, Result

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(slots=True)
class Series:
    """The rounds of one system in one case."""

    opponent: Opponent
    results: list[Result] = field(default_factory=list)

    def median(self, value: Callable[[Result], float]) -> float:
        """Over the rounds; 0 when there are none."""
        return median(map(value, self.results)) if self.results else 0.0

    @property
    def rate(self) -> float:
        """Median calls per second."""
        return self.median(lambda result: result.rate)

    @property
    def spread(self) -> float:
        """Fastest minus slowest round, as a part of the median."""
        rates = [result.rate for result in self.results]
        return (max(rates) - min(rates)) / self.rate if self.rate else 0.0

    @property
    def errors(self) -> int:
        """Of all rounds."""
        return sum(result.errors for result in self.results)

    @property
    def elsewhere(self) -> float:
        """Cores that other programs used meanwhile; the worst round."""
        return max((result.elsewhere for result in self.results), default=0.0)

    def ratio(self, other: Series | None) -> float | None:
        """This median rate by that of the other; None without an other, or when it made no call."""
        return self.rate / other.rate if other is not None and other.rate else None


def table(title: str, series: Sequence[Series], references: Mapping[str, str]) -> str:
    """The table of one case; `references` maps the names of the systems to compare with to column heads."""
    by_name = {one.opponent.name: one for one in series}
    shown = {name: head for name, head in references.items() if name in by_name}
    rows = [["", "calls/s", "spread", "p50 ms", "p99 ms", "errors", "others", *shown.values()]]
    for one in series:
        ratios = (one.ratio(by_name[name]) for name in shown)
        rows.append(
            [
                one.opponent.title,
                f"{one.rate:,.0f}",
                f"{one.spread:.0%}",
                f"{one.median(lambda result: result.p50) * 1e3:.3f}",
                f"{one.median(lambda result: result.p99) * 1e3:.3f}",
                str(one.errors),
                f"{one.elsewhere:.2f}",
                *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for head, *cells in rows:
        right = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((f"  {head:<{widths[0]}}", *right)))
    return "\n".join((title, *lines))


def record(case: str, callers: int, series: Sequence[Series]) -> dict[str, object]:
    """One case for the JSON file: every round of every system, in calls/s and seconds."""
    systems = {
        one.opponent.name: {
            "calls_per_second": one.rate,
            "p50_seconds": one.median(lambda result: result.p50),
            "p99_seconds": one.median(lambda result: result.p99),
            "errors": one.errors,
            "cores_used_by_others": one.elsewhere,
            "rounds": [
                {"calls_per_second": result.rate, "p50_seconds": result.p50, "p99_seconds": result.p99}
                for result in one.results
            ],
            "ratio_to": {other.opponent.name: one.ratio(other) for other in series if other is not one},
        }
        for one in series
    }
    return {"case": case, "callers": callers, "systems": systems}


def machine() -> dict[str, object]:
    """What a figure depends on: cores that may be used, processor, system, Python."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def heading(machine: Mapping[str, object]) -> str:
    """The machine in one line."""
    return "{cores} cores, {processor}, {system}, {python}".format_map(machine)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def save(name: str, results: Mapping[str, object]) -> Path:
    """Write benchmarks/results/<name>.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path
