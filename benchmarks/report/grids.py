"""Rows of cells as text, for a terminal and for Markdown, and how numbers are written in them."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

Rows = Sequence[Sequence[str]]
"""The head first; all of one length."""
NOTHING = "-"
"""The cell of what was not measured."""


def aligned(rows: Rows, left: Container[int] = (0,)) -> list[str]:
    """Lines with the cells below each other; to the right, but for the columns of these numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = (f"{cell:<{width}}" if number in left else f"{cell:>{width}}" for number, (cell, width) in pairs)
        lines.append("  ".join(("", *cells)).rstrip())
    return lines


def piped(rows: Rows, left: Container[int] = (0,)) -> str:
    """A table in Markdown, aligned in the same way."""
    head, *body = ([one_line(cell).replace("|", "\\|") for cell in row] for row in rows)
    rule = ["---" if number in left else "---:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def one_line(text: str) -> str:
    """Without line breaks, which would end a cell or an item."""
    return " ".join(text.split())


def significant(value: float, digits: int = 3) -> str:
    """With that many digits that say something, and never fewer than those before the point."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def times(value: float | None) -> str:
    """A ratio."""
    return NOTHING if value is None else significant(value)


def throughput(value: float, unit: str) -> str:
    """Calls a second are whole, gigabytes are not."""
    return f"{value:.2f}" if unit == "GB/s" else f"{value:,.0f}"


def milliseconds(seconds: float | None) -> str:
    """Of a latency; of no calls it is 0."""
    return NOTHING if not seconds else f"{seconds * 1e3:.3f}" if seconds < 10e-3 else f"{seconds * 1e3:,.1f}"


def mebibytes(size: float | None) -> str:
    """Of a number of bytes."""
    return NOTHING if size is None else f"{size / 2**20:,.1f}"
