"""Plots of a run as SVG: throughput by callers, latency by percentile, memory by connections.

The same results give the same files, byte by byte, whatever the user's settings of matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.report.ratios import OURS
from benchmarks.report.schema import Measured, Measurement, Memory, Run, callers_in_words, run_of
from benchmarks.report.targets import EACH

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"bytes": "Echo of bytes", "say": "Hello.Say (protobuf)", "json": "Typed JSON"}
"""The cases of the plot of throughput; those of latency are the first two."""
CROWD = 1000
"""Callers whose latencies are shown."""
PERCENTS = (50.0, 90.0, 99.0, 99.9, 99.99)
HEIGHT = 4.6
"""Inches, without the legend."""
MOMENTS = {"before": 0.35, "peak": 1.0, "after": 0.7, "later": 0.5}
"""Of a measurement of memory, and how strong each one's bar is."""

GAP = 0.7
"""Between the bars of two systems; a bar is 1."""

SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "arpc",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
}


class Look(NamedTuple):
    """Of a system, in every plot.

    The colours were chosen to differ for the colour-blind, too; nobody tells 15 apart, so each has a mark of its own.
    """

    colour: str
    mark: str
    line: str = "-"


LOOKS = {
    "ours": Look("#D55E00", "o"),
    "ours-asyncio": Look("#E69F00", "^", "--"),
    "ours-2": Look("#CCBB66", "v", "--"),
    "bare": Look("#000000", ".", ":"),
    "go-default": Look("#0072B2", "s"),
    "go-best": Look("#56B4E9", "D"),
    "rpcx": Look("#330099", "<"),
    "grpc-go": Look("#1122FF", ">"),
    "grpc-aio": Look("#996644", "P"),
    "grpclib": Look("#AA55FF", "X"),
    "pycapnp": Look("#881144", "*"),
    "rpyc": Look("#441166", "p"),
    "aiohttp": Look("#552200", "h"),
    "websockets": Look("#888899", "d"),
    "nbio": Look("#99CC99", "8"),
}
OTHER = Look("#555555", "+", "-.")
"""Of a system that has no place in the list."""


class NotInstalled(ImportError):
    """There is no matplotlib."""


def write(results: Mapping[str, Any], path: Path) -> list[Path]:
    """Of the result file `path`, write STEM-throughput.svg, STEM-latency.svg and STEM-memory.svg beside it.

    Each only if there is something to show in it. Raises `BadResults`, and `NotInstalled` without matplotlib.
    """
    run = run_of(results)
    try:
        import matplotlib.style
    except ImportError:
        text = "plots need matplotlib: pip install matplotlib, or this package's extra: pip install -e '.[bench]'"
        raise NotInstalled(text) from None
    written = []
    with matplotlib.style.context(["default", SETTINGS]):
        for kind, draw in (("throughput", throughput), ("latency", latency), ("memory", memory)):
            figure = draw(run)
            if figure is not None:
                file = path.with_name(f"{path.stem}-{kind}.svg")
                figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
                written.append(file)
    return written


def throughput(run: Run) -> Figure | None:
    """Calls per second by callers, one panel a body. Both axes are logarithmic: equal distances are equal ratios."""
    panels = {case: [one for one in run.case(case) if one.load.delay == 0] for case in PANELS}
    panels = {case: group for case, group in panels.items() if group}
    if not panels:
        return None
    figure, axes = _panels(len(panels), sharey=True)
    for axis, (case, group) in zip(axes, panels.items(), strict=True):
        for name in run.order(*(one.systems for one in group)):
            rates = {one.load.callers: one.systems[name].rate for one in group if name in one.systems}
            _line(axis, run, name, [(callers, rate) for callers, rate in rates.items() if rate > 0])
        callers = sorted({one.load.callers for one in group})
        _logarithmic(axis, PANELS[case], "callers", {number: f"{number:,}" for number in callers})
        axis.tick_params(axis="x", rotation=45)
    axes[0].set_ylabel("calls/s")
    return _finished(figure, axes, run, "Throughput by callers")


def latency(run: Run) -> Figure | None:
    """Latency by percentile, as HDR histograms are shown: each nine has the same width."""
    panels = {case: one for case in tuple(PANELS)[:2] if (one := _crowded(run, case)) is not None}
    if not panels:
        return None
    figure, axes = _panels(len(panels), sharey=True)
    for axis, (case, one) in zip(axes, panels.items(), strict=True):
        for name in run.order(one.systems):
            _line(axis, run, name, list(_curve(one.systems[name], one.load.seconds)))
        _logarithmic(axis, PANELS[case], "percentile", {_stretched(percent): f"{percent:g}%" for percent in PERCENTS})
    axes[0].set_ylabel("latency, ms")
    return _finished(figure, axes, run, f"Latency by percentile, {callers_in_words(CROWD)}")


