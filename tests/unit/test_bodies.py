"""What travels as it is, and what goes through the codec."""

from __future__ import annotations

import enum
from array import array
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest

import arpc
from arpc.bodies import body_decoder, encode_body
from arpc.codecs import JsonCodec, ProtobufCodec, RawCodec
from arpc.frame import LARGE
from arpc.handler import Handler
from arpc.threads import Threads

JSON = JsonCodec()


class Colour(enum.StrEnum):
    RED = "red"


class Size(str, enum.Enum):  # noqa: UP042
    BIG = "big"


class Level(enum.Enum):
    LOW = "low"


Name = NewType("Name", str)
Blob = NewType("Blob", bytes)
Short = Annotated[str, msgspec.Meta(max_length=3)]


@pytest.mark.parametrize(
    ("type", "value", "body"),
    [
        (str, "Zoë", "Zoë".encode()),
        (str, "", b""),
        (bytes, b"\0\xff", b"\0\xff"),
        (Colour, Colour.RED, b"red"),
        (Size, Size.BIG, b"big"),
        (Level, Level.LOW, b'"low"'),
        (Literal["a", "b"], "b", b"b"),
        (Literal[1, 2], 2, b"2"),
        (Name, "Ann", b"Ann"),
        (Blob, b"x", b"x"),
        (Short, "abc", b"abc"),
        (str | None, None, b""),
        (str | None, "x", b"x"),
        (bytes | None, None, b""),
        (Colour | None, Colour.RED, b"red"),
        (Name | None, None, b""),
        (int | None, None, b""),
        (int | float, 1.5, b"1.5"),
        (None, None, b""),
    ],
)
def test_there_and_back(type: Any, value: Any, body: bytes) -> None:
    assert encode_body(JSON, value) == body
    assert body_decoder(JSON, type)(body) == value


@pytest.mark.parametrize(
    ("type", "body"), [(Colour, b'"red"'), (Literal["red"], b'"red"'), (Literal["red"] | None, b"red")]
)
def test_text_of_a_kind_is_read_either_way(type: Any, body: bytes) -> None:
    assert body_decoder(JSON, type)(body) == "red"


@pytest.mark.parametrize(
    ("type", "body", "why"),
    [
        (Colour, b"blue", "expected Colour: Invalid enum value 'blue'"),
        (Literal["a"], b"c", "Invalid enum value 'c'"),
        (Short, b"long", "Expected `str` of length <= 3"),
        (str, b"\xff", "expected text in UTF-8"),
        (Colour, b"\xff", "expected text in UTF-8"),
        (None, b"x", "expected an empty body, got 1 bytes"),
        (int, b"", "expected int, got an empty body"),
        (int, b'"1"', "expected int as json: Expected `int`, got `str`"),
    ],
)
def test_what_does_not_fit(type: Any, body: bytes, why: str) -> None:
    with pytest.raises(arpc.DecodeError) as caught:
        body_decoder(JSON, type)(body)
    assert why in str(caught.value)


@pytest.mark.parametrize("type", [str | int, bytes | dict[str, int], str | bytes, Literal["a", 1], Colour | int | None])
def test_what_cannot_be_told_apart_is_refused_before_anything_travels(type: Any) -> None:
    with pytest.raises(TypeError, match="cannot be told apart from its body"):
        body_decoder(JSON, type)

    def handler(body: Any) -> None: ...

    handler.__annotations__ = {"body": type, "return": None}
    with pytest.raises(arpc.RegistrationError, match="cannot be told apart"):
        Handler("/x", handler).compile(JSON, Threads(1).run)


@pytest.mark.parametrize(
    ("value", "body"),
    [(bytearray(b"x"), b"x"), (memoryview(b"xy"), b"xy"), (ValueError("why"), b"why"), ({"a": 1}, b'{"a":1}')],
)
def test_other_values(value: Any, body: bytes) -> None:
    assert encode_body(JSON, value) == body


