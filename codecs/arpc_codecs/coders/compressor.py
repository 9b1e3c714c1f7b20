"""What the coders that compress have in common: the bytes of a frame from its command on become a compressed stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arpc.coders import Coder, make_frame
from arpc.errors import RemoteProtocolError
from arpc.frame import CODED, HEADER_SIZE

__all__ = ["Compressor", "check_number"]

START = 5
"""The command's place in a frame: what is before it, length and bits, stays readable."""


class Compressor(Coder):
    """Compresses frames of over ``threshold`` bytes, header included, where that makes them shorter. Of several in
    use the first one that does so is the only one.

    What it makes has at least 16 bytes, and begins with 0x1f or is put behind such a byte: ``mark``.
    """

    hides_method = True
    mark: bytes = b"\x1f"

    def __init__(self, threshold: int, bit: int) -> None:
        check_number("threshold", threshold, 0, 1 << 32)
        self.threshold = threshold
        self.bit = bit
        self._flag = 1 << bit

    def compress(self, data: bytes) -> bytes:
        """A compressed stream."""
        raise NotImplementedError(f"{type(self).__name__} has no compress()")

    def expand(self, data: bytes, most: int) -> bytes | None:
        """What was compressed; None if it is over ``most`` bytes. Raises for what is not one whole stream."""
        raise NotImplementedError(f"{type(self).__name__} has no expand()")

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        if len(frame) <= self.threshold or frame[START] == CODED:  # what another has compressed is left at that
            return frame
        packed = self.compress(frame[START:])
        if not HEADER_SIZE <= START + len(self.mark) + len(packed) < len(frame):
            return frame
        return make_frame(frame[4] | self._flag, self.mark, packed)

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        if not frame[4] & self._flag:
            return frame
        start = START + len(self.mark)
        if frame[START:start] != self.mark:
            raise RemoteProtocolError(f"the coder {self.name!r} is announced, and byte 5 of the frame is not 0x1f")
        plain = self.expand(frame[start:], limit + HEADER_SIZE - START)
        if plain is None:
            raise RemoteProtocolError(f"what the coder {self.name!r} has compressed is over {limit} bytes (max_body)")
        return make_frame(frame[4] & ~self._flag, plain)


def check_number(name: str, value: object, least: int, most: int) -> None:
    """ValueError for an option that is no whole number in this range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {value!r}")
