"""Latencies as HDR histograms: what the load clients in Python and in Go hand over, and what percentiles are read from.

Units of 100 ns, from one unit to 60 s, three digits. The text is the V2 encoding of the HdrHistogram libraries, as
`encode` of the Python one and `Encode` of the Go one give it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from hdrh.histogram import HdrHistogram

UNIT = 1e-7
HIGHEST = 600_000_000
DIGITS = 3

POINTS = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0)
"""Percentiles of a curve."""


def empty() -> HdrHistogram:
    """A histogram of no latencies."""
    return HdrHistogram(1, HIGHEST, DIGITS)


def encoded(latencies: Iterable[float]) -> str:
    """The text of the histogram of these latencies, in seconds."""
    histogram = empty()
    for units, count in Counter([int(latency / UNIT) for latency in latencies]).items():
        histogram.record_value(min(max(units, 1), HIGHEST), count)
    return str(histogram.encode(), "ascii")


def merged(texts: Sequence[str]) -> HdrHistogram:
    """One histogram of all these; ValueError for a text that is none."""
    histogram = empty()
    for text in texts:
        if text:
            histogram.add(_decoded(text))
    return histogram


def _decoded(text: str) -> HdrHistogram:
    try:
        return HdrHistogram.decode(text)
    except Exception as error:  # of a dozen classes: the library's own, those of base64 and zlib
        raise ValueError(f"no histogram: {error}") from error


def percentile(histogram: HdrHistogram, percent: float) -> float:
    """Seconds; 0 for an empty histogram."""
    return float(histogram.get_value_at_percentile(percent)) * UNIT if histogram.get_total_count() else 0.0
