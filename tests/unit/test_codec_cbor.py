"""CBOR: its bytes, its tags, and every kind of broken bytes. Types: test_codec_typed.py."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import cbor2
import msgspec
import pytest

from arpc_codecs import CborCodec

codec = CborCodec()

DEEP = 100_000


class Box(msgspec.Struct):
    value: Any


BYTES: list[tuple[Any, str]] = [
    (None, "f6"),
    (True, "f5"),
    (5, "05"),
    (-1, "20"),
    (2**64 - 1, "1b ffffffffffffffff"),
    (2**64, "c2 49 010000000000000000"),
    (-(2**64) - 1, "c3 49 010000000000000000"),
    (1.1, "fb 3ff199999999999a"),
    ("é", "62 c3a9"),
    (b"\x00\xff", "42 00ff"),
    ([1, "a"], "82 01 61 61"),
    ({"a": 1}, "a1 61 61 01"),
    ({1: 2}, "a1 01 02"),
    ({(1, b"a"): 2}, "a1 82 01 41 61 02"),
]


@pytest.mark.parametrize(("value", "hex"), BYTES, ids=lambda part: str(part)[:40])
def test_both_ways(value: Any, hex: str) -> None:
    body = bytes.fromhex(hex)
    assert codec.encode(value) == body
    back = codec.decode(body)
    assert back == value
    assert type(back) is type(value)


def test_other_bytes() -> None:
    assert codec.decode(codec.encode([bytearray(b"ab"), memoryview(b"ab")])) == [b"ab", "YWI="]


def test_typed_values_are_written_as_in_json() -> None:
    at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    value = [at, UUID(int=1), Decimal("1.10"), {7}, Box(b"a")]
    text = ["2024-02-29T12:00:00Z", str(UUID(int=1)), "1.10", [7], {"value": b"a"}]
    assert codec.decode(codec.encode(value)) == text
    assert codec.decoder(datetime)(codec.encode(at)) == at


def test_another_implementation_agrees() -> None:
    value = {"a": [1, -(2**63), 2.5, None, True, b"\x00", "é" * 300], "b": {"c": list(range(70_000))}, "d": 2**80}
    assert cbor2.loads(codec.encode(value)) == value
    assert codec.decode(cbor2.dumps(value)) == value
    typed = {
        "at": datetime(2024, 2, 29, tzinfo=UTC),
        "id": UUID(int=1),
        "price": Decimal("1.10"),
        "d": date(2024, 2, 1),
    }
    assert codec.decode(cbor2.dumps(typed, date_as_datetime=False)) == typed


def test_what_json_has_not() -> None:
    assert math.isnan(codec.decode(codec.encode(math.nan)))
    assert codec.decode(codec.encode([math.inf, -math.inf])) == [math.inf, -math.inf]
    assert codec.decode(bytes.fromhex("a2 6161 01 6161 02")) == {"a": 2}  # of duplicate keys the last
    assert codec.decode(bytes.fromhex("9f 01 7f 6161 6162 ff ff")) == [1, "ab"]  # indefinite lengths


def test_values_that_only_cbor_has_fit_no_type() -> None:
    assert codec.decode(bytes.fromhex("82 f7 f0")) == [cbor2.undefined, cbor2.CBORSimpleValue(16)]
    for type in (int, str, bool, dict[str, Any], int | None, list[int]):
        for body in (b"\xf7", b"\xf0"):
            with pytest.raises(ValueError, match="Expected"):
                codec.decoder(type)(body)


TAGS: list[tuple[str, Any]] = [
    ("c0 74 323031332d30332d32315432303a30343a30305a", datetime(2013, 3, 21, 20, 4, tzinfo=UTC)),
    ("c1 1a 514b67b0", datetime(2013, 3, 21, 20, 4, tzinfo=UTC)),
    ("c1 fb 41d452d9ec200000", datetime(2013, 3, 21, 20, 4, 0, 500_000, tzinfo=UTC)),
    ("c2 40", 0),
    ("c3 41 00", -1),
    ("c4 82 21 19 6ab3", Decimal("273.15")),
    ("c4 82 39 17ff c2 41 01", Decimal("1e-6144")),
    ("d825 50 00000000000000000000000000000001", UUID(int=1)),
    ("d903ec 6a 323031332d31302d3039", date(2013, 10, 9)),
    ("d9d9f7 81 01", [1]),
    ("a1 c2 41 01 02", {1: 2}),
]


@pytest.mark.parametrize(("hex", "value"), TAGS)
def test_tags(hex: str, value: Any) -> None:
    assert codec.decode(bytes.fromhex(hex)) == value


REFUSED_TAGS = {
    "big float": "c5 82 20 03",
    "text again, of no namespace": "d819 00",
    "a namespace of texts": "d90100 82 6461626364 d819 00",
    "shared": "d81c 81 01",
    "a cycle": "d81c 81 d81d 00",
    "no such shared value": "d81d 00",
    "rational": "d81e 82 01 03",
    "regular expression": "d823 64 28612b29",
    "mail": "d824 6a 436f6e74656e743a200a",
    "set": "d90102 81 01",
    "address": "d90104 44 c0a80001",
    "complex": "d9a7f8 82 01 02",
    "of nobody": "d9ffff 01",
    "one in another": "81 d9d9f7 c5 82 20 03",
}


@pytest.mark.parametrize("hex", REFUSED_TAGS.values(), ids=REFUSED_TAGS)
def test_other_tags_are_refused(hex: str) -> None:
    with pytest.raises(ValueError, match=r"semantic tag \d+: this tag is not accepted"):
        codec.decode(bytes.fromhex(hex))


WRONG_TAGS = {
    "time of no date": ("c0 61 3a", "tag 0: Invalid RFC3339"),
    "time of a number": ("c0 01", "tag 0: Expected `datetime`"),
    "epoch of text": ("c1 61 61", "tag 1: it takes a number"),
    "epoch of NaN": ("c1 f9 7e00", "tag 1: .*NaN"),
    "epoch of no year": ("c1 1b ffffffffffffffff", "tag 1: "),
    "integer of text": ("c2 61 61", "tag 2: it takes at most 1785 bytes"),
    "negative of an array": ("c3 80", "tag 3: it takes at most 1785 bytes"),
    "decimal of one part": ("c4 81 01", "tag 4: Expected `array` of length 2"),
    "decimal of floats": ("c4 82 00 f9 3c00", "tag 4: Expected `int`, got `float`"),
    "decimal of much in little": ("c4 82 1a 3b9aca00 01", "tag 4: its exponent is between -6144 and 6144"),
    "decimal below that": ("c4 82 39 1800 01", "tag 4: its exponent"),
    "UUID of 1 byte": ("d825 41 ff", "tag 37: "),
    "UUID of text": ("d825 61 61", "tag 37: Expected `bytes`, got `str`"),
    "date of no day": ("d903ec 6a 323031332d30322d3330", "tag 1004: "),
}


@pytest.mark.parametrize(("hex", "message"), WRONG_TAGS.values(), ids=WRONG_TAGS)
def test_tags_of_what_does_not_fit(hex: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.decode(bytes.fromhex(hex))


def test_integers_have_at_most_4300_digits() -> None:
    largest = codec.decode(b"\xc2\x59\x06\xf9" + b"\xff" * 1785)
    assert len(str(largest)) == 4299
    with pytest.raises(ValueError, match="at most 1785 bytes"):
        codec.decode(b"\xc2\x59\x06\xfa" + b"\x01" * 1786)


BROKEN = {
    "empty": "",
    "no such length": "1c",
    "an integer of no length": "1f",
    "trailing": "01 01",
    "a break outside": "ff",
    "a break in an array of 2": "82 ff 01",
    "text cut off": "65 61",
    "list cut off": "82 01",
    "map cut off": "a1 01",
    "no end": "9f 01",
    "tag of nothing": "c0",
    "simple value in two bytes": "f8 10",
    "not UTF-8": "61 ff",
    "key not UTF-8": "a1 61 ff 01",
    "bytes within text": "7f 41 61 ff",
    "text of texts of no length": "7f 7f 61 61 ff ff",
    # claims of what does not follow
    "text of 4 GiB": "7a ffffffff",
    "bytes of 16 EiB": "5b ffffffffffffffff",
    "list of 4 Gi items": "9a ffffffff",
    "list of 16 Ei items": "9b ffffffffffffffff",
    "map of 4 Gi pairs": "ba ffffffff",
}


@pytest.mark.parametrize("hex", BROKEN.values(), ids=BROKEN)
def test_broken(hex: str) -> None:
    body = bytes.fromhex(hex)
    for decode in (codec.decode, codec.decoder(Any), codec.decoder(Box), codec.decoder(list[int]), codec.decoder(str)):
        with pytest.raises(ValueError):
            decode(body)


def test_trailing_bytes_are_named() -> None:
    with pytest.raises(ValueError, match=r"trailing bytes after the value \(byte 2\)"):
        codec.decode(b"\x81\x01\x01")


class Tree(msgspec.Struct):
    kids: list[Tree] = []


DEEPS: list[tuple[Any, bytes]] = [
    (Any, b"\x81" * DEEP),
    (Any, b"\x9f" * DEEP),
    (Any, b"\xa1\x01" * DEEP),
    (Any, b"\xa1" * DEEP),  # in keys
    (Any, b"\xd9\xd9\xf7" * DEEP),  # in tags
    (Box, b"\xa1\x65value" + b"\x81" * DEEP),
    (Tree, b"\xa1\x64kids\x81" * DEEP),
]


@pytest.mark.parametrize(("type", "body"), DEEPS, ids=lambda part: str(part)[:40])
def test_too_deep(type: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decoder(type)(body)
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decode(body)


NESTED_CLAIMS = """
import resource
from arpc_codecs import CborCodec

decode = CborCodec().decode
body = b"\\x9a\\x00\\x0f\\x00\\x00" * 300 + bytes(1_000_000)  # 300 lists, each in the one before, of 983,040 items
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


def test_without_cbor2_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)  # as the import system marks what is not there
    with pytest.raises(ImportError, match=r"needs the extra cbor of arpc"):
        CborCodec()
