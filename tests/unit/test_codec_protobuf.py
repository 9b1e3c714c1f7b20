"""Protobuf: by message class only, proto2 and proto3."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from google.protobuf.message import Message

from arpc_codecs import ProtobufCodec
from tests.unit.protobuf_messages import Order, Person

codec = ProtobufCodec()


def test_round_trip() -> None:
    ann = Person(name="Ann", age=36, tags=["a", "b"], friend=Person(name="Bob"))
    body = codec.encode(ann)
    assert body == ann.SerializeToString()
    back = codec.decoder(Person)(body)
    assert back == ann
    assert type(back) is Person


def test_a_message_of_defaults_is_empty() -> None:
    assert codec.encode(Person()) == b""
    assert codec.decoder(Person)(b"") == Person()


def test_unknown_fields_are_kept() -> None:
    body = codec.encode(Order(id=7)) + codec.encode(Person(tags=["x"]))
    assert codec.encode(codec.decoder(Order)(body)) == body


@pytest.mark.parametrize("value", [{"name": "Ann"}, 3, ["a"], Person, object()], ids=lambda value: type(value).__name__)
def test_only_messages_are_encoded(value: Any) -> None:
    with pytest.raises(TypeError, match=r"encodes protobuf messages, not .*: pass a message, or bytes, or use another"):
        codec.encode(value)


@pytest.mark.parametrize("type", [dict, int, Any, list[Person], Person | None, Person(), "Person", Message], ids=repr)
def test_only_message_classes_are_decoded(type: Any) -> None:
    with pytest.raises(TypeError, match="decodes into protobuf message classes, not "):
        codec.decoder(type)


def test_there_is_no_plain_value() -> None:
    with pytest.raises(TypeError, match=r"no plain value: name a message class, as in returns=MyMessage"):
        codec.decode(b"\x0a\x03Ann")


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x0a",  # a field without its value
        b"\x0a\x05Ann",  # text cut off
        b"\x0a\xff\xff\xff\xff\x0f",  # text of 4 GiB
        b"\x00",  # field number 0
        b"\x0a\x01\xff",  # not UTF-8
        b"\x22" + b"\xff" * 10,
        b"\x0c",  # the end of a group that never began
        b"\x23" * 100_000,  # groups without end
    ],
    ids=lambda body: repr(body[:12]),
)
def test_broken(body: bytes) -> None:
    with pytest.raises(ValueError):
        codec.decoder(Person)(body)


def test_too_deep() -> None:
    body = b""
    for _ in range(2_000):
        body = b"\x22" + _varint(len(body)) + body
    with pytest.raises(ValueError):
        codec.decoder(Person)(body)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def test_required_fields() -> None:
    decode = codec.decoder(Order)
    assert decode(codec.encode(Order(id=1, parent=Order(id=2)))).parent.id == 2
    with pytest.raises(ValueError, match=r"message shop\.Order is missing required fields: id$"):
        decode(b"")
    with pytest.raises(ValueError, match=r"message shop\.Order is missing required fields: parent\.id$"):
        decode(b"\x08\x01\x12\x00")
    with pytest.raises(ValueError, match=r"missing required fields: id$"):
        codec.encode(Order())
    with pytest.raises(ValueError, match=r"missing required fields: parent\.id$"):
        codec.encode(Order(id=1, parent=Order()))


def test_without_protobuf_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)  # as the import system marks what is not there
    with pytest.raises(ImportError, match=r"needs the extra protobuf of arpc"):
        ProtobufCodec()
