"""The Hello: data of the first Ping and its Pong, by which peers learn what the other knows (PROTOCOL part 2)."""

from __future__ import annotations

from collections.abc import Sequence
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
    coders: tuple[str, ...] = ()
    """Names of the coders that it has registered, in their order."""

    def __bool__(self) -> bool:
        return self.extended


BASE: Final = Capabilities()


class Offer(NamedTuple):
    """A coder as a Hello tells of it."""

    name: str
    """1 to 255 bytes of UTF-8."""
    required: bool
    """The connection is closed if the other side lacks it."""
    data: bytes
    """What only the coder itself understands, at most 255 bytes."""


def encode_hello(
    flags: Capability, stream_window: int, max_body: int, max_streams: int, coders: Sequence[Offer] = ()
) -> bytes:
    """The data of a Hello. Coders follow its fixed part, where there are any (PROTOCOL part 2, Hello)."""
    hello = _LAYOUT.pack(MAGIC, VERSION, flags, stream_window, max_body, max_streams)
    if not coders:
        return hello
    parts = [hello, bytes((len(coders),))]
    for name, required, data in coders:
        encoded = name.encode()
        parts += bytes((required, len(encoded))), encoded, bytes((len(data),)), data
    return b"".join(parts)


def decode_hello(data: bytes) -> Capabilities | None:
    """What a Hello says, or None if ``data`` is something else. A longer tail and a higher version are ignored."""
    if len(data) < _LAYOUT.size or not data.startswith(MAGIC):
        return None
    _, version, flags, stream_window, max_body, max_streams = _LAYOUT.unpack_from(data)
    if version < 1:
        return None
    known = Capability(flags & EVERY_CAPABILITY)
    names = tuple(offer.name for offer in decode_offers(data))
    return Capabilities(True, known, max_body, max_streams, stream_window, names)


def decode_offers(data: bytes) -> list[Offer]:
    """The coders of a Hello. A tail that is no list of them is some other tail, and says nothing of coders."""
    offers: list[Offer] = []
    at = _LAYOUT.size
    if len(data) <= at:
        return offers
    count = data[at]
    at += 1
    try:
        for _ in range(count):
            required = data[at] & 1
            name, at = _short(data, at + 1)
            said, at = _short(data, at)
            offers.append(Offer(name.decode(), bool(required), said))
    except (IndexError, UnicodeDecodeError):
        return []
    return offers


def _short(data: bytes, at: int) -> tuple[bytes, int]:
    """What stands behind its length of one byte, and where it ends. IndexError where that is not there."""
    start = at + 1
    end = start + data[at]
    if end > len(data):
        raise IndexError(end)
    return data[start:end], end
