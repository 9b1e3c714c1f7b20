"""Raw: bytes, and nothing else."""

from __future__ import annotations

from array import array
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
    body = codec.encode(value)
    assert body == b"abc"
    assert type(body) is bytes


def test_what_is_encoded_is_a_copy() -> None:
    value = bytearray(b"abc")
    body = codec.encode(value)
    value[:] = b"xyz"
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
    with pytest.raises(TypeError, match="decodes into bytes, bytearray or memoryview, not "):
        codec.decoder(type)
