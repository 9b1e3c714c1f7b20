"""MessagePack: its bytes, and every kind of broken bytes. Types: test_codec_typed.py."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from arpc_codecs import MsgpackCodec

codec = MsgpackCodec()

DEEP = 100_000


class Box(msgspec.Struct):
    value: Any


BYTES: list[tuple[Any, str]] = [
    (None, "c0"),
    (True, "c3"),
    (5, "05"),
    (-1, "ff"),
    (2**64 - 1, "cf ffffffffffffffff"),
    (1.5, "cb 3ff8000000000000"),
    ("é", "a2 c3a9"),
    (b"\x00\xff", "c4 02 00ff"),
    ([1, "a"], "92 01 a1 61"),
    ({"a": 1}, "81 a1 61 01"),
    ({1: 2}, "81 01 02"),
    (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "d6 ff 00000001"),
    (msgspec.msgpack.Ext(5, b"a"), "d4 05 61"),
]


@pytest.mark.parametrize(("value", "hex"), BYTES, ids=lambda part: str(part).split(" at ")[0][:40])
def test_both_ways(value: Any, hex: str) -> None:
    body = bytes.fromhex(hex)
    assert codec.encode(value) == body
    back = codec.decode(body)
    assert back == value
    assert type(back) is type(value)


def test_another_implementation_agrees() -> None:
    msgpack = pytest.importorskip("msgpack")
    value = {"a": [1, -(2**63), 2.5, None, True, b"\x00", "é" * 300], "b": {"c": list(range(70_000))}}
    assert msgpack.unpackb(codec.encode(value)) == value
    assert codec.decode(msgpack.packb(value)) == value


def test_what_json_has_not() -> None:
    assert math.isnan(codec.decode(codec.encode(math.nan)))
    assert codec.decode(codec.encode([math.inf, -math.inf])) == [math.inf, -math.inf]
    assert codec.decode(bytes.fromhex("81 91 01 02")) == {(1,): 2}  # a list as a key
    assert codec.decode(bytes.fromhex("82 a161 01 a161 02")) == {"a": 2}  # of duplicate keys the last


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_integers_have_64_bits(number: int) -> None:
    with pytest.raises(OverflowError):
        codec.encode(Box(number))


BROKEN = {
    "empty": "",
    "no such code": "c1",
    "trailing": "01 01",
    "text cut off": "a5 61",
    "list cut off": "92 01",
    "map cut off": "81 01",
    "number cut off": "cf ff",
    "not UTF-8": "a1 ff",
    "key not UTF-8": "81 a1 ff 01",
    "map as a key": "81 80 01",
    "extension as a key": "81 d40561 01",
    "extension cut off": "d4 05",
    "timestamp out of range": "c7 0c ff ffffffff ffffffffffffffff",
    # claims of what does not follow
    "text of 4 GiB": "db ffffffff",
    "bytes of 4 GiB": "c6 ffffffff",
    "extension of 4 GiB": "c9 ffffffff 05",
    "list of 4 Gi items": "dd ffffffff",
    "map of 4 Gi pairs": "df ffffffff",
}


@pytest.mark.parametrize("hex", BROKEN.values(), ids=BROKEN)
def test_broken(hex: str) -> None:
    body = bytes.fromhex(hex)
    for decode in (codec.decode, codec.decoder(Any), codec.decoder(Box), codec.decoder(list[int]), codec.decoder(str)):
        with pytest.raises(ValueError):
            decode(body)


class Tree(msgspec.Struct):
    kids: list[Tree] = []


DEEPS: list[tuple[Any, bytes]] = [
    (Any, b"\x91" * DEEP),
    (Any, b"\x81\x01" * DEEP),
    (Any, b"\x81" * DEEP),  # in keys
    (list[Any], b"\x91" * DEEP),
    (Box, b"\x81\xa5value" + b"\x91" * DEEP),
    (Box, b"\x81\xa1x" + b"\x91" * DEEP),  # in a field that is skipped
    (Tree, b"\x81\xa4kids\x91" * DEEP),
]


@pytest.mark.parametrize(("type", "body"), DEEPS, ids=lambda part: str(part)[:40])
def test_too_deep(type: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decoder(type)(body)
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decode(body)


NESTED_CLAIMS = """
import resource
from arpc_codecs import MsgpackCodec

decode = MsgpackCodec().decode
body = b"\\xdd\\x00\\x0f\\x00\\x00" * 300 + bytes(1_000_000)  # 300 lists, each in the one before, of 983,040 items
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(body)
except ValueError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_nested_claims_cost_no_memory() -> None:
    done = subprocess.run([sys.executable, "-c", NESTED_CLAIMS], capture_output=True, text=True, timeout=30, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 32 << 20
