"""Comparing runs: only ratios count, what changed is shown, what cannot be compared is said."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report.compare import compare, main
from benchmarks.report.schema import BadResults
from tests.benchmarks.synthetic import find, results

SMALL = results()
SMALL["calls"] = [find(SMALL, case) for case in ("bytes", "large", "notify", "paced")]


def small() -> dict[str, Any]:
    return deepcopy(SMALL)


def scaled(system: dict[str, Any], factor: float) -> None:
    """Make it that much faster."""
    for part in (system, *system["rounds"]):
        part["rate"] *= factor
    for part in (system["latency"], *system["rounds"]):
        part.update({key: part[key] / factor for key in ("p50", "p99") if key in part})
    for side in ("client_cpu", "server_cpu"):
        system[side] /= factor


def changed(text: str) -> list[list[str]]:
    """The rows of the table of changes: load, ratio, quantity, before, after, change, verdict."""
    return [line.split("  ") for line in text.splitlines() if line.startswith("  ") and " / " in line]


def test_nothing_has_changed() -> None:
    text, worse = compare(small(), small())
    assert not worse
    assert not changed(text)
    assert "0 fell below 0.9 x what they were." in text
    assert "differ" not in text
    assert "only" not in text


@given(st.floats(0.01, 100), st.floats(0.5, 1.0))
def test_a_faster_machine_changes_nothing(factor: float, threshold: float) -> None:
    faster = small()
    for one in faster["calls"]:
        for system in one["systems"].values():
            scaled(system, factor)
    text, worse = compare(small(), faster, threshold * 0.999, latency=True)
    assert not worse
    assert not changed(text)


@given(st.floats(0.05, 20), st.floats(0.05, 2))
def test_worse_is_what_fell_below_the_threshold(factor: float, threshold: float) -> None:
    before, after = small(), small()
    for data in (before, after):
        data["memory"] = []
        data["calls"] = data["calls"][:1]
        data["calls"][0]["systems"] = {name: find(data, "bytes")["systems"][name] for name in ("ours", "bare")}
    scaled(find(after, "bytes")["systems"]["ours"], factor)
    if abs(factor / threshold - 1) > 1e-9:
        assert compare(before, after, threshold)[1] == (factor < threshold)
        assert compare(before, after, threshold, latency=True)[1] == (factor < threshold)


def test_what_moved_is_named_by_its_reference() -> None:
    after = small()
    scaled(find(after, "bytes")["systems"]["go-best"], 0.5)
    text, worse = compare(small(), after)
    assert not worse
    assert {line.split("  ")[2].strip() for line in text.splitlines() if "/ go-best" in line} == (
        {"ours / go-best", "ours-asyncio / go-best", "ours-2 / go-best"}
    )
    assert "/ bare" not in text


def test_what_moved_less_than_the_rounds_is_not_shown() -> None:
    before, after = small(), small()
    find(before, "bytes")["systems"]["ours"]["rounds"][0]["rate"] *= 0.85
    scaled(find(after, "bytes")["systems"]["ours"], 0.95)
    text, worse = compare(before, after)
    assert not worse
    assert "calls/s" not in "".join(line for line in text.splitlines() if "ours / go-default" in line)
    text, worse = compare(before, after, 0.99)  # unless it counts as worse
    assert worse
    assert "within the spreads" in text


def test_latency_counts_when_it_is_asked_for() -> None:
    after = small()
    find(after, "bytes")["systems"]["ours"]["latency"]["p99"] *= 2
    text, worse = compare(small(), after)
    assert not worse
    assert "p99" in text
    assert "x 2.00  worse, not counted" in text
    text, worse = compare(small(), after, latency=True)
    assert worse
    assert "not counted" not in text


def test_memory_counts() -> None:
    after = small()
    after["memory"][0]["systems"]["ours"]["bytes_per_connection"] *= 1.2
    after["memory"][2]["systems"]["ours"]["later"] *= 0.5
    text, worse = compare(small(), after)
    assert worse
    assert [line.split()[-1] for line in text.splitlines() if "19,000 idle" in line] == ["worse", "worse"]
    assert "x 0.50" in text


def test_memory_of_idle_streams_counts_on_both_sides() -> None:
    after = small()
    after["memory"][3]["systems"]["ours"]["server_bytes_per_stream"] *= 1.2
    after["memory"][3]["systems"]["ours"]["client_bytes_per_stream"] *= 0.5
    text, worse = compare(small(), after)
    assert worse
    assert [(row[-1], "server" in "".join(row)) for row in changed(text)] == [("worse", True), ("x 0.50", False)]


def test_calls_that_carry_more_are_compared_with_plain_ones() -> None:
    before, after = results(), results()
    for data in (before, after):
        data["calls"] = [find(data, "extras")]
    scaled(find(after, "extras")["systems"]["ours-both"], 0.5)
    text, worse = compare(before, after, references=["ours"])
    assert worse
    assert "ours-both / ours" in text
    assert "ours-metadata / ours" not in text


def test_units() -> None:
    after = small()
    scaled(find(after, "large")["systems"]["ours"], 2)
    assert "GB/s" in compare(small(), after)[0]


def test_new_errors_are_worse_and_spoil_a_ratio() -> None:
    after = small()
    find(after, "bytes")["systems"]["ours"].update(errors=3)
    find(after, "large")["systems"]["bare"].update(errors=1)
    text, worse = compare(small(), after)
    assert worse
    assert "WORSE: bytes echo, 581 bytes; 1 caller, 10 connections: ours: 3 errors, and none before" in text
    assert "not compared, as it failed after: bare in echo of large bodies" in text
    assert not compare(after, after)[1]
    assert not compare(after, small())[1]
    find(after, "bytes")["systems"]["ours"].update(errors=0, rate=0)
    assert "ours: no call ended in the window any more" in compare(small(), after)[0]


def test_other_machines_and_settings_are_named() -> None:
    after = small()
    after["machine"]["cores"] = 8
    after["settings"].update(rounds=1, seed=7)
    after["complete"] = False
    find(after, "bytes")["load"]["seconds"] = 0.1
    text, _ = compare(small(), after)
    assert "differ in machine, cores: 2 before, 8 after" in text
    assert "differ in settings, rounds: 3 before, 1 after" in text
    assert "seed" not in text
    assert "differ in the length" in text
    assert "after: The run was ended before it was complete." in text


def test_what_is_only_in_one_is_named() -> None:
    before, after = small(), small()
    after["calls"].pop()
    after["memory"].pop(0)
    for one in before["calls"][:2]:
        del one["systems"]["go-best"]
    del find(after, "bytes")["systems"]["ours-2"]
    text, worse = compare(before, after)
    assert not worse
    assert "only before: paced; fixed rate" in text
    assert "only before: 19,000 idle connections" in text
    assert "only before: ours-2 in bytes echo, 581 bytes; 1 caller, 10 connections\n" in text
    assert "only after: go-best in bytes echo, 581 bytes; 1 caller, 10 connections and 1 more" in text


def test_references() -> None:
    before, after = small(), small()
    scaled(find(after, "bytes")["systems"]["ours"], 0.5)
    text, worse = compare(before, after, references=["rpcx", "nothing"])
    assert worse
    assert "ours / rpcx" in text
    assert "ours / bare" not in text
    with pytest.raises(BadResults, match="no reference in common; of nothing: the first has none"):
        compare(before, after, references=["nothing"])


def test_nothing_in_common() -> None:
    before, after = small(), small()
    before["calls"], before["memory"] = before["calls"][:1], []
    after["calls"] = after["calls"][1:]
    with pytest.raises(BadResults, match="no measurement in common"):
        compare(before, after)


# The command.


def saved(path: Path, data: object) -> str:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slower = small()
    scaled(find(slower, "bytes")["systems"]["ours"], 0.8)
    before, after = saved(tmp_path / "a.json", small()), saved(tmp_path / "b.json", slower)
    assert main([before, after]) == 1
    assert "worse" in capsys.readouterr().out
    assert main([before, after, "--threshold", "0.7"]) == 0
    assert main([before, after, "--threshold", "0.7", "--latency", "--reference", "bare", "go-best"]) == 0
    assert main([after, before]) == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("no JSON", "not JSON"),
        ("[]", "schema is None"),
        ({"cases": []}, "schema is None"),
        (small() | {"schema": 99}, "schema is 99"),
        (small() | {"calls": 3}, "Expected `array`"),
        (small() | {"calls": [], "memory": []}, "no reference in common"),
        (None, "schema is None"),
    ],
)
def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, text: str) -> None:
    good, bad = saved(tmp_path / "good.json", small()), saved(tmp_path / "bad.json", content)
    assert main([good, bad]) == 2
    assert main([bad, good]) == 2
    assert text in capsys.readouterr().err


def test_no_file_and_bad_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = saved(tmp_path / "good.json", small())
    assert main([good, str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([good, good, "--threshold", "0"])


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(SMALL)), inner),
)


@given(anything)
def test_whatever_is_in_a_file_is_either_compared_or_refused(data: Any) -> None:
    broken = {**SMALL, **data} if isinstance(data, dict) else data
    try:
        compare(SMALL, broken)
    except BadResults:
        pass
