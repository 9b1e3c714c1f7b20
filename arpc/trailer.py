"""The trailer that an appender puts after a frame's data: name, value, and how long both are (PROTOCOL, coders)."""

from __future__ import annotations

from typing import Final

from .errors import RemoteProtocolError

NAME: Final = b"meta"
MAX_VALUE: Final = 0xFFFF - len(NAME) - 2
"""The largest value: 65,529 bytes."""


def make_trailer(value: bytes) -> bytes:
    """The trailer with this value, which has at most ``MAX_VALUE`` bytes."""
    return NAME + value + (len(NAME) + len(value) + 2).to_bytes(2, "big")


def split_trailer(data: bytes) -> tuple[bytes, bytes]:
    """The data before a trailer, and the trailer's value. RemoteProtocolError if there is no such trailer."""
    size = int.from_bytes(data[-2:], "big")
    start = len(data) - size
    if size < len(NAME) + 2 or start < 0 or data[start : start + len(NAME)] != NAME:
        raise RemoteProtocolError("metadata are announced (reserved bit 1), and no trailer named 'meta' is there")
    return data[:start], data[start + len(NAME) : -2]