def memory(run: Run) -> Figure | None:
    """Bytes that each idle connection costs the server, and what is left of a load's memory."""
    panels = []
    if idle := [one for one in run.idle() if one.systems]:
        shares = [1 - 0.6 * number / len(idle) for number in range(len(idle))]
        bars = [Bars(_of(one), one, EACH, share) for one, share in zip(idle, shares, strict=True)]
        panels.append(Panel("memory of each idle connection", "bytes", 1, bars))
    for one in run.after_load():
        if one.systems:
            bars = [Bars(key, one, key, strength) for key, strength in MOMENTS.items()]
            panels.append(Panel(one.heading, "MiB", 2**20, bars))
    if not panels:
        return None
    figure, axes = _panels(len(panels))
    rows = max(panel.rows(run) for panel in panels)
    figure.set_figheight(1.4 + 0.2 * rows)
    for axis, panel in zip(axes, panels, strict=True):
        _bars(axis, run, panel)
        axis.set_ylim(rows, 0)  # bars are equally thick in all panels
    figure.suptitle(f"Memory of the server\n{run.where}", fontsize=11)
    return figure


def _panels(count: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure that belongs to no window system, with this many panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * count, HEIGHT), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=sharey)[0])


def _line(axis: Axes, run: Run, name: str, points: Sequence[tuple[float, float]]) -> None:
    """One system's; ours is thicker and above the others."""
    if not points:
        return
    look, ours = LOOKS.get(name, OTHER), name == OURS
    axis.plot(
        [x for x, _ in points],
        [y for _, y in points],
        label=run.title(name),
        color=look.colour,
        marker=look.mark,
        linestyle=look.line,
        linewidth=3.2 if ours else 1.5,
        markersize=7 if ours else 5,
        zorder=4 if ours else 3,
    )


def _logarithmic(axis: Axes, title: str, name: str, ticks: Mapping[float, str]) -> None:
    """Both axes, with grid lines at the labels alone; `ticks` are those of the horizontal one, `name` is its own."""
    from matplotlib.ticker import LogLocator

    axis.set(title=title, xlabel=name, xscale="log", yscale="log")
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axis.minorticks_off()


def _finished(figure: Figure, axes: Sequence[Axes], run: Run, title: str) -> Figure:
    """With a title, and below the panels one legend for all."""
    shown: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            shown.setdefault(str(label), handle)
    labels = [label for label in map(run.title, run.systems) if label in shown]
    columns = 3 * len(axes) - 1
    figure.set_figheight(HEIGHT + 0.22 * math.ceil(len(labels) / columns))
    figure.legend([shown[label] for label in labels], labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(f"{title}\n{run.where}", fontsize=11)
    return figure


def _crowded(run: Run, case: str) -> Measurement | None:
    for one in run.case(case):
        if one.load.callers == CROWD and one.load.delay == 0 and any(each.curve for each in one.systems.values()):
            return one
    return None


def _stretched(percent: float) -> float:
    return 1 / (1 - percent / 100)


def _curve(one: Measured, seconds: float) -> Iterator[tuple[float, float]]:
    """Milliseconds by percentile, as far as there were calls enough beyond it to tell."""
    calls = sum(each.rate for each in one.rounds) * seconds
    for percent, value in one.curve:
        if percent < 100 and value > 0 and calls * (1 - percent / 100) >= 1:
            yield _stretched(percent), value * 1e3


class Bars(NamedTuple):
    """One bar of each system: a value of a measurement of memory."""

    label: str
    memory: Memory
    key: str
    strength: float
    """How strong the system's colour is."""


class Panel(NamedTuple):
    """Bars side by side."""

    title: str
    unit: str
    size: int
    """Of the unit, in bytes."""
    bars: list[Bars]

    def groups(self, run: Run) -> dict[str, list[tuple[Bars, float]]]:
        """What each system has of them, from top to bottom."""
        found = {}
        for name in run.order(*(each.memory.systems for each in self.bars)):
            values = [(each, each.memory.systems.get(name, {}).get(each.key)) for each in self.bars]
            found[name] = [(each, value / self.size) for each, value in values if value is not None]
        return found

    def rows(self, run: Run) -> float:
        """The height that they need, in bars."""
        return sum(len(group) + GAP for group in self.groups(run).values())


def _of(idle: Memory) -> str:
    """What tells a measurement of idle connections from the others, in short."""
    return f"of {idle.connections:,}" + (f", {idle.client} clients" if idle.client != "raw" else "")


def _bars(axis: Axes, run: Run, panel: Panel) -> None:
    """A group of bars for each system, and at their ends what they are."""
    from matplotlib.ticker import MaxNLocator

    top, most, longest = GAP / 2, 0.0, 0
    ticks = {}
    for name, group in panel.groups(run).items():
        values = [value for _, value in group]
        drawn = axis.barh(
            [top + 0.5 + number for number in range(len(group))],
            [max(value, 0) for value in values],
            0.9,
            color=[(LOOKS.get(name, OTHER).colour, each.strength) for each, _ in group],
        )
        texts = [f"{value:,.0f}  {each.label}" for each, value in group]
        axis.bar_label(drawn, texts, padding=3, fontsize=8)
        ticks[top + len(group) / 2] = run.title(name)
        most, longest = max(most, *values, 0), max(longest, *map(len, texts), 0)
        top += len(group) + GAP
    axis.set_xlim(0, (most or 1) / max(0.97 - 0.018 * longest, 0.3))  # the texts need room beyond the longest bar
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axis.set_yticks(list(ticks), list(ticks.values()))
    axis.grid(False, axis="y")
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.unit)
