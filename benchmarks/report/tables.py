"""The table of one measurement, for the terminal, and the short table of a whole run, for the README."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.report.grids import NOTHING, aligned, milliseconds, piped, throughput, times
from benchmarks.report.notes import belongings, published
from benchmarks.report.ratios import OURS, RATE, REFERENCES, ratio, references
from benchmarks.report.schema import Measured, Measurement, callers_in_words, convert, run_of

README_CASES = ("bytes", "say", "json")
README_CALLERS = (1, 100, 1000)
BEGIN = "<!-- speed table: begin (made from a result file, see docs/benchmarks.md) -->"
END = "<!-- speed table: end -->"

COLUMNS: Mapping[str, Callable[[Measured], str]] = {
    "spread": lambda one: f"{one.spread:.0%}",
    "p50 ms": lambda one: milliseconds(one.latency.get("p50")),
    "p99 ms": lambda one: milliseconds(one.latency.get("p99")),
    "p99.9 ms": lambda one: milliseconds(one.latency.get("p99.9")),
    "client s/M": lambda one: f"{one.client_cpu:.2f}",
    "server s/M": lambda one: f"{one.server_cpu:.2f}",
    "errors": lambda one: f"{one.errors:,}",
    "others": lambda one: f"{one.elsewhere:.2f}",
}
"""Between the throughput and the ratios; s/M: CPU seconds per million calls, notifies or items."""


def text_table(measurement: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> str:
    """Of one load: each system a row, and beside its figures its calls/s by those of each reference that is there.

    Not where calls start at a fixed rate: these ratios would all be 1. `titles` are those of the systems; one that has
    none goes by its name. Raises `BadResults`.
    """
    one = convert(measurement, Measurement)
    titles = titles or {}
    others = references(one)
    rows = [["", one.unit, *["MB/s"] * one.streams, *COLUMNS, *others.values()]]
    for name, measured in one.systems.items():
        cells = [f"{one.megabytes(name):,.0f}"] * one.streams
        cells += (column(measured) for column in COLUMNS.values())
        ratios = (ratio(one, RATE, name, reference) for reference in others)
        cells += (times(found.value if found else None) for found in ratios)
        rows.append([titles.get(name, name), throughput(one.throughput(name), one.unit), *cells])
    return "\n".join((one.heading, *aligned(rows)))


def readme_table(results: Mapping[str, Any]) -> str:
    """Ratios of ours at 1, 100 and 1000 callers in the cases that matter most, and what they belong to."""
    run = run_of(results)
    rows = [["calls/s, as ratios within one run", *map(callers_in_words, README_CALLERS)]]
    shown = {OURS}
    for case in README_CASES:
        measurements = {one.load.callers: one for one in run.case(case) if one.load.delay == 0}
        for reference in REFERENCES:
            found = [measurements.get(callers) for callers in README_CALLERS]
            cells = [published(one, OURS, reference) if one else NOTHING for one in found]
            if any(cell != NOTHING for cell in cells):
                title = next(one.title for one in found if one)
                rows.append([f"{title}: {run.title(OURS)} / {run.title(reference)}", *cells])
                shown.add(reference)
    return f"{piped(rows)}\n\n{belongings(run, run.order(dict.fromkeys(shown)))}"


def placed(page: str, table: str) -> str:
    """The page with this between its two markers. ValueError without them."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    changed, count = pattern.subn(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"the page has {count} places for the table, not one: between {BEGIN} and {END}")
    return changed
