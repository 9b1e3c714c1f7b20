"""A value behind the data of a frame: name, value, and how long both are (PROTOCOL, coders)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arpc.coders import Coder, make_frame
from arpc.errors import LimitExceeded, RemoteProtocolError
from arpc.frame import CODED, HEADER_SIZE

from .compressor import check_number

__all__ = ["Appender"]

LENGTH = 2
"""Bytes of the trailer's length, which counts itself."""


class Appender(Coder):
    """Carries the entry ``name`` of ``metadata=`` in a trailer of its own, announced by ``bit``: Go's ``NewAppender``.

    ``encode`` makes bytes of the value, ``decode`` a value of such bytes; without them it is bytes. Both may raise
    anything. ``name`` has at least one byte; name and value have at most 65,533 together.
    """

    def __init__(
        self,
        name: str,
        bit: int,
        encode: Callable[[Any], bytes] | None = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        check_number("bit", bit, 0, 7)
        self.name = name
        self.bit = bit
        self._flag = 1 << bit
        self._bit = bytes((bit,))
        self.carries = frozenset({name})
        self._name = name.encode()
        self._encode = encode or _as_it_is
        self._decode = decode

    def offer(self) -> bytes:
        """The bit: the other side must have the same one."""
        return self._bit

    def accept(self, offer: bytes, *, dialled: bool) -> None:
        if offer != self.offer():
            raise RemoteProtocolError(f"the coder {self.name!r} is on bit {self.bit} here, and on another one there")

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if self.name not in values:
            return frame
        value = self._encode(values[self.name])
        size = len(self._name) + len(value) + LENGTH
        if size > 0xFFFF:
            raise LimitExceeded(
                f"the value of {self.name!r} has {len(value)} bytes: at most"
                f" {0xFFFF - len(self._name) - LENGTH} can be appended"
            )
        return make_frame(frame[4] | self._flag, frame[5:], self._name, value, size.to_bytes(LENGTH, "big"))

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        if not frame[4] & self._flag:
            return frame
        size = int.from_bytes(frame[-LENGTH:], "big")
        start = len(frame) - size
        value = start + len(self._name)
        data = HEADER_SIZE + (frame[7] if frame[5] != CODED else 0)  # behind the method, where that can be seen
        if value > len(frame) - LENGTH or start < data or frame[start:value] != self._name:
            raise RemoteProtocolError(f"reserved bit {self.bit} announces a trailer named {self.name!r}: there is none")
        taken = frame[value:-LENGTH]
        values[self.name] = taken if self._decode is None else self._decode(taken)
        return make_frame(frame[4] & ~self._flag, frame[5:start])


def _as_it_is(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"it appends bytes, not {type(value).__name__}: give it encode= and decode=")
    return value
