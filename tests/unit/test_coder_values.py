"""Appenders, MessagePack values and OpenTracing: values travel with a frame, and come off it again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpc.coders import Appender, Gzip, MsgpackValues, OpenTracing, SpanContext, check_coders
from arpc.errors import LimitExceeded, RemoteProtocolError
from arpc.frame import CANCEL, CODED, NOTIFY, encode
from arpc.options import Options
from arpc_codecs.coders.msgpack import MAX_CONTAINERS
from arpc_codecs.coders.tracing import decode_span, encode_span

LIMIT = 1 << 20
FRAME = encode(NOTIFY, 0, 5, b"/n", b"body")


def on_bit(tail: bytes, *, bit: int = 3) -> bytes:
    """A frame with this behind its method, and that bit."""
    return encode(NOTIFY, 0, 5, b"/n", tail, 1 << bit)


# --- appenders


@given(st.text(min_size=1, max_size=30), st.integers(0, 7), st.binary(max_size=400), st.binary(max_size=100))
def test_a_value_comes_back(name: str, bit: int, value: bytes, body: bytes) -> None:
    coder = Appender(name, bit)
    plain = encode(NOTIFY, 2, 7, b"/n", body)
    coded = coder.encode(plain, {name: value, "other": 1})
    assert coded[4] == 1 << bit
    assert coded[16:] == b"/n" + body + name.encode() + value + (len(name.encode()) + len(value) + 2).to_bytes(2, "big")
    values: dict[str, Any] = {}
    assert coder.decode(coded, values, LIMIT) == plain
    assert values == {name: value}


def test_a_frame_without_the_value_is_left_alone() -> None:
    coder = Appender("app", 3)
    assert coder.encode(FRAME, {"other": b"x"}) is FRAME
    assert coder.decode(FRAME, {}, LIMIT) is FRAME
    assert coder.carries == frozenset({"app"})


def test_values_are_translated() -> None:
    coder = Appender("n", 3, lambda value: b"%d" % value, int)
    values: dict[str, Any] = {}
    assert coder.decode(coder.encode(FRAME, {"n": 42}), values, LIMIT) == FRAME
    assert values == {"n": 42}
    with pytest.raises(ValueError, match="invalid literal"):
        coder.decode(on_bit(b"nx\x00\x04"), {}, LIMIT)


def test_the_largest_value() -> None:
    coder = Appender("app", 3)
    values: dict[str, Any] = {}
    assert coder.decode(coder.encode(FRAME, {"app": bytes(65_530)}), values, LIMIT) == FRAME
    assert values == {"app": bytes(65_530)}
    with pytest.raises(LimitExceeded, match="has 65531 bytes: at most 65530 can be appended"):
        coder.encode(FRAME, {"app": bytes(65_531)})


def test_a_value_that_is_no_bytes() -> None:
    with pytest.raises(TypeError, match="appends bytes, not str: give it encode= and decode="):
        Appender("app", 3).encode(FRAME, {"app": "text"})


BROKEN = {
    "empty": b"",
    "no length": b"app",
    "length 0": b"app\x00\x00",
    "shorter than its name": b"app\x00\x04",
    "into the method": b"app\x00\x06",
    "into the header": b"app\x00\x17",
    "longer than the frame": b"app\xff\xff",
    "another name": b"apq\x00\x05",
    "another case": b"APP\x00\x05",
}


@pytest.mark.parametrize("tail", BROKEN.values(), ids=BROKEN)
def test_a_broken_trailer(tail: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="bit 3 announces a trailer named 'app': there is none"):
        Appender("app", 3).decode(on_bit(tail), {}, LIMIT)


def test_a_trailer_behind_a_compressed_frame() -> None:
    """What stands where the method's length was means nothing there."""
    coder = Appender("app", 3)
    hidden = (20).to_bytes(4, "little") + bytes((0x80, CODED)) + bytes((255,)) * 30
    values: dict[str, Any] = {}
    assert coder.decode(coder.encode(hidden, {"app": b"x"}), values, LIMIT) == hidden
    assert values == {"app": b"x"}


