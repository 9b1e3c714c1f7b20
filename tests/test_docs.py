"""The Python in README.md and docs/ runs.

Each ```python block is a program of its own, run in a fresh process and an empty folder. An HTML comment on the line
above the block (blank lines do not count) changes that:

    <!-- continues -->          the block goes on where the one before it ended: both are one program
    <!-- not run: reason -->    the block is shown only; the summary of the test run lists it with its reason
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 30

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)")
COMMENT = re.compile(r"^ *<!-- *(?P<text>.*?) *-->$")


@dataclass
class Program:
    """The blocks that run as one, each with the number of its first line."""

    place: str
    not_run: str | None
    blocks: list[tuple[int, str]] = field(default_factory=list)

    def source(self) -> str:
        """The program with every line at its number in the document, so that a traceback names that."""
        lines: list[str] = []
        for start, text in self.blocks:
            lines += [""] * (start - 1 - len(lines))
            lines += text.splitlines()
        return "\n".join(lines) + "\n"


def programs(document: str, text: str) -> list[Program]:
    """The programs in a Markdown text; ``document`` is its name. ValueError for a comment that fits nothing."""
    found: list[Program] = []
    for line, comment, block in _python_blocks(text):
        place = f"{document}:{line - 1}"
        kind, _, reason = comment.partition(":")
        if kind == "continues":
            if not found or found[-1].not_run is not None:
                raise ValueError(f"{place} continues nothing that runs")
            found[-1].blocks.append((line, block))
            continue
        if kind == "not run" and not reason.strip():
            raise ValueError(f"{place} is not run: say why, <!-- not run: reason -->")
        found.append(Program(place, reason.strip() if kind == "not run" else None, [(line, block)]))
    return found


def _python_blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the first line, the comment above, and the code of each Python block."""
    lines = iter(enumerate(text.splitlines(), 1))
    comment = ""
    for number, line in lines:
        if opening := FENCE.match(line):
            block: list[str] = []
            for _, inner in lines:
                if inner.strip() == opening["fence"]:
                    break
                block.append(inner)
            if opening["language"] == "python":
                yield number + 1, comment, textwrap.dedent("\n".join(block))
            comment = ""
        elif note := COMMENT.match(line):
            comment = note["text"]
        elif line.strip():
            comment = ""


def run(program: Program, folder: Path) -> None:
    """AssertionError with what it printed, if the program fails or does not end in time."""
    path = folder / re.sub(r"\W+", "_", program.place)
    path.write_text(program.source(), encoding="utf-8")
    log = folder / "output"
    with log.open("w") as output:
        try:
            command = [sys.executable, "-u", str(path)]
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, timeout=SECONDS)
            problem = f"ended with exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"did not end within {SECONDS} s"
    assert not problem, f"{program.place} {problem}:\n{log.read_text(errors='replace')}"


def documents() -> list[Path]:
    return [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.exists()]


ALL = [
    program
    for path in documents()
    for program in programs(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.place)
def test_a_program_of_the_documentation(program: Program, tmp_path: Path) -> None:
    if program.not_run is not None:
        pytest.skip(f"{program.place} not run: {program.not_run}")
    run(program, tmp_path)


# The reading itself.

MARKDOWN = """\
# Title
```python
x = 1
```
Words.

<!-- continues -->

```python
y = x
```

<!-- not run: needs a certificate -->
```python
z = 1
```
```console
$ rm -rf
```
- in a list

  ```python
  if True:
      print("a")
  ```
````markdown
```python
not code
```
````
"""


def test_blocks_are_read() -> None:
    first, second, third = programs("x.md", MARKDOWN)
    assert (first.place, first.not_run, first.blocks) == ("x.md:2", None, [(3, "x = 1"), (10, "y = x")])
    assert first.source().splitlines()[2::7] == ["x = 1", "y = x"]
    assert (second.place, second.not_run) == ("x.md:14", "needs a certificate")
    assert third.blocks == [(23, 'if True:\n    print("a")')]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- continues -->\n```python\n```",
        "<!-- not run: x -->\n```python\n```\n<!-- continues -->\n```python\n```",
        "<!-- not run: -->\n```python\n```",
        "<!-- not run -->\n```python\n```",
    ],
)
def test_a_comment_that_fits_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"x\.md:\d"):
        programs("x.md", text)


def test_a_program_that_fails_is_shown(tmp_path: Path) -> None:
    (program,) = programs("x.md", "\n```python\nprint('out')\n1 / 0\n```")
    with pytest.raises(AssertionError, match=r"(?s)x\.md:2 ended.*out.*line 4.*ZeroDivisionError"):
        run(program, tmp_path)
