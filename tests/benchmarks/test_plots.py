"""Plots: the same results give the same files, and what is shown is what was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from benchmarks.report import plots
from benchmarks.report.schema import run_of
from tests.benchmarks.synthetic import TITLES, find, results
from tests.tools import require_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@pytest.fixture
def _matplotlib() -> None:
    require_package("matplotlib")


drawing = pytest.mark.usefixtures("_matplotlib")


def quick() -> dict[str, Any]:
    """Without most of it: drawing takes time."""
    data = results()
    data["calls"] = [find(data, case, callers=callers) for case in ("bytes", "say") for callers in (1, 1000)]
    for one in data["calls"]:
        one["systems"] = {name: one["systems"][name] for name in ("ours", "go-default")}
    data["memory"] = data["memory"][:1]
    return data


@drawing
def test_the_same_results_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    first = plots.write(quick(), tmp_path / "a.json")
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    second = plots.write(quick(), tmp_path / "b.json")
    assert [path.name for path in first] == ["a-throughput.svg", "a-latency.svg", "a-memory.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    for path in first:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert mpl.rcParams["lines.linewidth"] == 9


@drawing
def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    data = results() | {"calls": [find(results(), "notify")], "memory": []}
    assert plots.write(data, tmp_path / "a.json") == []
    data["memory"] = [{"case": "idle", "connections": 5, "systems": {}}]
    assert plots.write(data, tmp_path / "a.json") == []


def lines(axis: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()}  # type: ignore[arg-type,unused-ignore]


@drawing
def test_throughput_shows_every_system_in_every_panel() -> None:
    data = results()
    figure = plots.throughput(run_of(data))
    assert figure is not None
    for axis, case in zip(figure.axes, ("bytes", "say", "json"), strict=True):
        shown = lines(axis)
        assert set(shown) == {TITLES[name] for name in find(data, case)["systems"]}
        callers, rates = shown["arpc (ours)"]
        assert callers == [1, 100, 500, 1000, 2000, 5000]
        assert rates[1] == find(data, case, callers=100, delay=0.0)["systems"]["ours"]["rate"]


@drawing
def test_latency_goes_as_far_as_there_were_calls_to_tell() -> None:
    figure = plots.latency(run_of(results()))
    assert figure is not None
    shown = lines(figure.axes[0])
    assert max(shown["arpc (ours)"][0]) == pytest.approx(10_000)
    assert max(shown["RPyC"][0]) == pytest.approx(2_000)  # 7000 calls do not tell the slowest of 10,000


@drawing
def test_no_text_lies_on_another() -> None:
    """In the plot with the most of it: the figures beside bars."""
    data = results()
    several = [("ours", "go-default", "bare", "nbio"), ("rpcx", "grpc-go", "grpc-aio", "pycapnp")]
    for one in data["memory"]:
        one["systems"] = {name: one["systems"]["ours"] for names in several for name in names}
    figure = plots.memory(run_of(data))
    assert figure is not None
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert len(boxes) >= 16
        assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])
        assert all(box.x1 <= axis.get_window_extent().x1 + 1 for box in boxes)


def test_each_system_has_a_look_of_its_own() -> None:
    assert set(plots.LOOKS) == set(TITLES)
    assert len({look.colour for look in plots.LOOKS.values()}) == len(plots.LOOKS)
    assert len({look.mark for look in plots.LOOKS.values()}) == len(plots.LOOKS)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(plots.NotInstalled, match=r"pip install matplotlib, .*\[bench\]"):
        plots.write(results(), tmp_path / "a.json")
