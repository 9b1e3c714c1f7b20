"""Raw: bytes and buffers, from where they are, and nothing else. Arrays: test_codec_arrays.py."""

from __future__ import annotations

from array import array
from ctypes import c_uint16
from typing import Any

import pytest

from arpc_codecs import RawCodec

codec = RawCodec()


@pytest.mark.parametrize(
    "value",
    [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a.b.c")[::2], array("B", b"abc")],
    ids=lambda value: type(value).__name__,
)
def test_encode(value: Any) -> None:
    assert codec.encode(value) == b"abc"


@pytest.mark.parametrize("value", [bytearray(b"abcd"), array("H", b"abcd"), (c_uint16 * 2).from_buffer(bytearray(4))])
def test_what_is_encoded_is_a_flat_view(value: Any) -> None:
    body = codec.encode(value)
    assert isinstance(body, memoryview)
    assert (len(body), body.format, body.ndim) == (4, "B", 1)
    memoryview(value).cast("B")[0] = 0x7F
    assert body[0] == 0x7F


def test_what_has_no_order_of_its_own_is_copied() -> None:
    value = bytearray(b"a.b.c")
    body = codec.encode(memoryview(value)[::2])
    value[0] = 0
    assert body == b"abc"


@pytest.mark.parametrize(
    "value", [{"a": 1}, [1], 3, True, 2.5, "text", object()], ids=lambda value: type(value).__name__
)
def test_all_else_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"takes bytes-like objects, not .*: encode it yourself, or use another codec"):
        codec.encode(value)


def test_decode() -> None:
    assert codec.decode(b"") == b""
    assert codec.decode(b"\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize(
    ("type", "made"), [(Any, bytes), (bytes, bytes), (bytearray, bytearray), (memoryview, memoryview)]
)
def test_typed(type: Any, made: Any) -> None:
    value = codec.decoder(type)(b"abc")
    assert value == b"abc"
    assert isinstance(value, made)


@pytest.mark.parametrize("type", [dict, int, str, list[int], None], ids=repr)
def test_other_types_are_refused(type: Any) -> None:
    with pytest.raises(
        TypeError, match=r"decodes into bytes, bytearray, memoryview or numpy.typing.NDArray\[...\], not"
    ):
        codec.decoder(type)
