"""JSON: what the text looks like, and every kind of broken text. Types: test_codec_typed.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from arpc_codecs import JsonCodec

codec = JsonCodec()

DEEP = 100_000


@dataclass
class Row:
    at: datetime


class Box(msgspec.Struct):
    value: Any


class Named(msgspec.Struct, rename="camel"):
    first_name: str


class Colour(Enum):
    RED = "red"


TEXTS: list[tuple[Any, str]] = [
    ({"a": [1, 2.5, None, True, "é\n"]}, '{"a":[1,2.5,null,true,"é\\n"]}'),
    ([], "[]"),
    ({}, "{}"),
    (3, "3"),
    (False, "false"),
    (-0.0, "-0.0"),
    ((1, 2), "[1,2]"),
    ({"b": b"\x00\xff"}, '{"b":"AP8="}'),
    (bytearray(b"abc"), '"YWJj"'),
    ({"id": UUID(int=1)}, '{"id":"00000000-0000-0000-0000-000000000001"}'),
    ([Decimal("1.10")], '["1.10"]'),
    ([Colour.RED], '["red"]'),
    ([{7}], "[[7]]"),
    ([timedelta(seconds=90)], '["PT90S"]'),
    (Named("Ann"), '{"firstName":"Ann"}'),
    ([Named("Ann")], '[{"firstName":"Ann"}]'),
    ({"n": Named("Ann")}, '{"n":{"firstName":"Ann"}}'),
    # What orjson has no way to write, msgspec writes.
    ({1: "a", 2.5: "b"}, '{"1":"a","2.5":"b"}'),
    ({"n": 2**64}, '{"n":18446744073709551616}'),
    ([1, -(2**80)], "[1,-1208925819614629174706176]"),
    ({"box": Box(2**64)}, '{"box":{"value":18446744073709551616}}'),
    ({Colour.RED: 1}, '{"red":1}'),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=lambda part: str(part)[:40])
def test_encode(value: Any, text: str) -> None:
    assert codec.encode(value).decode() == text


@pytest.mark.parametrize("place", [lambda at: [at], lambda at: {"at": at}, Row, Box, lambda at: [0, Row(at)]])
def test_a_time_is_written_the_same_everywhere(place: Any) -> None:
    assert b'"2024-02-29T12:00:00Z"' in codec.encode(place(datetime(2024, 2, 29, 12, tzinfo=UTC)))
    east = timezone(timedelta(hours=2))
    assert b'"2024-02-29T12:00:00+02:00"' in codec.encode(place(datetime(2024, 2, 29, 12, tzinfo=east)))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [lambda number: [number], lambda number: {"value": number}, Box])
def test_numbers_that_json_has_not_become_null(place: Any, number: float) -> None:
    body = codec.encode(place(number))
    assert b"null" in body

    class Measured(msgspec.Struct):
        value: float

    if body.startswith(b"{"):  # a receiver that wants a number is told
        with pytest.raises(ValueError, match=r"Expected `float`, got `null` - at `\$\.value`"):
            codec.decoder(Measured)(body)


@pytest.mark.parametrize("key", [(1, 2), None])
def test_a_key_that_no_text_can_be(key: Any) -> None:
    with pytest.raises(TypeError, match="keys are supported"):
        codec.encode({key: 1})


def test_deep_values_can_be_encoded_to_a_point() -> None:
    value: list[Any] = []
    for _ in range(300):  # more than orjson can
        value = [value]
    assert codec.decode(codec.encode(value)) == value


PLAIN: list[tuple[bytes, Any]] = [
    (b' {"a" : [1, -2, 2.5, 1e3, true, false, null]} \r\n', {"a": [1, -2, 2.5, 1000.0, True, False, None]}),
    (b'"\\ud83d\\ude00\\u0000\\/"', "😀\0/"),
    (b"18446744073709551615", 2**64 - 1),
    (b"18446744073709551616", 2**64),
    (b"-170141183460469231731687303715884105728", -(2**127)),
    (b"9" * 400, int("9" * 400)),
    (b'{"a":1,"b":0,"a":2}', {"a": 2, "b": 0}),
    (b"-0", 0),
]


@pytest.mark.parametrize(("body", "value"), PLAIN, ids=lambda part: str(part)[:40])
def test_decode(body: bytes, value: Any) -> None:
    for decode in (codec.decode, codec.decoder(Any), codec.decoder(object)):
        back = decode(body)
        assert back == value
        assert type(back) is type(value)


BROKEN = [
    b"",
    b"  ",
    b"{",
    b'{"a"',
    b'{"a":}',
    b'{"a":1',
    b"{a:1}",
    b"{1:1}",
    b"[1,]",
    b'{"a":1,}',
    b"[1 2]",
    b'"open',
    b'"\n"',
    b'"\\x"',
    b'"\\ud800"',
    b"'a'",
    b"nul",
    b"NULL",
    b"01",
    b"+1",
    b"1.",
    b".5",
    b"1e",
    b"0x10",
    b"// comment\n1",
    b"\xef\xbb\xbf1",
    b"\x00",
    # trailing garbage
    b"1 2",
    b"{}x",
    b"[]]",
    b"null\x00",
    # numbers that JSON has not, or that nothing here can hold
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"1e400",
    b"-1e400",
    b"9" * 5000,
    # not UTF-8
    b'"\xff"',
    b'{"\xc3": 1}',
    b'"\xed\xa0\x80"',
    b"\xff\xfe[\x00]\x00",
]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:20]))
def test_broken(body: bytes) -> None:
    with pytest.raises(ValueError):
        codec.decode(body)
    for type in (Box, list[Any], str, int | float | str | dict[str, Any] | None):
        with pytest.raises(ValueError):
            codec.decoder(type)(body)


class Tree(msgspec.Struct):
    kids: list[Tree] = []


DEEPS: list[tuple[Any, bytes]] = [
    (Any, b"[" * DEEP),
    (Any, b"[" * DEEP + b"]" * DEEP),
    (Any, b'{"a":' * DEEP),
    (list[Any], b"[" * DEEP),
    (dict[str, Any], b'{"a":' * DEEP),
    (Box, b'{"value":' + b"[" * DEEP),
    (Box, b'{"unknown":' + b"[" * DEEP),
    (Tree, b'{"kids":[' * DEEP),
]


@pytest.mark.parametrize(("type", "body"), DEEPS, ids=lambda part: str(part)[:40])
def test_too_deep(type: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decoder(type)(body)
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.decode(body)
