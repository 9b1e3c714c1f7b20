"""Body and values as one MessagePack map, as Go's arpc has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from arpc.coders import Coder, make_frame
from arpc.errors import RemoteProtocolError
from arpc.frame import CODED, HEADER_SIZE

__all__ = ["MsgpackValues"]

_encode = msgspec.msgpack.Encoder().encode


class Payload(msgspec.Struct):
    """What stands in place of a frame's data."""

    Body: bytes | None = None
    Values: dict[Any, Any] | None = None


_decode = msgspec.msgpack.Decoder(Payload).decode


class MsgpackValues(Coder):
    """Carries all of ``metadata=`` in a MessagePack map around the data: Go's ``msgpack.New()``.

    No bit says so, so both sides must have it. Values are what MessagePack can carry; keys that are no text, which a Go
    program may use, are not seen here.
    """

    name = "msgpack-values"
    reads_method = True
    required = True
    carries = None
    overhead = len(_encode(Payload(b"", None))) + 3  # the length of a body takes one byte, or up to four

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if frame[5] == CODED:
            raise ValueError("it has to see the method: register it before coders that compress or encrypt")
        start = HEADER_SIZE + frame[7]
        return make_frame(frame[4], frame[5:start], _encode(Payload(frame[start:], dict(values) or None)))

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        start = HEADER_SIZE + frame[7]
        try:
            payload = _decode(frame[start:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
            raise RemoteProtocolError(
                f"the data is no map of Body and Values, as the coder {self.name!r} makes: {error}"
            ) from None
        for key, value in (payload.Values or {}).items():
            if isinstance(key, str):
                values[key] = value
        return make_frame(frame[4], frame[5:start], payload.Body or b"")
