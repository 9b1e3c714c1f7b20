"""Sides whose Hello is over, and frames of streams written out as PROTOCOL has them."""

from __future__ import annotations

from typing import Protocol, Unpack

import pytest

from arpc.flow import Flow
from arpc.frame import CREDIT, PING, PONG, RESERVED_EMPTY, RESET, STREAM, STREAM_EOF, STREAM_LOCAL, encode
from arpc.hello import EVERY_CAPABILITY, Capabilities, Capability, encode_hello
from arpc.options import OptionKeywords
from tests.wire.feeding import Listener, Side, acceptor, dialler

LOCAL = STREAM | STREAM_LOCAL
END = STREAM_EOF
WINDOW = 1000
THEIRS = Capabilities(True, EVERY_CAPABILITY, 100_000, 100, WINDOW)
"""What the other side announces unless a test says otherwise."""

NOT_CANCEL = EVERY_CAPABILITY & ~Capability.CANCEL
NOT_CREDIT = EVERY_CAPABILITY & ~Capability.CREDIT


def said(theirs: Capabilities) -> bytes:
    """The Hello of the other side."""
    window, body, streams = theirs.stream_window or 0, theirs.max_body or 0, theirs.max_streams or 0
    return encode_hello(theirs.flags, window, body, streams)


class Agree(Protocol):
    """Makes a side that has agreed with the other one; see :data:`agreed_sides`."""

    def __call__(self, theirs: Capabilities = THEIRS, **options: Unpack[OptionKeywords]) -> Side: ...


def dialled(theirs: Capabilities = THEIRS, **options: Unpack[OptionKeywords]) -> Side:
    """Has dialled, and read the other side's Pong. It serves streams."""
    side = Side(**options)
    side.accepts = True
    side.session.dial()
    side.session.receive(encode(PONG, 0, 0, data=said(theirs)))
    assert side.sent() == b""
    return side


def accepted(theirs: Capabilities = THEIRS, **options: Unpack[OptionKeywords]) -> Side:
    """Was dialled, and has answered the other side's Hello. It serves streams."""
    side = Side(**options)
    side.accepts = True
    side.session.receive(encode(PING, 0, 0, data=said(theirs)))
    assert [frame[0] for frame in side.frames()] == [PONG]
    return side


def base_dialled(theirs: Capabilities = THEIRS, **options: Unpack[OptionKeywords]) -> Side:
    """Has dialled a peer without extensions. It serves streams."""
    side = dialler(**options)
    side.accepts = True
    return side


def base_accepted(theirs: Capabilities = THEIRS, **options: Unpack[OptionKeywords]) -> Side:
    """Was dialled by a peer without extensions. It serves streams."""
    side = acceptor(**options)
    side.accepts = True
    return side


AGREED = [dialled, accepted]
BASE = [base_dialled, base_accepted]
agreed_sides = pytest.mark.parametrize("make", AGREED, ids=lambda make: make.__name__)
base_sides = pytest.mark.parametrize("make", BASE, ids=lambda make: make.__name__)
all_sides = pytest.mark.parametrize("make", [*AGREED, *BASE], ids=lambda make: make.__name__)


def with_flags(flags: Capability, *, window: int = WINDOW, max_streams: int = 100) -> Capabilities:
    """A peer that knows these."""
    return Capabilities(True, flags, 100_000, max_streams, window)


def pair(**options: Unpack[OptionKeywords]) -> tuple[Side, Side]:
    """Two sides that have said Hello to each other: who dialled, and who was dialled."""
    one, two = Side(**options), Side(**options)
    one.accepts = two.accepts = True
    two.session.receive(one.session.dial())
    one.session.receive(two.sent())
    assert one.session.ready
    return one, two


# --- streams


def opened(side: Side, data: bytes = b"", *, end: bool = False, method: bytes = b"/up") -> tuple[Flow, Listener]:
    """A stream of this side, and who listens to it."""
    listener = Listener(None, side)
    flow = listener.flow = side.session.open_stream(method, listener, data, end=end, trailer=b"")
    return flow, listener


def count(side: Side) -> int:
    """Streams that are open."""
    return len(side.session.make_flows())


def granted(side: Side) -> dict[int, int]:
    """What this side allows in the frames that it has to send, which are nothing else, by stream."""
    more: dict[int, int] = {}
    for command, flag, reserved, id, method, data in side.frames():
        assert command & ~STREAM_LOCAL == CREDIT
        assert (flag, reserved, method, len(data)) == (0, 0, b"", 4)
        more[id] = more.get(id, 0) + int.from_bytes(data, "little")
    return more


def flow_of(side: Side, id: int) -> Flow:
    """A stream that the other side has opened."""
    flow = side.streams[id].flow
    assert flow is not None
    return flow


# --- frames that the other side sends


def item(id: int, data: bytes = b"", *, method: bytes = b"/up", end: bool = False, empty: bool = False) -> bytes:
    """A frame of a stream that the other side has opened, or opens by it."""
    return encode(LOCAL | (END if end else 0), 0, id, method, data, RESERVED_EMPTY if empty else 0)


def back(id: int, data: bytes = b"", *, method: bytes = b"/up", end: bool = False, empty: bool = False) -> bytes:
    """A frame of the other side on a stream that this side has opened."""
    return encode(STREAM | (END if end else 0), 0, id, method, data, RESERVED_EMPTY if empty else 0)


def reset(id: int, text: str | bytes = b"", *, theirs: bool = True) -> bytes:
    """The other side ends a stream: one that it has opened, or one of ours."""
    data = text.encode() if isinstance(text, str) else text
    return encode(RESET | (STREAM_LOCAL if theirs else 0), 0, id, b"", data)


def credit(id: int, more: int, *, theirs: bool = True) -> bytes:
    """The other side allows so much more."""
    return encode(CREDIT | (STREAM_LOCAL if theirs else 0), 0, id, b"", more.to_bytes(4, "little"))
