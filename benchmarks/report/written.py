"""Files made of a result file: the Markdown report and the plots beside it, and the table in the README.

python -m benchmarks report benchmarks/results/full.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import plots, tables
from benchmarks.report.markdown import markdown
from benchmarks.report.schema import BadResults, read


def write(path: Path) -> list[Path]:
    """Write `<stem>.md` and SVG files beside the JSON file; without matplotlib only the first, and say so.

    Raises `BadResults`.
    """
    results = read(path)
    pictures: list[Path] = []
    try:
        pictures = plots.write(results, path)
    except ImportError as error:
        print(error, file=sys.stderr)
    report = path.with_suffix(".md")
    report.write_text(markdown(results, [picture.name for picture in pictures]))
    return [report, *pictures]


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks report FILE`: 2 for a file that is no result, or a page without the markers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="a result file")
    parser.add_argument("--readme", type=Path, help="put the short table into this page, between its markers")
    options = parser.parse_args(argv)
    try:
        files = write(options.file)
        if options.readme is not None:
            table = tables.readme_table(read(options.file))
            options.readme.write_text(tables.placed(options.readme.read_text(), table))
            files.append(options.readme)
    except (BadResults, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for one in files:
        print(one)
    return 0
