"""Histograms: percentiles are those of the latencies that went in, whichever library has written the text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import histogram

PRECISION = 1e-3
"""Of three digits."""

quiet = settings(deadline=None, max_examples=30)  # a busy machine is no failure
latencies = st.lists(st.floats(histogram.UNIT, 60.0), min_size=1, max_size=60)
percents = st.sampled_from(histogram.POINTS)


@quiet
@given(latencies, percents)
def test_percentiles_are_those_of_the_latencies(values: list[float], percent: float) -> None:
    merged = histogram.merged([histogram.encoded(values)])
    assert merged.get_total_count() == len(values)
    values.sort()
    rank = percent / 100 * len(values)  # which of the two next to it, implementations may choose
    low, high = values[max(math.floor(rank), 1) - 1], values[max(math.ceil(rank), 1) - 1]
    found = histogram.percentile(merged, percent)
    assert low * (1 - PRECISION) - 2 * histogram.UNIT <= found <= high * (1 + PRECISION) + 2 * histogram.UNIT


@quiet
@given(st.lists(latencies, max_size=4))
def test_merging_is_recording_together(parts: list[list[float]]) -> None:
    merged = histogram.merged([histogram.encoded(part) for part in parts])
    together = histogram.merged([histogram.encoded([one for part in parts for one in part])])
    assert merged.get_total_count() == sum(map(len, parts))
    for point in histogram.POINTS:
        assert histogram.percentile(merged, point) == histogram.percentile(together, point)


def test_of_nothing() -> None:
    for texts in ([], [""], [histogram.encoded([])], ["", histogram.encoded([]), ""]):
        merged = histogram.merged(texts)
        assert merged.get_total_count() == 0
        assert histogram.percentile(merged, 99) == 0
    assert histogram.merged(["", histogram.encoded([0.5])]).get_total_count() == 1


def test_beyond_the_limits() -> None:
    merged = histogram.merged([histogram.encoded([0.0, 3600.0])])
    assert merged.get_total_count() == 2
    assert histogram.percentile(merged, 0) == histogram.UNIT
    assert histogram.percentile(merged, 100) == pytest.approx(60, rel=PRECISION)


GO = (
    "HISTFAAAAHZ42izITQqBUQBG4fdeNyG8/pJ0k/wlSZK5mZlsxSLswNhSjKxH2cAp6fvO6PTk+6Mv6SopSKqo6P+av886fUuJjt20rF5qz9B4xSap"
    "Tb2De3iAh3iExzjjCZ7iGV7gFV7jDd7iHd7jAz5+WrdfAAAA//8wER7u"
)
"""As Go's library has written it: for each i from 0 to 27, i + 1 latencies of 2**i microseconds; one of 0 s and one of
3600 s, which count as the least and the most that a histogram takes."""


def test_a_text_of_the_library_for_go() -> None:
    merged = histogram.merged([GO])
    recorded = sorted([0.0, 3600.0, *(2**i / 1e6 for i in range(28) for _ in range(i + 1))])
    recorded = [min(max(one, histogram.UNIT), 60.0) for one in recorded]
    assert merged.get_total_count() == len(recorded) == 408
    for point in histogram.POINTS:
        nearest = recorded[max(round(point / 100 * len(recorded)), 1) - 1]
        assert histogram.percentile(merged, point) == pytest.approx(nearest, rel=PRECISION)
    assert histogram.merged([GO, histogram.encoded(recorded)]).get_total_count() == 816


@pytest.mark.parametrize("text", ["rubbish", "AAAA", "é", GO[:-8], GO[:40] + GO[44:], "HISTFAAAAA" + GO[10:], " "])
def test_what_is_no_histogram(text: str) -> None:
    with pytest.raises(ValueError):
        histogram.merged([text])