@pytest.mark.parametrize("size", [0, 1, LARGE, LARGE + 1])
@pytest.mark.parametrize("codec", [JSON, RawCodec()], ids=lambda codec: codec.name)
def test_large_memoryviews_stay_where_they_are(codec: arpc.Codec, size: int) -> None:
    value = array("B", bytes(size))
    body = encode_body(codec, memoryview(value) if codec is JSON else value)
    assert len(body) == size
    assert isinstance(body, memoryview if size > LARGE else bytes)
    spread = memoryview(bytes(2 * size))[::2]
    assert encode_body(codec, spread) == bytes(size)


def test_a_large_memoryview_is_flat() -> None:
    body: Any = encode_body(JSON, memoryview(bytes(8 * LARGE)).cast("d", (8, LARGE // 8)))
    assert (body.ndim, body.format, len(body)) == (1, "B", 8 * LARGE)


def test_what_a_bytearray_holds_is_copied() -> None:
    value = bytearray(2 * LARGE)
    body = encode_body(JSON, value)
    value.append(1)
    assert body == bytes(2 * LARGE)


def test_text_that_is_no_unicode_is_not_sent() -> None:
    with pytest.raises(arpc.EncodeError, match="cannot be written as UTF-8"):
        encode_body(JSON, "\ud800")


class Odd(arpc.Codec):
    """Makes what is no body."""

    name = "odd"

    def encode(self, value: Any) -> Any:
        if value == "deep":
            raise RecursionError
        return ["no bytes"]

    def decode(self, data: bytes) -> Any:
        raise RecursionError


def test_a_codec_that_makes_no_bytes() -> None:
    with pytest.raises(arpc.EncodeError, match="odd encoded a int as list; it makes bytes or a memoryview"):
        encode_body(Odd(), 1)


def test_other_types_are_left_to_the_codec() -> None:
    broken = body_decoder(JSON, dict)
    with pytest.raises(arpc.DecodeError, match="expected dict as json: JSON is malformed"):
        broken(b"}")
    red = body_decoder(ProtobufCodec(), Literal["red"])  # which that codec cannot make: as text it can be read
    assert red(b"red") == "red"
    with pytest.raises(arpc.DecodeError, match="expected"):
        red(b"blue")


def test_recursion_of_a_codec_is_a_clear_error() -> None:
    with pytest.raises(arpc.DecodeError, match="nested too deep"):
        body_decoder(Odd(), int | list[int])(b"[[[")
    with pytest.raises(arpc.DecodeError, match="nested too deep"):
        body_decoder(Odd(), Any)(b"[[[")

    class Deep(Odd):
        def encode(self, value: Any) -> Any:
            raise RecursionError

    with pytest.raises(arpc.EncodeError, match="nested too deep"):
        encode_body(Deep(), [1])


def test_a_codec_without_methods_says_so() -> None:
    with pytest.raises(arpc.EncodeError, match="has no encode"):
        encode_body(arpc.Codec(), 1)
    with pytest.raises(arpc.DecodeError, match="has no decode"):
        body_decoder(arpc.Codec(), Any)(b"1")


def test_unknown_codec_names() -> None:
    wrong: Any = "yaml"
    with pytest.raises(ValueError, match="no codec 'yaml': use one of 'json'"):
        arpc.codecs.get_codec(wrong)
    assert [arpc.codecs.get_codec(given).name for given in (None, "raw", JSON)] == ["json", "raw", "json"]
    with pytest.raises(AttributeError, match="no attribute 'YamlCodec'"):
        arpc.codecs.YamlCodec  # noqa: B018


def test_annotated_bytes_are_checked_and_other_buffers_are_made() -> None:
    short = body_decoder(JSON, Annotated[bytes, msgspec.Meta(max_length=3)])
    assert short(b"abc") == b"abc"
    with pytest.raises(arpc.DecodeError, match="length <= 3"):
        short(b"abcd")
    assert body_decoder(JSON, bytearray)(b"x") == bytearray(b"x")
    assert bytes(body_decoder(JSON, memoryview)(b"x")) == b"x"


def test_a_codec_needs_both_directions_and_has_a_name() -> None:
    class Half(arpc.Codec):
        def encode(self, value: Any) -> bytes:
            return b""

    assert Half.name == "Half"
    with pytest.raises(TypeError, match=r"the codec Half has no decode\(\)"):
        arpc.codecs.get_codec(Half())
