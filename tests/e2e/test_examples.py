"""Every file of examples/ does what it says, run as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30

PRINTS = {
    "cache": [
        "100 answers, 1 text, made 1 time",
        "Ann has 4 orders\nno orders of Bob\nno orders of Bob",
        "100 were answered by what was there or being made, 3 by a run",
    ],
    "callbacks": ["the server asked for 0"],
    "codecs_msgpack": ["small cat"],
    "deadlines": [
        "the page was late",
        "late: a deadline",
        "late: cancelled",
        "unwanted: no deadline",
        "unwanted: cancelled",
    ],
    "errors": ["RemoteError: Ann has not that much", "$.cents", "MethodNotFound", "CallTimeout", "ConnectionClosed"],
    "hedge": ["12 answers, ", " of them cancelled", "within a second: True"],
    "hello": ["2 x flat white with oat milk"],
    "notify_fanout": ["5 readers have read all of it, in order"],
    "retry": [
        "/stock: the shelf is being counted; once more",
        "attempt 3 found 7\nin stock: 7",
        "the service says: internal error",
        "the circuit of /price is open\nthe service says: internal error\nnot called: unavailable for about 30 s",
        "/price was asked 3 times",
    ],
    "services": ["the total is 1090 cents", "on the bill: espresso, cake, cake, water"],
    "streams": [
        "read 1; no more than the window was made meanwhile: True",
        "left after 100; still open: 0",
        "uploaded 50000 bytes",
        "words: ['one', 'two', 'three']",
        "the printer has 2 sheets\nprinted first\nprinted second\nthe printer: no paper for third",
    ],
    "threaded": ["a key of 32 bytes, after progress [1, 2, 3, 4]", "answered another call"],
}
"""What each prints, among other things. The demo has tests of its own."""


def examples() -> set[str]:
    return {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__", "demo"}


def test_every_example_is_tested() -> None:
    assert examples() == PRINTS.keys()


@pytest.mark.parametrize("name", sorted(PRINTS))
def test_an_example(name: str) -> None:
    command = [sys.executable, "-W", "error", "-m", f"examples.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert [text for text in PRINTS[name] if text not in done.stdout] == []


def test_the_readme_shows_the_first_example() -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    assert block[1] == (ROOT / "examples" / "hello.py").read_text(encoding="utf-8")
