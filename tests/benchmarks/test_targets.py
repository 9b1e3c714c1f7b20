"""Targets: a missed one is called missed, and what was not measured is called neither."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report.markdown import markdown
from benchmarks.report.schema import run_of
from benchmarks.report.targets import RELATIONS, TARGETS, State, Target, Verdict, verdicts
from tests.benchmarks.synthetic import find, results


def judged(data: dict[str, Any], title: str, reference: str, quantity: str = "calls/s") -> Verdict:
    (found,) = (
        one
        for one in verdicts(run_of(data))
        if (one.target.title, one.target.reference, one.target.quantity.name) == (title, reference, quantity)
    )
    return found


def test_met_and_missed() -> None:
    data = results()
    one = judged(data, "bytes echo, 100 callers", "go-default")
    assert one.state is State.MISSED
    assert one.value == pytest.approx(2.42, abs=0.01)
    assert one.note == ""
    assert judged(data, "bytes echo, 100 callers", "go-best").state is State.MET
    assert "18 met, 3 missed, 0 not measured" in markdown(data)
    assert "| bytes echo, 100 callers: calls/s | >= 2.5 x Go arpc, default | 2.42 | **missed** |" in markdown(data)


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: f"{one.title} {one.quantity.name} {one.reference}")
@pytest.mark.parametrize("factor", [0.01, 100])
def test_each_looks_at_the_right_figure(target: Target, factor: float) -> None:
    data = results()
    if target.case == "idle":
        data["memory"][0]["systems"]["ours"]["bytes_per_connection"] *= factor
    else:
        load = {"callers": target.callers, "size": target.size, "delay": 0.0}
        ours = find(data, target.case, **{key: value for key, value in load.items() if value is not None})["systems"][
            "ours"
        ]
        ours["rate"] *= factor
        ours["latency"] = {key: value * factor for key, value in ours["latency"].items()}
    more = target.relation == ">="
    assert judged(data, target.title, target.reference, target.quantity.name).state is (
        State.MET if (factor > 1) == more else State.MISSED
    )


def test_not_measured_and_why() -> None:
    data = results()
    data["left_out"]["pycapnp"] = "pycapnp is not installed"
    del data["systems"]["pycapnp"], data["systems"]["go-best"]
    data["memory"][0]["connections"] = 9_000
    for one in data["calls"]:
        one["systems"].pop("pycapnp", None)
        one["systems"].pop("go-best", None)
    one = judged(data, "bytes echo, 100 callers", "pycapnp")
    assert (one.state, one.value, one.note) == (State.UNKNOWN, None, "pycapnp was left out")
    assert judged(data, "bytes echo, 100 callers", "go-best").note == "go-best is not in this run"
    assert judged(data, "19,000 idle connections", "go-default", "bytes each").state is State.UNKNOWN


def test_errors_meet_no_target() -> None:
    data = results()
    find(data, "bytes", callers=100)["systems"]["ours"]["errors"] = 1
    find(data, "bytes", callers=1000)["systems"]["go-best"]["errors"] = 2
    ours = judged(data, "bytes echo, 100 callers", "go-best")
    assert (ours.state, ours.note) == (State.MISSED, "1 errors")
    theirs = judged(data, "bytes echo, 1,000 callers", "go-best")
    assert (theirs.state, theirs.note) == (State.UNKNOWN, "2 errors of Go arpc, best")


def test_what_the_rounds_do_not_bear_out_is_said() -> None:
    data = results()
    rounds = find(data, "bytes", callers=100)["systems"]["ours"]["rounds"]
    rounds[0]["rate"] *= 0.9
    one = judged(data, "bytes echo, 100 callers", "go-default")
    assert (one.state, one.note) == (State.MISSED, "nearer than the rounds' spread, 10%")


def test_no_load_is_chosen_when_several_fit() -> None:
    data = results()
    large = find(data, "large")
    data["calls"].append(large | {"load": large["load"] | {"callers": 100}})
    titles = [one.target.title for one in verdicts(run_of(data)) if one.target.case == "large"]
    assert titles == ["1 MiB echo; 10 callers, 1 MiB, 10 connections", "1 MiB echo; 100 callers, 1 MiB, 10 connections"]


@given(st.floats(1e-3, 1e3), st.sampled_from(sorted(RELATIONS)), st.sampled_from([0.25, 0.65, 1, 1.25, 2.5, 50]))
def test_a_figure_never_looks_like_the_other_verdict(value: float, relation: str, bound: float) -> None:
    target = Target("", "bytes", "bare", relation, bound)
    for near in (value, bound * (1 - 1e-7), bound, bound * (1 + 1e-7)):
        assert target.holds(float(target.text(near))) == target.holds(near)
