"""Whatever bytes come, a decoder gives a value or a ValueError. And what a codec encodes, it decodes.

ValueError includes all that the codecs document: msgspec.DecodeError and msgspec.ValidationError (what is wrong, and in
which field), UnicodeDecodeError, and plain ValueErrors (nested too deeply; not the protobuf message asked for; what
cbor2 and pydantic find).
Nothing else: no RecursionError, MemoryError, TypeError, KeyError... , and no crash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import cbor2
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, MsgpackPackageCodec, ProtobufCodec, RawCodec
from tests.unit.protobuf_messages import Order, Person

jsons, msgpacks, packages, cbors = JsonCodec(), MsgpackCodec(), MsgpackPackageCodec(), CborCodec()
protobufs, raws = ProtobufCodec(), RawCodec()

quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


class Kind(Enum):
    A = "a"


class Extra(TypedDict, total=False):
    x: int
    y: list[str]


class Pair(NamedTuple):
    left: int
    right: str = ""


class Record(msgspec.Struct):
    """A field of each kind of type; a body may set any of them."""

    a: int = 0
    b: float = 0.0
    c: str = ""
    d: bytes = b""
    e: bool | None = None
    f: datetime | None = None
    g: date | None = None
    h: timedelta | None = None
    i: UUID | None = None
    j: Decimal | None = None
    k: Kind = Kind.A
    ll: Extra | None = None
    m: Pair | None = None
    n: dict[str, list[Record]] = {}
    o: set[int] = set()
    p: Literal["x", 1] = 1
    q: Kind | int = 0
    r: tuple[int, ...] | str = ()
    s: Any = None


class Model(BaseModel):
    """The same for pydantic."""

    a: int = 0
    b: float = 0.0
    c: str = ""
    d: bytes = b""
    f: datetime | None = None
    i: UUID | None = None
    j: Decimal | None = None
    k: Kind = Kind.A
    n: dict[str, list[Model]] = {}
    o: set[int] = set()
    s: Any = None


class Holder(msgspec.Struct):
    n: Model | None = None


TYPES: list[Any] = [
    Any,
    Record,
    list[Record],
    dict[int, Record],
    Pair,
    Extra,
    datetime,
    Decimal,
    UUID,
    set[str],
    str | None,
    Model,
    list[Model],
    Holder,
]

Decode = Callable[[bytes], Any]
JSON: list[Decode] = [jsons.decode, *map(jsons.decoder, [msgspec.Raw, *TYPES])]
MSGPACK: list[Decode] = [
    *(msgpacks.decode, *map(msgpacks.decoder, [msgspec.Raw, *TYPES])),
    *(packages.decode, *map(packages.decoder, TYPES)),
]
CBOR: list[Decode] = [cbors.decode, *map(cbors.decoder, TYPES)]
PROTOBUF: list[Decode] = [protobufs.decoder(Person), protobufs.decoder(Order)]
RAW: list[Decode] = [raws.decode, raws.decoder(bytearray), raws.decoder(memoryview)]


def value_or_value_error(decoders: list[Decode], body: bytes) -> None:
    for decode in decoders:
        try:
            decode(body)
        except ValueError:
            pass


@quiet
@given(st.binary(max_size=200))
def test_random_bytes(body: bytes) -> None:
    value_or_value_error(JSON + MSGPACK + CBOR + PROTOBUF, body)
    for decode in RAW:
        assert decode(body) == body


@quiet
@given(st.binary(min_size=1, max_size=6), st.integers(1, 40_000), st.binary(max_size=6))
@example(b"[", 40_000, b"")
@example(b'{"n":', 40_000, b"")
@example(b'{"n":{"":[', 40_000, b"")
@example(b"\x91", 40_000, b"")
@example(b"\x81\xa1n\x81\xa0\x91", 40_000, b"")
@example(b"\xdd\x7f\xff\xff\xff", 40_000, b"")
@example(b"\x23", 40_000, b"")
@example(b"\x81", 40_000, b"\x01")
@example(b"\x9f", 40_000, b"")
@example(b"\xa1\x61n\xa1\x60\x81", 40_000, b"")
@example(b"\x9a\x7f\xff\xff\xff", 40_000, b"")
@example(b"\xd8\x1c\x82", 40_000, b"\xd8\x1d\x00")
@example(b"\xc4\x82\x1a\x7f\xff\xff\xff", 40_000, b"")
@example(b"\xd9\xd9\xf7", 40_000, b"\x01")
def test_repeated_bytes(start: bytes, times: int, end: bytes) -> None:
    """Repetition is what nests deeply, and what claims much."""
    value_or_value_error(JSON + MSGPACK + CBOR + PROTOBUF, start * times + end)


# Bodies that are nearly right get further than random ones.

keys = st.sampled_from([*Record.__struct_fields__, "x", "y", "left", ""])
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["a", "2024-02-30", "2024-02-29T24:00:00Z", "P1Y", "PT1e9S", "9" * 40, "NaN", "1e999999999", "AA=="]
    ),
)
shapes = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
)
edits = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 255)), max_size=4)


def edited(body: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """``body`` with bytes replaced, inserted or cut off."""
    data = bytearray(body)
    for kind, at, byte in changes:
        at %= len(data) + 1
        if kind == 2:
            del data[at:]
        else:
            data[at : at + 1 - kind] = bytes([byte])
    return bytes(data)


@quiet
@given(shapes, edits)
def test_nearly_json(shape: Any, changes: list[tuple[int, int, int]]) -> None:
    value_or_value_error(JSON, edited(json.dumps(shape).encode(), changes))


@quiet
@given(shapes, edits)
def test_nearly_msgpack(shape: Any, changes: list[tuple[int, int, int]]) -> None:
    value_or_value_error(MSGPACK, edited(msgpacks.encode(shape), changes))


# What only CBOR has: every tag of cbor2's, simple values, keys of all kinds.
tags = st.sampled_from([0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43000, 52, 54, 100, 256, 258, 260, 1004, 55799])
hashable = st.one_of(odd, st.binary(max_size=20), st.tuples(odd, odd))
tagged = st.recursive(
    st.one_of(hashable, st.floats(), st.builds(cbor2.CBORSimpleValue, st.integers(0, 19)), st.just(cbor2.undefined)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.builds(cbor2.CBORTag, tags, inner),
    ),
    max_leaves=12,
)


@quiet
@given(tagged, edits)
def test_nearly_cbor(shape: Any, changes: list[tuple[int, int, int]]) -> None:
    value_or_value_error(CBOR, edited(cbor2.dumps(shape), changes))


people = st.recursive(
    st.builds(
        Person, name=st.text(max_size=9), age=st.integers(-(2**31), 2**31 - 1), tags=st.lists(st.text(max_size=5))
    ),
    lambda friend: st.builds(Person, name=st.text(max_size=9), friend=friend),
    max_leaves=5,
)


@quiet
@given(people, edits)
def test_nearly_protobuf(person: Any, changes: list[tuple[int, int, int]]) -> None:
    value_or_value_error(PROTOBUF, edited(protobufs.encode(person), changes))


# Round trips.

floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.none(), st.booleans(), floats, st.text())


def plain(*more: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.one_of(scalars, *more), lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20
    )


def same(left: Any, right: Any) -> bool:
    """Equal, in type too: True is not 1, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@quiet
