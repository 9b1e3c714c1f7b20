"""A run's figures: medians over rounds, and the JSON file that tables, plots and comparisons are made from."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import histogram
from benchmarks.cases import Case
from benchmarks.opponents.base import Opponent
from benchmarks.report.schema import SCHEMA
from benchmarks.workload import Load, Result

FOLDER = Path(__file__).resolve().parent / "results"
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


@dataclass(slots=True)
class Series:
    """The rounds of one system under one load."""

    opponent: Opponent
    rounds: list[Result] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """For the file: medians over the rounds, and each round in short. Seconds; CPU seconds per million calls."""
        rates = [result.rate for result in self.rounds]
        rate = median(rates)
        latencies = [_latency(result) for result in self.rounds]
        timed = any(result.histogram for result in self.rounds)
        merged = histogram.merged([result.histogram for result in self.rounds])
        curve = [[point, histogram.percentile(merged, point)] for point in histogram.POINTS if timed]
        return {
            "rate": rate,
            "spread": (max(rates) - min(rates)) / rate if rate else 0.0,
            "errors": sum(result.errors for result in self.rounds),
            "elsewhere": max(result.elsewhere for result in self.rounds),
            "latency": {name: median(one[name] for one in latencies) for name in latencies[0]} if timed else {},
            "client_cpu": self._median(lambda result: result.cpu_per_million(result.cpu)),
            "server_cpu": self._median(lambda result: result.cpu_per_million(result.server_cpu)),
            "curve": curve,
            "rounds": [
                {"rate": one.rate, "errors": one.errors, "p50": latency["p50"], "p99": latency["p99"]}
                for one, latency in zip(self.rounds, latencies, strict=True)
            ],
        }

    def _median(self, value: Callable[[Result], float]) -> float:
        return median(map(value, self.rounds))


def _latency(result: Result) -> dict[str, float]:
    one = histogram.merged([result.histogram])
    mean = float(one.get_mean_value()) * histogram.UNIT if one.get_total_count() else 0.0
    return {"mean": mean} | {name: histogram.percentile(one, point) for name, point in PERCENTILES.items()}


class Results:
    """The figures of one run, as they come in."""

    def __init__(self, command: str, settings: dict[str, Any]) -> None:
        self.data: dict[str, Any] = {
            "schema": SCHEMA,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "complete": False,
            "machine": machine(),
            "settings": settings,
            "systems": {},
            "left_out": {},
            "failures": [],
            "calls": [],
            "memory": [],
            "imports": {},
        }

    def add(self, case: Case, load: Load, series: Sequence[Series]) -> dict[str, Any]:
        """Take the rounds of one load; return its record."""
        measured = {one.opponent.name: one.record() for one in series if one.rounds}
        record = {"case": case.name, "title": case.title, "load": asdict(load), "systems": measured}
        self.data["calls"].append(record)
        return record

    @property
    def errors(self) -> int:
        """Failed calls and wrong answers of all rounds."""
        return sum(one["errors"] for record in self.data["calls"] for one in record["systems"].values())

    def save(self, path: Path) -> None:
        """Write the file."""
        save(self.data, path)


def save(data: object, path: Path) -> None:
    """Write a result file; figures to six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")  # a run that is ended while it writes keeps what it had
    beside.write_text(json.dumps(_rounded(data), indent=1, ensure_ascii=False) + "\n")
    beside.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


def machine() -> dict[str, object]:
    """What a figure depends on: cores that may be used, processor, system, Python."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()
