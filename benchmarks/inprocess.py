"""Measuring small works beside each other in one process: they take turns, and the median of each is taken."""

from __future__ import annotations

import argparse
import importlib.metadata
import random
import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final, TypeVar

from benchmarks.report.notes import QUIET
from benchmarks.results import FOLDER, machine, save

__all__ = ["Work", "interleaved", "introduction", "parse", "write"]

ROUNDS: Final = 31
SLICE: Final = 0.005
"""Seconds of one work, before it is another's turn."""

K = TypeVar("K", bound=Hashable)
Work = Callable[[], object]


def interleaved(works: Mapping[K, Work], rounds: int, slice: float = SLICE) -> dict[K, float]:
    """Seconds of each, medians over rounds in which all take turns, in an order of chance."""
    turns = list(works.items())
    seconds: dict[K, list[float]] = {name: [] for name in works}
    repeats = {name: max(1, round(slice / _seconds(work, 3))) for name, work in turns}
    order = random.Random(1)
    for _ in range(rounds):
        order.shuffle(turns)
        for name, work in turns:
            seconds[name].append(_seconds(work, repeats[name]))
    return {name: median(each) for name, each in seconds.items()}


def _seconds(work: Work, times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        work()
    return (perf_counter() - began) / times


def parse(name: str, about: str | None, argv: Sequence[str]) -> argparse.Namespace:
    """The options ``repeat``, ``slice`` and ``output`` of `python -m benchmarks NAME`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=(about or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=ROUNDS, help=f"rounds; medians are taken over these ({ROUNDS})")
    parser.add_argument("--slice", type=float, default=SLICE, help=f"seconds of each in each round ({SLICE})")
    output = FOLDER / "last" / f"{name}.json"
    parser.add_argument("--output", type=Path, default=output, help="the JSON file; the report goes beside it")
    options = parser.parse_args(argv)
    if options.repeat < 1 or options.slice < 0:
        parser.error("--repeat is a number above 0, --slice one of seconds")
    if options.output.suffix != ".json":
        parser.error(f"--output is the name of a .json file, not {options.output.name}")
    return options


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Of what is installed. ImportError for what is not."""
    return {name: importlib.metadata.version(name) for name in packages}


def introduction(title: str, data: Mapping[str, Any], figures: str) -> list[str]:
    """The first paragraphs of a report: what was measured where, and whether that may be trusted."""
    where = "{cores} cores, {processor}, {system}, {python}".format_map(data["machine"])
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    parts = [
        f"# {title}",
        f"Made {data['made']} by `{data['command']}`, on {where}; {versions}. Medians of {data['rounds']} interleaved"
        f" rounds, in microseconds; {figures}.",
    ]
    if data["elsewhere"] > QUIET:
        parts.append(f"**Other programs used {data['elsewhere']:.1f} cores meanwhile: do not trust these figures.**")
    return parts


def write(
    name: str,
    argv: Sequence[str],
    options: argparse.Namespace,
    measured: Mapping[str, Any],
    markdown: Callable[[dict[str, Any]], str],
) -> None:
    """Saves and prints what was measured: ``versions``, ``elsewhere`` and whatever the report is about."""
    data = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(("python", "-m", "benchmarks", name, *argv)),
        "machine": machine(),
        "rounds": options.repeat,
        **measured,
    }
    report = markdown(data)
    save(data, options.output)
    options.output.with_suffix(".md").write_text(report)
    print(report)
