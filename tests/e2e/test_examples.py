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
    "auth": [
        "unauthenticated: authenticate first: call /auth with a bearer token or a password",
        "unauthenticated: the credentials are not accepted",
        "scones for ann",
        "permission_denied: /close needs the role 'owner'",
        "bob is baker, owner: closed until tomorrow",
    ],
    "auth_jwt": [
        "ann bakes, with a token for bakery",
        "the connection outlived its first token: True",
        "the token expired 95 s ago (leeway 0 s): check the clocks, or get a new token",
        "the credentials are not accepted",
    ],
    "broadcast": ["sent to 5 screens, missed by 0", "sent to 4 screens, missed by 1:\n  ConnectionClosed"],
    "cache": [
        "100 answers, 1 text, made 1 time",
        "Ann has 4 orders\nno orders of Bob\nno orders of Bob",
        "100 were answered by what was there or being made, 3 by a run",
    ],
    "callbacks": ["the server asked for 0"],
    "codecs_cbor": ["celsius=21.5, counter=1180591620717411303425", "21.5 degrees at 12:41 UTC", "has 72 bytes"],
    "codecs_msgpack": ["small cat"],
    "codecs_pydantic": ["created Ann", "['ann@example.com']", "refused: invalid body", "$.email: String should match"],
    "coders_encrypt": [
        "using the old one: 103",
        "with the new key alone: 103",
        "with the old key alone: the other side encrypts with the key '2026', which this side has not",
        "with a wrong key: the other side has another key '2026' than this side",
        "with none: the other side requires the coder 'encrypt'",
    ],
    "coders_gzip": ["1000 rows came in"],
    "deadlines": [
        "the page was late",
        "late: a deadline",
        "late: cancelled",
        "unwanted: no deadline",
        "unwanted: cancelled",
    ],
    "errors": ["RemoteError: Ann has not that much", "$.cents", "MethodNotFound", "CallTimeout", "ConnectionClosed"],
    "graceful": [
        "1 order runs\n",
        "a second order was not sent: ",
        "closing for the night",
        "tea for 3\nall orders have ended by themselves: True",
    ],
    "hedge": ["12 answers, ", " of them cancelled", "within a second: True"],
    "hello": ["2 x flat white with oat milk"],
    "limits": [
        "overloaded: too many at a time, /resize was refused: 2 of its method are under way and 1 wait",
        "['small a', 'small b', 'small c']",
        "resource_exhausted: too many messages, /quote was refused: 10 a second, and 3 at once, are the limit",
        "D: 100",
        "resource_exhausted: the request of /count has 7001 bytes, over its limit of 1000",
        "overloaded: overloaded, /count was refused: the event loop is 0.",
        "alive",
    ],
    "logging_calls": ["INFO call /greet from tcp://", "WARNING call /fail from tcp://", '"code": "not_found"'],
    "metrics": [
        'arpc_calls_total{code="ok",kind="call",method="/greet",side="server"} 3.0',
        'arpc_calls_total{code="not_found",kind="call",method="/find",side="server"} 1.0',
        'arpc_call_duration_seconds_count{kind="call",method="/greet",side="server"} 3.0',
    ],
    "notify_fanout": ["5 readers have read all of it, in order"],
    "numpy_arrays": ["4,000,000 floats from 0.0 to 1.0", "[1.5, 5.5, 9.5]", "not sent: raw cannot encode a ndarray"],
    "recover": ["reported: ZeroDivisionError in /divide", "the caller got: internal error"],
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
    "tls": ["welcome, Ann", "perhaps it wants a client certificate", "certificate verify failed"],
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