@pytest.mark.parametrize("bit", [-1, 8, 1.5, True])
def test_a_bit_that_does_not_exist(bit: Any) -> None:
    with pytest.raises(ValueError, match="bit is a whole number from 0 to 7"):
        Appender("app", bit)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_frame(tail: bytes) -> None:
    try:
        Appender("app", 3).decode(on_bit(tail), {}, LIMIT)
    except RemoteProtocolError:
        pass


# --- MessagePack values

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300), st.dictionaries(st.text(max_size=10), plain_values, max_size=4))
def test_body_and_values_come_back(body: bytes, values: dict[str, Any]) -> None:
    coder = MsgpackValues()
    plain = encode(NOTIFY, 2, 7, b"/n", body, 1)
    coded = coder.encode(plain, values)
    assert coded[4:18] == plain[4:18]
    assert msgspec.msgpack.decode(coded[18:]) == {"Body": body, "Values": values or None}
    taken: dict[str, Any] = {}
    assert coder.decode(coded, taken, LIMIT) == plain
    assert taken == values


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 100_000])
def test_what_it_adds_at_most(size: int) -> None:
    plain = encode(NOTIFY, 0, 5, b"/n", bytes(size))
    assert len(MsgpackValues().encode(plain, {})) <= len(plain) + MsgpackValues.overhead


def test_a_frame_without_a_method() -> None:
    plain = encode(CANCEL, 0, 5)
    assert MsgpackValues().decode(MsgpackValues().encode(plain, {}), {}, LIMIT) == plain


def read(data: Any) -> tuple[bytes, dict[str, Any]]:
    """Body and values of a frame with this data."""
    values: dict[str, Any] = {}
    encoded = data if isinstance(data, bytes) else msgspec.msgpack.encode(data)
    return MsgpackValues().decode(encode(NOTIFY, 0, 5, b"/n", encoded), values, LIMIT)[18:], values


def test_what_go_may_say() -> None:
    assert read({"Body": None, "Values": None}) == (b"", {})
    assert read({}) == (b"", {})
    assert read({"Body": b"x", "More": 1, "Values": {"a": 1, 5: 2, b"raw": 3, None: 4}}) == (b"x", {"a": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        [1],
        {"Body": "text"},
        {"Body": b"", "Values": [1]},
        b"\x80\x80",
        b"\x81\xa4Body\xc4\x05abc",
        b"\x81\xa6Values\x81\x80\x01",
        b"\x81\xa6Values" + b"\x81\xa1a" * 20_000 + b"\x01",
        b"\x81\xa6Values\x81\xa1\xff\x01",
    ],
    ids=lambda data: repr(data)[:30],
)
def test_what_is_no_map_of_body_and_values(data: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="no map of Body and Values, as the coder 'msgpack-values' makes"):
        read(data)


def containers(count: int) -> dict[str, Any]:
    """Values of so many maps and lists."""
    nested = [[], {}, {"a": [1]}]
    return {"a": [*nested, *([] for _ in range(count - 6))]}


def test_how_many_values_there_may_be() -> None:
    for values in ({"a": bytes(65_523)}, {"a": [1] * 60_000}, containers(MAX_CONTAINERS)):
        taken: dict[str, Any] = {}
        assert MsgpackValues().decode(MsgpackValues().encode(FRAME, values), taken, LIMIT) == FRAME
        assert taken == values


TOO_MUCH = {
    "metadata of 65530 bytes: a message carries at most 65529": {"a": bytes(65_524)},
    "metadata of more than 1024 maps and lists": containers(MAX_CONTAINERS + 1),
}


@pytest.mark.parametrize(("says", "values"), TOO_MUCH.items(), ids=["bytes", "containers"])
def test_too_many_values(says: str, values: dict[str, Any]) -> None:
    with pytest.raises(LimitExceeded, match=says):
        MsgpackValues().encode(FRAME, values)
    with pytest.raises(RemoteProtocolError, match=f"the coder 'msgpack-values' cannot decode a message: {says}"):
        read({"Body": b"", "Values": values})


def test_lists_as_keys_count() -> None:
    table = b"".join(b"\x91\xcd" + n.to_bytes(2, "big") + b"\x01" for n in range(MAX_CONTAINERS))
    with pytest.raises(RemoteProtocolError, match="more than 1024 maps and lists"):
        read(b"\x81\xa6Values\xde" + MAX_CONTAINERS.to_bytes(2, "big") + table)


