"""The command that runs the suite: how it is shown while it runs, and what it ends with."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.opponents.base import ROOT
from benchmarks.options import parse, planned
from benchmarks.report import notes, tables, written
from benchmarks.report.schema import run_of
from benchmarks.results import Results
from benchmarks.suite import Plan, Suite, prepared


def main(argv: Sequence[str]) -> int:
    """Run, print and save; the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    options = parse(argv)
    settings = {name: getattr(options, name) for name in ("rounds", "seconds", "warmup", "seed", "pinned")}
    results = Results(shlex.join(("python", "-m", "benchmarks", *argv)), settings)
    console.print("{cores} cores, {processor}, {system}, {python}".format_map(results.data["machine"]))
    interrupted = False
    try:
        run(console, planned(options, list(prepared(options.kinds, results)), results.data["left_out"]), results)
    except KeyboardInterrupt:
        interrupted = True
    return finish(console, options.output, results, interrupted)


def run(console: Console, plan: Plan, results: Results) -> None:
    """Measure, with a line that tells how far it is."""
    for name, one in results.data["systems"].items():
        console.print(f"  {one['title']} ({name}): {one['versions']}")
    for name, reason in results.data["left_out"].items():
        console.print(f"  left out: {name}: {reason}")
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=plan.steps())
        started = -1

        def step(text: str) -> None:
            nonlocal started
            started += 1
            progress.update(task, description=text, completed=started)

        def show(record: dict[str, Any]) -> None:
            titles = {name: one["title"] for name, one in results.data["systems"].items()}
            console.print("\n" + tables.text_table(record, titles))

        Suite(plan, results, show, step).run()


def finish(console: Console, output: Path, results: Results, interrupted: bool) -> int:
    """Write the files, say what is wrong, and return the exit code."""
    data = results.data
    results.save(output)
    if not data["systems"]:
        console.print("No system can be measured here.")
    for text in data["failures"]:
        console.print(f"FAILED: {text}")
    for doubt in notes.doubts(run_of(data)):
        console.print(doubt)
    if interrupted:
        console.print("Interrupted: what was measured is kept.")
    for path in (output, *written.write(output)):
        console.print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    if interrupted:
        return 130
    return 1 if data["failures"] or results.errors or not data["systems"] else 0
