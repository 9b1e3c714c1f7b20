"""How the demo looks: plain lines, coloured where a person reads them on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"
WIDTH = 76

_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, *styles: str) -> str:
    """The text in these styles on a terminal; as it is in files and pipes, and where NO_COLOR is set."""
    return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if _colours else text


def say(text: str = "") -> None:
    print(text, flush=True)


def result(number: int, title: str, lines: Iterable[tuple[str, str]], problem: str | None) -> None:
    """One thing that was shown: its title, who said what, and whether that was right."""
    verdict = paint("ok", GREEN) if problem is None else paint("WRONG", RED, BOLD)
    say(f"\n{number:2}  {paint(f'{title:<{WIDTH - 4}}', BOLD)} {verdict}")
    for who, what in lines:
        say(f"      {paint(f'{who:<15}', CYAN)} {what}")
    if problem is not None:
        say(f"      {paint(problem, RED)}")


def row(*cells: str, widths: Sequence[int]) -> str:
    """One line of a table, its cells aligned to the right."""
    return "    " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