def test_it_has_to_see_the_method() -> None:
    hidden = bytes(4) + bytes((0x80, CODED)) + bytes(10)
    with pytest.raises(ValueError, match="register it before coders that compress"):
        MsgpackValues().encode(hidden, {})


@given(st.binary(max_size=100))
def test_any_bytes_in_place_of_a_map(data: bytes) -> None:
    try:
        read(b"\x81\xa6Values\x81\xa1a" + data)
    except RemoteProtocolError:
        pass


# --- OpenTracing

ids = st.integers(0, (1 << 64) - 1)
spans = st.builds(SpanContext, ids, ids, st.booleans(), st.dictionaries(st.text(), st.text(), max_size=5))


@given(spans)
def test_a_span_context_comes_back(span: SpanContext) -> None:
    assert decode_span(encode_span(span)) == span


def test_the_bytes_of_a_span_context() -> None:
    """Fields 1 and 2 fixed64, 3 a bool, 4 entries of a map."""
    span = SpanContext(1, 2, sampled=True, baggage={"k": "v"})
    assert (
        encode_span(span).hex(" ")
        == "09 01 00 00 00 00 00 00 00 11 02 00 00 00 00 00 00 00 18 01 22 06 0a 01 6b 12 01 76"
    )
    assert encode_span(SpanContext(0, 0)) == b""
    assert decode_span(b"") == SpanContext(0, 0)


def test_a_long_baggage() -> None:
    span = SpanContext(1, 2, baggage={"k": "x" * 20_000})
    assert decode_span(encode_span(span)) == span


def test_unknown_fields_are_skipped_and_the_last_one_counts() -> None:
    unknown = b"\x28\xff\x01" + b"\x32\x01x" + b"\x3d\0\0\0\0" + b"\x41" + bytes(8)
    twice = b"\x09" + (7).to_bytes(8, "little") + b"\x09" + (8).to_bytes(8, "little") + b"\x18\x01\x18\x80\x00"
    entry = b"\x22\x09" + b"\x0a\x01k" + b"\x12\x01v" + b"\x1a\x01z"
    assert decode_span(unknown + twice + entry) == SpanContext(8, 0, sampled=False, baggage={"k": "v"})


@pytest.mark.parametrize(
    "data",
    [
        b"\x09",
        b"\x09" + bytes(7),
        b"\x08\x01",
        b"\x1a\x00",
        b"\x20\x01",
        b"\x22\x05\x0a",
        b"\x22\x03\x0a\x01\xff",
        b"\x18" + b"\xff" * 11,
        b"\x18\xff",
        b"\x0b",
        b"\x00\x00",
        b"\x32",
    ],
    ids=bytes.hex,
)
def test_what_is_no_span_context(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_span(data)


@given(st.binary(max_size=60))
def test_any_bytes_in_place_of_a_span_context(data: bytes) -> None:
    try:
        span = decode_span(data)
    except ValueError:
        return
    assert decode_span(encode_span(span)) == span


def test_the_coder() -> None:
    coder = OpenTracing()
    assert (coder.name, coder.bit) == ("arpc-opentracing", 0)
    span = SpanContext(3, 4, baggage={"a": "b"})
    values: dict[str, Any] = {}
    assert coder.decode(coder.encode(FRAME, {"arpc-opentracing": span}), values, LIMIT) == FRAME
    assert values == {"arpc-opentracing": span}
    with pytest.raises(TypeError, match="appends a SpanContext, not int"):
        coder.encode(FRAME, {"arpc-opentracing": 1})


@pytest.mark.parametrize("ids", [(-1, 0), (0, 1 << 64)])
def test_ids_have_64_bits(ids: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has 64 bits"):
        SpanContext(*ids)


def test_coders_that_hide_what_another_has_to_see() -> None:
    with pytest.raises(ValueError, match="'msgpack-values' has to see the method, which 'gzip' may hide"):
        check_coders([Gzip(), MsgpackValues()], Options())
    check_coders([MsgpackValues(), Gzip()], Options())
