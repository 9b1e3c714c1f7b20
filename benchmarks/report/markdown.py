"""The full report of a run, in Markdown: the targets first, then every table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.report.grids import NOTHING, mebibytes, milliseconds, one_line, piped, throughput, times
from benchmarks.report.notes import doubts, published
from benchmarks.report.ratios import FAMILY, OURS, P99, RATE, REFERENCES, memory_ratio
from benchmarks.report.schema import SERVERS, Measurement, Memory, Run, run_of
from benchmarks.report.targets import EACH, State, Target, verdicts

DETAILED = (1, 100, 1000)
"""Callers whose latency and CPU time are shown; all there are, where none of these is."""
PERCENTILES = ("p50", "p99", "p99.9")
MOMENTS = ("before", "peak", "after", "later")

Paragraphs = Iterator[str]
"""Headings, sentences and tables."""


def markdown(results: Mapping[str, Any], pictures: Sequence[str] = ()) -> str:
    """The whole report, with links to these pictures. Raises `BadResults`."""
    run = run_of(results)
    parts = (_head(run), _targets(run), _pictures(pictures), _calls(run), _memory(run), _imports(run), _missing(run))
    return "\n\n".join(paragraph for part in parts for paragraph in part) + "\n"


def _head(run: Run) -> Paragraphs:
    yield "# Benchmark results"
    yield f"Made {run.made} by `{run.command}`, on {run.where}."
    yield "Settings: " + ", ".join(f"{name} {value}" for name, value in run.settings.items()) + "."
    for doubt in doubts(run):
        yield f"**{doubt}**"
    yield (
        "Figures are medians over the rounds and belong to this machine. What can be compared are the ratios, between"
        " systems that took turns under the same load."
    )
    yield piped(
        [["system", "name", "versions"], *([one.title, name, one.versions] for name, one in run.systems.items())],
        left=range(3),
    )


def _targets(run: Run) -> Paragraphs:
    judged = verdicts(run)
    counts = (f"{sum(one.state is state for one in judged)} {state}" for state in State)
    yield "## Targets"
    yield f"Ratios of {run.title(OURS)} to others: {', '.join(counts)}."
    rows = [["target", "wanted", "measured", "", ""]]
    for one in judged:
        target = one.target
        value = NOTHING if one.value is None else target.text(one.value)
        state = f"**{one.state}**" if one.state is State.MISSED else str(one.state)
        rows.append([f"{target.title}: {target.quantity.name}", _wanted(target, run), value, state, one.note])
    yield piped(rows, left=range(5))


def _wanted(target: Target, run: Run) -> str:
    return f"{target.relation} {target.bound:g} x {run.title(target.reference)}"


def _pictures(pictures: Sequence[str]) -> Paragraphs:
    for path in pictures:
        yield f"![{path.rpartition('/')[2].rpartition('.')[0]}]({path})"


def _calls(run: Run) -> Paragraphs:
    for group in groups(run):
        first = next(iter(group.values()))
        names = run.order(*(one.systems for one in group.values()))
        yield f"## {'; '.join(filter(None, (first.title, first.conditions)))}"
        if not names:
            yield "Nothing was measured."
            continue
        yield _by_callers(run, group, names, first.unit, _throughput)
        if first.streams:
            yield _by_callers(run, group, names, "MB/s", _megabytes)
        yield _spreads(run, group)
        detailed = {callers: one for callers, one in group.items() if callers in DETAILED} or group
        if any(measured.latency for one in detailed.values() for measured in one.systems.values()):
            yield _by_callers(run, detailed, names, f"{' / '.join(PERCENTILES)} in ms", _latency)
        yield _by_callers(run, detailed, names, f"CPU s per million {first.counted}, client + server", _cpu)
        if first.case in SERVERS:
            yield _by_callers(run, detailed, names, f"{first.unit} for each core that the server used", _by_core)
        yield from _ratios(run, group)


def groups(run: Run) -> list[dict[int, Measurement]]:
    """What differs in the number of callers alone, by that number; in the order of the run."""
    found: dict[object, dict[int, Measurement]] = {}
    for one in run.calls:
        key = (one.case, one.title, replace(one.load, callers=0, seconds=0, warmup=0))
        found.setdefault(key, {})[one.load.callers] = one
    return [dict(sorted(group.items())) for group in found.values()]


Group = Mapping[int, Measurement]


def _by_callers(
    run: Run, group: Group, names: Sequence[str], head: str, cell: Callable[[Measurement, str], str]
) -> str:
    """Systems are rows, numbers of callers are columns."""
    rows = [[head, *(one.crowd for one in group.values())]]
    for name in names:
        cells = (cell(one, name) if name in one.systems else NOTHING for one in group.values())
        rows.append([run.title(name), *cells])
    return piped(rows)


def _throughput(one: Measurement, name: str) -> str:
    wrong = one.systems[name].errors
    return throughput(one.throughput(name), one.unit) + (f" ({wrong:,} errors)" if wrong else "")


def _megabytes(one: Measurement, name: str) -> str:
    return f"{one.megabytes(name):,.0f}"


def _latency(one: Measurement, name: str) -> str:
    latency = one.systems[name].latency
    return " / ".join(milliseconds(latency.get(key)) for key in PERCENTILES) if latency else NOTHING


def _cpu(one: Measurement, name: str) -> str:
    measured = one.systems[name]
    return f"{measured.client_cpu:,.2f} + {measured.server_cpu:,.2f}"


def _by_core(one: Measurement, name: str) -> str:
    cpu = one.systems[name].server_cpu
    return f"{1e6 / cpu:,.0f}" if cpu else NOTHING


def _spreads(run: Run, group: Group) -> str:
    spreads = ((each.spread, name, one.crowd) for one in group.values() for name, each in one.systems.items())
    spread, name, crowd = max(spreads)
    return f"Largest spread of the rounds: {spread:.0%} ({run.title(name)}, {crowd})."


def _ratios(run: Run, group: Group) -> Paragraphs:
    """Of calls/s; where their rate is given, of p99."""
    first = next(iter(group.values()))
    quantity = P99 if first.paced else RATE
    head = "ratio of p99, below 1 is better" if first.paced else f"ratio of {first.unit}, above 1 is better"
    rows = [[head, *(one.crowd for one in group.values())]]
    pairs = [(name, OURS) for name in FAMILY[1:]] if first.varied else [(OURS, name) for name in REFERENCES]
    for name, reference in pairs:
        cells = [published(one, name, reference, quantity) for one in group.values()]
        if any(cell != NOTHING for cell in cells):
            rows.append([f"{run.title(name)} / {run.title(reference)}", *cells])
    if len(rows) > 1:
        yield piped(rows)


def _memory(run: Run) -> Paragraphs:
    if idle := run.idle():
        yield "## Memory of idle connections"
        columns = [(one.heading, one, EACH) for one in idle]
        yield _each(run, "bytes per connection, on the server", columns)
    for one in run.idle_streams():
        yield f"## {one.heading[:1].upper()}{one.heading[1:]}"
        columns = [(side, one, f"{side}_bytes_per_stream") for side in ("server", "client")]
        yield _each(run, "bytes per stream", columns)
    for one in run.after_load():
        yield f"## {one.heading[:1].upper()}{one.heading[1:]}"
        yield "Resident MiB of the server."
        rows = [["", *MOMENTS]]
        rows += (
            [run.title(name), *(mebibytes(one.systems[name].get(key)) for key in MOMENTS)]
            for name in run.order(one.systems)
        )
        yield piped(rows)


def _each(run: Run, head: str, columns: Sequence[tuple[str, Memory, str]]) -> str:
    """Bytes, and the ratios of ours below them; each column has a title, and a figure of a measurement."""
    rows = [[head, *(title for title, _, _ in columns)]]
    for name in run.order(*(one.systems for _, one, _ in columns)):
        values = (one.systems.get(name, {}).get(key) for _, one, key in columns)
        rows.append([run.title(name), *(NOTHING if value is None else f"{value:,.0f}" for value in values)])
    for reference in REFERENCES:
        ratios = [memory_ratio(one, key, OURS, reference) for _, one, key in columns]
        if any(ratios):
            rows.append([f"{run.title(OURS)} / {run.title(reference)}", *map(times, ratios)])
    return piped(rows)


def _imports(run: Run) -> Paragraphs:
    if run.imports:
        yield "## Import time"
        rows = [["", "ms", "ratio"]]
        rows += ([f"`{what}`", f"{one.seconds * 1e3:.1f}", f"{one.ratio:.2f}"] for what, one in run.imports.items())
        yield piped(rows)


def _missing(run: Run) -> Paragraphs:
    """What was left out and what failed; that nothing was is said, too."""
    for heading, lines in (
        ("Left out", [f"{run.title(name)}: {why}" for name, why in run.left_out.items()]),
        ("Failures", run.failures),
    ):
        yield f"## {heading}"
        yield "\n".join(f"- {one_line(line)}" for line in lines) or "Nothing."
