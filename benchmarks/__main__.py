"""python -m benchmarks: the suite. also compare A B, report FILE, codecs, and layers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks import codecs, command, layers
from benchmarks.report import compare, written

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "compare": compare.main,
    "report": written.main,
    "codecs": codecs.main,
    "layers": layers.main,
}


def main(argv: Sequence[str]) -> int:
    """The exit code: 1 after an error or a wrong answer, 2 for a mistake in the command, 130 after Ctrl-C."""
    if argv and argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    return command.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
