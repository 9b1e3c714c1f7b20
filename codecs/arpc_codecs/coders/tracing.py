"""The span context of OpenTracing, as Go's arpc and basictracer have it: an appender with a protobuf value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .appender import Appender

__all__ = ["OpenTracing", "SpanContext"]

NAME = "arpc-opentracing"

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf."""


@dataclass(frozen=True, slots=True)
class SpanContext:
    """What a tracer tells the next service: Go's ``basictracer.SpanContext``. Ids are numbers of 64 bits."""

    trace_id: int
    span_id: int
    sampled: bool = False
    baggage: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for name in ("trace_id", "span_id"):
            if not 0 <= getattr(self, name) < 1 << 64:
                raise ValueError(f"{name} has 64 bits, and cannot be {getattr(self, name)!r}")


class OpenTracing(Appender):
    """Carries ``metadata={"arpc-opentracing": SpanContext(...)}`` on bit 0: the ``Tracer`` of Go's arpc reads it."""

    def __init__(self) -> None:
        super().__init__(NAME, 0, encode_span, decode_span)


def encode_span(value: Any) -> bytes:
    """The protobuf ``TracerState``: trace_id fixed64 = 1, span_id fixed64 = 2, sampled bool = 3, baggage map = 4."""
    if not isinstance(value, SpanContext):
        raise TypeError(f"it appends a SpanContext, not {type(value).__name__}")
    parts: list[bytes] = []
    for number, id in ((1, value.trace_id), (2, value.span_id)):
        if id:
            parts += _tag(number, FIXED64), id.to_bytes(8, "little")
    if value.sampled:
        parts += _tag(3, VARINT), b"\x01"
    for key, text in value.baggage.items():
        entry = _text(1, key) + _text(2, text)
        parts += _tag(4, BYTES), _varint(len(entry)), entry
    return b"".join(parts)


def decode_span(data: bytes) -> SpanContext:
    """ValueError for what is no ``TracerState``; fields that it does not know are skipped."""
    ids = {1: 0, 2: 0}
    sampled = False
    baggage: dict[str, str] = {}
    for number, kind, value in _fields(data):
        if number in ids and kind == FIXED64:
            ids[number] = int.from_bytes(value, "little")
        elif number == 3 and kind == VARINT:
            sampled = any(byte & 0x7F for byte in value)
        elif number == 4 and kind == BYTES:
            entry = {1: b"", 2: b""}
            entry.update({key: text for key, of, text in _fields(value) if of == BYTES})
            baggage[entry[1].decode()] = entry[2].decode()
        elif number <= 4:
            raise ValueError(f"field {number} of a span context has the wrong type, {kind}")
    return SpanContext(ids[1], ids[2], sampled, baggage)


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The fields of a protobuf message: number, wire type, and the bytes of the value."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == VARINT:
            _, at = _read_varint(data, at)
        elif kind == BYTES:
            size, start = _read_varint(data, at)
            at = start + size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a span context has no wire type {kind}")
        if not number or at > len(data):
            raise ValueError("a span context is cut off, or has a field 0")
        yield number, kind, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a span context holds a number that does not end")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _tag(number: int, kind: int) -> bytes:
    return bytes((number << 3 | kind,))


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return _tag(number, BYTES) + _varint(len(data)) + data
