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
    "hello": ["2 x flat white with oat milk"],
    "logging_calls": ["INFO call /greet from tcp://", "WARNING call /fail from tcp://", '"code": "not_found"'],
    "metrics": [
        'arpc_calls_total{code="ok",kind="call",method="/greet",side="server"} 3.0',
        'arpc_calls_total{code="not_found",kind="call",method="/find",side="server"} 1.0',
        'arpc_call_duration_seconds_count{kind="call",method="/greet",side="server"} 3.0',
    ],
    "notify_fanout": ["5 readers have read all of it, in order"],
    "recover": ["reported: ZeroDivisionError in /divide", "the caller got: internal error"],
    "services": ["the total is 1090 cents", "on the bill: espresso, cake, cake, water"],
    "streams": [
        "read 1; no more than the window was made meanwhile: True",
        "left after 100; still open: 0",
        "uploaded 50000 bytes",
        "words: ['one', 'two', 'three']",
        "the printer has 2 sheets\nprinted first\nprinted second\nthe printer: no paper for third",
    ],
    "threaded": ["a key of 32 bytes, after progress [1, 2, 3, 4]", "answered another call"],
    "tracing": ["CLIENT /order\n  SERVER /order\n    INTERNAL bake\n    CLIENT /oven\n      SERVER /oven\n"],
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
