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
        "100 asked at once and were told {'Ann has 3 orders'}, made 1 time",
        "after an order: Ann has 4 orders\nasked once: no orders of Bob\nasked again: no orders of Bob",
        "of 103 calls 3 reached the handler",
    ],
    "callbacks": ["the server asked for 0"],
    "circuit_breaker": [
        "the service says: internal error\nthe service says: internal error\nthe circuit of /price is open\n",
        "not called: unavailable, and it says when to come back: True",
        "/price was asked 3 times",
        "half-open\nthe circuit of /price is closed\na trial: 3\nfrom now on as ever: 10",
    ],
    "codec_own": [
        "[Sale(day=datetime.date(2026, 5, 2), product='scone, \"large\"', count=12)]",
        "day,product,count",
        "'count': '12'",
        "refused: invalid body",
        "Expected `int`, got `str` - at `$[0].count`",
        "not sent: csv cannot encode a int: a table is a list of rows, not int",
    ],
    "codecs_cbor": ["celsius=21.5, counter=1180591620717411303425", "21.5 degrees at 12:41 UTC", "has 72 bytes"],
    "codecs_msgpack": ["small cat"],
    "codecs_per_method": [
        "json: 3\nprotobuf: 1060\njson again: ",
        "msgpack: Thumbnail(name='cat', pixels=b'\\x00\\x01\\x02\\x03')",
        "a stream of protobuf: 42",
        "with the codec forgotten: invalid_argument: invalid body: expected Timestamp as protobuf",
    ],
    "codecs_pydantic": ["created Ann", "['ann@example.com']", "refused: invalid body", "$.email: String should match"],
    "coder_own": [
        "paid 250",
        "the server: the coder 'crc32' cannot decode a frame: a frame was damaged on its way",
        "the caller: the connection with tcp://",
        "without it: the other side requires the coder 'crc32'",
    ],
    "coders_encrypt": [
        "using the old one: 103",
        "with the new key alone: 103",
        "with the old key alone: the other side encrypts with the key '2026', which this side has not",
        "with a wrong key: the other side has another key '2026' than this side",
        "with none: the other side requires the coder 'encrypt'",
    ],
    "coders_gzip": ["1000 rows came in"],
    "coders_values": [
        "the server sees {'user': 'Ann'}",
        "beside it {'user': 'Bob'}",
        "SpanContext(trace_id=7, span_id=1, sampled=True, baggage={'tier': 'gold'})",
        "'table': 4, 'extras': ['milk', 'sugar']",
        "and no coder carries 'table'",
    ],
    "coders_zstd": [
        "a client with ['zstd']\n    zstd left ",
        "a client with ['lz4']\n    lz4 left ",
        "a client with ['zstd', 'lz4']\n    zstd left ",
        "a client with []\n    1000 rows from a server with ['zstd', 'lz4']",
    ],
    "concurrency": [
        "overloaded: too many at a time, /resize was refused: 2 of its method are under way and 1 wait",
        "['small a', 'small b', 'small c'], no more than 2 at a time",
        "20 answers, no more than 1 at a time",
    ],
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
    "hedge": [
        "12 answers, ",
        " of them cancelled",
        "the slowest answer came within 1 s: True",
    ],
    "hello": ["2 x flat white with oat milk"],
    "load_shedding": [
        "/bake was refused: 3 messages are under way, which is the limit\n/health: alive",
        "['a warm cake', 'a warm cake', 'a warm cake']",
        "/bake was refused: the event loop is 0.",
    ],
    "logging_calls": ["INFO call /greet from tcp://", "WARNING call /fail from tcp://", '"code": "not_found"'],
    "metrics": [
        'arpc_calls_total{code="ok",kind="call",method="/greet",side="server"} 3.0',
        'arpc_calls_total{code="not_found",kind="call",method="/find",side="server"} 1.0',
        'arpc_call_duration_seconds_count{kind="call",method="/greet",side="server"} 3.0',
    ],
    "middleware_own": [
        "client > /order b'tea'\nserver > /order b'tea'\nserver < /order\nclient < /order\none tea",
        "the server refused: whisky is not sold here",
        "client > /order b'beer'\nclient < /order\nthis side refused: beer is not sold here",
        "['/order: 7 bytes', '/order: invalid_argument']",
    ],
    "notify_fanout": ["5 readers have read all of it, in order"],
    "numpy_arrays": ["4,000,000 floats from 0.0 to 1.0", "[1.5, 5.5, 9.5]", "not sent: raw cannot encode a ndarray"],
    "rate_limit": [
        "resource_exhausted: too many messages, /quote was refused: 2 a second, and 3 at once, are the limit",
        "another peer has its own bucket, D: 100",
        "after that wait, D: 100",
        "kept to: A: 100, B: 100, C: 100, D: 100",
    ],
    "recover": ["reported: ZeroDivisionError in /divide", "the caller got: internal error"],
    "retry": [
        "/stock: the shelf is being counted; attempt 3\nin stock: 7",
        "/price: prices were changed meanwhile; attempt 3\nfor: 250",
        "not sent again: aborted: prices were changed meanwhile",
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
    "timeout": [
        "the search of cats was given up\ndeadline_exceeded: /search took longer than 0.1 s",
        "RemoteError: the shelf is being counted",
        "CallTimeout: /slow took longer than 0.2 s",
        "CallTimeout: /slow has not answered within 0.1 s",
    ],
    "tls": [
        "welcome, Ann",
        "no certificate of its own: ",
        "perhaps it wants a client certificate",
        "no trust in this authority: ",
        "certificate verify failed",
    ],
    "tracing": ["CLIENT /order\n  SERVER /order\n    INTERNAL bake\n    CLIENT /oven\n      SERVER /oven\n"],
    "validate": [
        "/count: 10",
        "resource_exhausted: the request of /count has 7001 bytes, over its limit of 1000",
        "/upload: 100000",
        "/repeat: abab",
        "the answer of /repeat has 2000 bytes, over its limit of 500; the call was executed",
        "not sent: the request of /count has 7001 bytes, over its limit of 1000",
    ],
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