@given(plain(st.integers(), keys=st.text()))
def test_json_round_trip(value: Any) -> None:
    body = jsons.encode(value)
    assert same(jsons.decode(body), value)
    assert same(json.loads(body), value)  # another implementation reads the same
    assert same(jsons.decode(json.dumps(value).encode()), value)


times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
words = st.integers(-(2**63), 2**64 - 1)


@quiet
@given(plain(words, st.binary(), times, keys=st.one_of(st.text(), words, st.binary())))
def test_msgpack_round_trip(value: Any) -> None:
    assert same(msgpacks.decode(msgpacks.encode(value)), value)
    assert packages.encode(value) == msgpacks.encode(value)
    assert same(packages.decode(msgpacks.encode(value)), value)


@quiet
@given(
    plain(
        st.integers(), st.binary(), keys=st.one_of(st.text(), st.integers(), st.binary(), st.tuples(words, st.text()))
    )
)
def test_cbor_round_trip(value: Any) -> None:
    body = cbors.encode(value)
    assert same(cbors.decode(body), value)
    assert same(cbor2.loads(body), value)  # another reading of the same bytes
    assert same(cbors.decode(cbor2.dumps(value)), value)


Plain = JsonCodec | MsgpackCodec | MsgpackPackageCodec | CborCodec
every = pytest.mark.parametrize("codec", [jsons, msgpacks, packages, cbors], ids=lambda codec: codec.name)

records = st.builds(
    Record,
    a=words,
    b=floats,
    c=st.text(),
    d=st.binary(),
    e=st.none() | st.booleans(),
    f=st.none() | times,
    g=st.none() | st.dates(),
    h=st.none() | st.timedeltas(timedelta(days=-99_999), timedelta(days=99_999)),
    i=st.none() | st.uuids(),
    j=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    ll=st.none() | st.fixed_dictionaries({}, optional={"x": words, "y": st.lists(st.text(), max_size=3)}),
    m=st.none() | st.builds(Pair, words, st.text()),
    o=st.sets(words, max_size=4),
    p=st.sampled_from(["x", 1]),
    r=st.lists(words, max_size=4).map(tuple) | st.text(),
)


@quiet
@every
@given(record=records, place=st.integers(0, 2))
def test_typed_round_trip(codec: Plain, record: Record, place: int) -> None:
    inside: Any = [record, [record], {"key": record}][place]
    type: Any = [Record, list[Record], dict[str, Record]][place]
    back = codec.decoder(type)(codec.encode(inside))
    assert back == inside


leaves = st.builds(
    Model,
    a=st.integers(-(2**63), 2**63 - 1),
    b=floats,
    c=st.text(),
    d=st.text().map(str.encode),
    f=st.none() | times,
    i=st.none() | st.uuids(),
    j=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    o=st.sets(st.integers(-(2**53), 2**53), max_size=4),
)
models = st.recursive(
    leaves,
    lambda inner: st.builds(Model, n=st.dictionaries(st.text(), st.lists(inner, max_size=3), max_size=3)),
    max_leaves=5,
)


@quiet
@every
@given(model=models, place=st.integers(0, 2))
def test_models_round_trip(codec: Plain, model: Model, place: int) -> None:
    inside: Any = [model, [model], Holder(model)][place]
    type: Any = [Model, list[Model], Holder][place]
    assert codec.decoder(type)(codec.encode(inside)) == inside


@quiet
@given(people)
def test_protobuf_round_trip(person: Any) -> None:
    assert protobufs.decoder(Person)(protobufs.encode(person)) == person
