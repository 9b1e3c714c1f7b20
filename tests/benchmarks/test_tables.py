"""Tables for the terminal, the README and the report: nothing measured is lost, nothing unmeasured is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report.grids import aligned, milliseconds, piped, significant
from benchmarks.report.markdown import markdown
from benchmarks.report.schema import BadResults
from benchmarks.report.tables import BEGIN, END, placed, readme_table, text_table
from tests.benchmarks.synthetic import TITLES, find, results

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def tables_of(page: str) -> Iterator[list[list[str]]]:
    """Each table of a Markdown page, row by row, without the rule."""
    for block in re.findall(r"(?:^\|.*\|$\n?)+", page, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        yield [rows[0], *rows[2:]]


def row(page: str, head: str, name: str) -> list[str]:
    """The first row of that name in a table whose head begins so."""
    found = (one for table in tables_of(page) if table[0][0].startswith(head) for one in table if one[0] == name)
    return next(found)


def test_the_table_of_one_load() -> None:
    heading, head, *rows = text_table(find(results(), "bytes", callers=100), TITLES).splitlines()
    assert heading == "bytes echo, 581 bytes; 100 callers, 10 connections"
    assert re.split(r"\s{2,}", head.strip())[9:] == [
        "x Go default",
        "x Go best",
        "x bare",
        "x rpcx",
        "x grpc-go",
        "x grpc.aio",
        "x pycapnp",
    ]
    ours = re.split(r"\s{2,}", rows[0].strip())
    assert ours == (
        "arpc (ours)|320,390|3%|0.333|0.530|0.746|2.81|1.87|0|0.01|2.42|1.77|0.721|3.53|5.95|63.0|10.4".split("|")
    )
    assert {len(line) for line in (head, *rows)} == {len(head)}


def test_other_units_and_what_is_not_there() -> None:
    data = results()
    assert text_table(find(data, "large")).splitlines()[1].split()[0] == "GB/s"
    notify = text_table(find(data, "notify")).splitlines()
    assert notify[1].split()[0] == "notifies/s"
    assert notify[2].split()[3:6] == ["-", "-", "-"]
    assert "x Go best" not in notify[1]
    streams = text_table(find(data, "streams", size=65_536)).splitlines()
    assert streams[0] == "streams: items of streams; 100 streams, 64 KiB, 10 connections"
    assert streams[1].split()[:2] == ["items/s", "MB/s"]
    rate, megabytes = (float(cell.replace(",", "")) for cell in streams[2].split()[1:3])
    assert megabytes == pytest.approx(rate * 65_536 / 1e6, rel=1e-3)
    paced = text_table(find(data, "paced"))
    assert paced.startswith("paced; fixed rate, 20,000 calls/s, beside 10 x 1 MiB/s")
    assert "x Go best" not in paced
    nobody = find(data, "bytes") | {"systems": {}}
    assert len(text_table(nobody).splitlines()) == 2


def test_calls_that_carry_more_are_compared_with_plain_ones() -> None:
    data = results()
    head, *rows = text_table(find(data, "extras")).splitlines()[1:]
    assert re.split(r"\s{2,}", head.strip())[9:] == ["x plain"]
    assert [line.split()[-1] for line in rows] == ["1.00", "0.800", "0.900", "0.750"]
    page = markdown(data)
    assert row(page, "ratio of calls/s", "ours-both / arpc (ours)")[1] == "0.750"


def test_a_system_without_an_answer_has_no_ratio() -> None:
    one = find(results(), "notify")
    one["systems"]["go-default"].update(rate=0, errors=7)
    ours, other = text_table(one).splitlines()[2:]
    assert ours.split()[-1] == other.split()[-1] == "-"
    assert other.split()[-3] == "7"


def test_the_table_of_the_readme() -> None:
    data = results()
    table, belongings = readme_table(data).split("\n\n")
    rows = next(tables_of(table))
    assert rows[0][1:] == ["1 caller", "100 callers", "1,000 callers"]
    assert rows[1] == ["bytes echo, 581 bytes: arpc (ours) / Go arpc, default", "2.20", "2.42", "2.39"]
    assert rows[8][0].startswith("Hello.Say")
    assert rows[8][2] == "2.42"  # with handlers that do not sleep
    assert len(rows) == 1 + 7 + 5 + 2
    assert "rounds of 1.0 s; 2 cores" in belongings
    assert "websockets 1.0" not in belongings  # it is no reference
    del find(data, "bytes", callers=1)["systems"]["go-default"]
    find(data, "bytes", callers=100)["systems"]["go-default"]["errors"] = 2
    assert next(tables_of(readme_table(data)))[1][1:] == ["-", "2.42 (2 errors)", "2.39"]


def test_it_is_placed_between_its_markers() -> None:
    page = f"# A\n\n{BEGIN}\nold\n{END}\n\nmore\n"
    once = placed(page, "| new \\1 |")
    assert once == f"# A\n\n{BEGIN}\n\n| new \\1 |\n\n{END}\n\nmore\n"
    assert placed(once, "| new \\1 |") == once
    with pytest.raises(ValueError, match="0 places"):
        placed("# A\n", "x")


def test_the_report_has_every_case_and_every_figure() -> None:
    data = results()
    page = markdown(data, ["full-latency.svg"])
    assert "![full-latency](full-latency.svg)" in page
    for one in data["calls"]:
        assert f"## {one['title']}" in page
    assert row(page, "calls/s", "arpc (ours)")[1:3] == ["14,636", "320,390"]
    assert row(page, "p50 / p99", "Go arpc, default")[3] == "8.311 / 13.2 / 18.6"
    assert row(page, "CPU s", "arpc (ours)")[2] == "2.81 + 1.87"
    (busy,) = (one for one in data["calls"] if one["case"] == "busy")
    assert row(page, "calls/s for each core", "arpc (ours)")[1] == f"{1e6 / busy['systems']['ours']['server_cpu']:,.0f}"
    assert row(page, "GB/s", "arpc (ours)") == ["arpc (ours)", "1.53"]
    assert row(page, "ratio of p99", "arpc (ours) / Go arpc, best")[1] == "0.565"  # of the pattern with a given rate
    assert row(page, "bytes per connection", "nbio (frames)")[1:] == ["2,310", "2,310"]
    assert row(page, "bytes per connection", "arpc (ours) / Go arpc, default")[1] == "0.180"
    assert row(page, "bytes per stream", "arpc (ours)")[1:] == ["2,000", "600"]
    assert row(page, "bytes per stream", "arpc (ours) / Go arpc, default")[1:] == ["0.500", "0.600"]
    assert row(page, "MB/s", "grpc.aio")[1:] == [f"{find(data, 'streams')['systems']['grpc-aio']['rate'] / 1e4:,.0f}"]
    assert row(page, "CPU s per million items", "arpc (ours)")
    assert row(page, "items/s", "arpc (ours)")
    assert row(page, "", "`import arpc`")[1:] == ["50.0", "1.15"]
    for delay in ("10 ms", "30 ms"):
        assert f"10 connections, handlers sleep {delay}" in page
    assert page.count("\n- ") == 0
    assert page.count("Nothing.") == 2


def test_the_report_says_what_is_wrong() -> None:
    data = results()
    data.update(complete=False, left_out={"rpyc": "not installed"}, failures=["a\n## b", "c"])
    find(data, "say")["systems"]["rpcx"].update(errors=3, elsewhere=1.2)
    find(data, "busy")["systems"] = {}
    data["settings"]["pinned"] = True
    page = markdown(data)
    for text in (
        "**The run was ended before it was complete.**",
        "**Other programs used up to 1.2 of 2 cores",
        "**rpcx: 3 calls failed",
        "- RPyC: not installed",
        "- a ## b\n- c",
        "Nothing was measured.",
        "pinned True",
    ):
        assert text in page
    assert row(page[page.index("## Hello") :], "calls/s", "rpcx")[1].endswith("(3 errors)")


def test_a_run_of_nearly_nothing() -> None:
    data = results() | {"calls": [], "memory": [], "imports": {}, "systems": {}}
    assert "0 met, 0 missed, 21 not measured" in markdown(data)
    assert len(next(tables_of(readme_table(data)))) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "schema is None"),
        (results() | {"schema": 2}, "schema is 2"),
        (results() | {"calls": [{"case": "bytes"}]}, r"missing required field `title` - at `\$.calls\[0\]`"),
    ],
)
def test_what_is_no_result(data: dict[str, Any], text: str) -> None:
    with pytest.raises(BadResults, match=text):
        markdown(data)


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1)))
def test_cells_stay_in_their_columns(rows: list[list[str]]) -> None:
    lines = piped(rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(rows[0]) + 1}
    assert len(aligned(rows)) == len(rows)


@given(st.floats(1e-9, 1e12), st.integers(1, 9))
def test_numbers_are_exact_to_their_digits(value: float, digits: int) -> None:
    assert float(significant(value, digits)) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
    assert "e" not in significant(value, digits)


def test_how_numbers_are_written() -> None:
    assert [significant(value) for value in (0.0, 0.0387, 0.999, 2.4, 63.04, 1234.5)] == (
        ["0", "0.0387", "0.999", "2.40", "63.0", "1234"]
    )
    assert [milliseconds(value) for value in (None, 0.0, 65e-6, 9.9994e-3, 1.5)] == [
        "-",
        "-",
        "0.065",
        "9.999",
        "1,500.0",
    ]
