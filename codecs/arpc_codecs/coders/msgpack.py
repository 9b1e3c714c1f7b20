"""Body and values as one MessagePack map, as Go's arpc has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from arpc.coders import Coder, make_frame
from arpc.errors import LimitExceeded, RemoteProtocolError
from arpc.frame import CODED, HEADER_SIZE

__all__ = ["MsgpackValues"]

MAX_VALUES = 65_529
"""Bytes of encoded values, as META has it."""

MAX_CONTAINERS = 1024
"""Maps and lists in values: one takes a byte on the wire, and up to 90 here."""

_NIL = msgspec.Raw(b"\xc0")
_encode = msgspec.msgpack.Encoder().encode


class Payload(msgspec.Struct):
    """What stands in place of a frame's data."""

    Body: bytes | None = None
    Values: msgspec.Raw = _NIL


_decode = msgspec.msgpack.Decoder(Payload).decode
_decode_values = msgspec.msgpack.Decoder(dict[Any, Any] | None).decode


class MsgpackValues(Coder):
    """Carries all of ``metadata=`` in a MessagePack map around the data: Go's ``msgpack.New()``.

    No bit says so, so both sides must have it. Values are what MessagePack can carry, at most 65,529 bytes and 1024
    maps and lists; keys that are no text, which a Go program may use, are not seen here.
    """

    name = "msgpack-values"
    reads_method = True
    required = True
    carries = None
    overhead = len(_encode(Payload(b""))) + 3  # the length of a body takes one byte, or up to four

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if frame[5] == CODED:
            raise ValueError("it has to see the method: register it before coders that compress or encrypt")
        start = HEADER_SIZE + frame[7]
        return make_frame(
            frame[4], frame[5:start], _encode(Payload(frame[start:], _encoded(values) if values else _NIL))
        )

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        start = HEADER_SIZE + frame[7]
        try:
            payload = _decode(frame[start:])
            taken = _values(payload.Values)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
            raise RemoteProtocolError(
                f"the data is no map of Body and Values, as the coder {self.name!r} makes: {error}"
            ) from None
        except LimitExceeded as error:
            raise RemoteProtocolError(f"the coder {self.name!r} cannot decode a message: {error}") from None
        for key, value in taken.items():
            if isinstance(key, str):
                values[key] = value
        return make_frame(frame[4], frame[5:start], payload.Body or b"")


def _encoded(values: Mapping[str, Any]) -> msgspec.Raw:
    """LimitExceeded for what the other side would refuse."""
    raw = msgspec.Raw(_encode(dict(values)))
    if len(memoryview(raw)) > MAX_CONTAINERS:
        _values(raw)
    return raw


def _values(raw: msgspec.Raw) -> dict[Any, Any]:
    """What encoded values say. LimitExceeded if that is too much."""
    size = len(memoryview(raw))
    if size > MAX_VALUES:
        raise LimitExceeded(f"metadata of {size} bytes: a message carries at most {MAX_VALUES}")
    values: dict[Any, Any] = _decode_values(raw) or {}
    if size > MAX_CONTAINERS and _containers(values) > MAX_CONTAINERS:
        raise LimitExceeded(f"metadata of more than {MAX_CONTAINERS} maps and lists")
    return values


def _containers(value: Any) -> int:
    """How many maps and lists there are, this one included; as keys they are tuples."""
    count, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            table = cast("dict[object, Any]", one)
            count += 1
            left += (*table, *table.values())
        elif isinstance(one, list | tuple):
            count += 1
            left += cast("list[Any]", one)
    return count
