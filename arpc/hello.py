"""The Hello: data of the first Ping and its Pong, by which peers learn what the other knows (PROTOCOL part 2)."""

from __future__ import annotations

from enum import IntFlag
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"arpc+"
VERSION: Final = 1
_LAYOUT: Final = Struct("<5sBIIII")


MAX_CREDIT: Final = 1 << 31
"""The most that one side may be allowed to send on a stream at any time, in bytes."""


class Capability(IntFlag):
    """What a Hello may allow; a bit is used where both sides have it (PROTOCOL part 2)."""

    META = 1
    """Metadata on calls, answers, notifies and streams; with it deadlines, and codes and details of errors."""
    CANCEL = 2
    """Calls can be cancelled, streams reset."""
    CREDIT = 4
    """Flow control of streams."""
    GOAWAY = 8
    """Notice that a peer wants no new work."""
    EMPTY = 16
    """Stream items of zero length."""


EVERY_CAPABILITY: Final = Capability(31)


class Capabilities(NamedTuple):
    """What the other side said about itself. ``extended`` is False for a peer that speaks the base protocol only.

    ``max_body``, ``max_streams`` and ``stream_window`` are what it accepts (bytes, streams, bytes); None if unsaid.
    """

    extended: bool = False
    flags: Capability = Capability(0)
    max_body: int | None = None
    max_streams: int | None = None
    stream_window: int | None = None

    def __bool__(self) -> bool:
        return self.extended


BASE: Final = Capabilities()


def encode_hello(flags: Capability, stream_window: int, max_body: int, max_streams: int) -> bytes:
    return _LAYOUT.pack(MAGIC, VERSION, flags, stream_window, max_body, max_streams)


def decode_hello(data: bytes) -> Capabilities | None:
    """What a Hello says, or None if ``data`` is something else. A longer tail and a higher version are ignored."""
    if len(data) < _LAYOUT.size or not data.startswith(MAGIC):
        return None
    _, version, flags, stream_window, max_body, max_streams = _LAYOUT.unpack_from(data)
    if version < 1:
        return None
    known = Capability(flags & EVERY_CAPABILITY)
    return Capabilities(True, known, max_body, max_streams, stream_window)
