"""Whatever bytes come, in whatever chunks: the frames that a plain reading of PROTOCOL finds, or RemoteProtocolError.

Nothing else: no other exception, no frame after the error, nothing that depends on how the bytes were cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from struct import pack
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arpc.errors import ConnectionClosed, RemoteProtocolError
from arpc.frame import NOTIFY, REQUEST, RESPONSE, Frame, Splitter
from tests.wire.feeding import Side

LIMIT = 300
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
both_sides = pytest.mark.parametrize("dials", [True, False], ids=["dialler", "acceptor"])


def reference(data: bytes, limit: int) -> tuple[list[Frame], bool]:
    """All frames of these bytes, and whether they end with one that ends the connection: the slow and plain way."""
    frames: list[Frame] = []
    while len(data) >= 16:
        length = int.from_bytes(data[:4], "little")
        reserved, command, flag, method_size = data[4:8]
        seq = int.from_bytes(data[8:16], "little")
        bare = command % 64
        if bare not in range(1, 7) or length > limit:
            return frames, True
        if len(data) < 16 + length:
            break
        body, data = data[16 : 16 + length], data[16 + length :]
        if method_size > length:
            body = b""
        frames.append((command if bare == 6 else bare, flag, reserved, seq, body[:method_size], body[method_size:]))
    return frames, False


# --- what to feed

numbers = st.one_of(st.integers(0, 4), st.integers(0, 2**64 - 1))
bodies = st.one_of(
    st.binary(max_size=40),
    st.just(b"arpc+\x01" + bytes(16)),
    st.binary(min_size=14, max_size=20).map(lambda tail: b"arpc+" + tail),
)


@st.composite
def frame_bytes(draw: st.DrawFn) -> bytes:
    """A frame, mostly right: one in a few lies about its method or its length, or has a command that does not exist."""
    method = draw(st.one_of(st.just(b""), st.just(b"/a"), st.binary(max_size=130)))
    data = draw(bodies)
    bare = draw(st.one_of(st.sampled_from([1, 2, 3, 4, 5, 6]), st.integers(0, 63)))
    command = bare | draw(st.sampled_from([0, 0, 0x80, 0x40, 0xC0]))
    size = draw(st.one_of(st.just(len(method)), st.just(len(method)), st.integers(0, 255)))
    length = len(method) + len(data)
    claim = draw(st.one_of(*[st.just(length)] * 8, st.integers(0, LIMIT + 2), st.integers(0, 2**32 - 1)))
    flag, reserved = draw(st.sampled_from([0, 0, 1, 2, 255])), draw(st.sampled_from([0, 0, 1, 128]))
    return pack("<IBBBBQ", claim, reserved, command, flag, size, draw(numbers)) + method + data


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Frames of which some bytes were changed, cut out or put in."""
    data = bytearray(b"".join(draw(st.lists(frame_bytes(), max_size=8))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(at + draw(st.integers(0, 20)), len(data))
        data[at:end] = draw(st.binary(max_size=20))
    return bytes(data)


streams = st.one_of(st.binary(max_size=200), st.lists(frame_bytes(), max_size=8).map(b"".join), mutated())
cuts = st.lists(st.integers(0, 600), max_size=12)


def chunks(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The data, cut there; some chunks may be empty."""
    for start, end in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        yield data[start:end]


# --- the splitter


def check_splitter(data: bytes, pieces: Iterator[bytes]) -> None:
    splitter = Splitter(LIMIT)
    frames: list[Frame] = []
    for piece in pieces:
        ended = splitter.error is not None
        found = splitter.feed(piece)
        assert not (ended and found)
        frames += found
        assert splitter.unfinished <= 16 + LIMIT
    expected, ends = reference(data, LIMIT)
    assert frames == expected
    assert (splitter.error is not None) is ends
    if ends:
        assert type(splitter.error) is RemoteProtocolError
        assert splitter.unfinished == 0
    else:
        whole = sum(16 + max(len(frame[4]) + len(frame[5]), 0) for frame in frames)
        assert splitter.unfinished <= len(data) - whole


@given(data=streams, at=cuts)
@example(data=b"", at=[])
@example(data=pack("<IBBBBQ", LIMIT, 0, 1, 0, 2, 1) + bytes(LIMIT), at=[16, 17, 15])
@example(data=pack("<IBBBBQ", 0xFFFF_FFFF, 0, 1, 0, 2, 1), at=[1, 2, 3, 4])
@example(data=pack("<IBBBBQ", 3, 0, 1, 0, 4, 1) + b"abc" + pack("<IBBBBQ", 0, 0, 4, 0, 0, 0), at=[18])
@quiet
def test_frames_are_those_of_a_plain_reading_however_they_are_cut(data: bytes, at: list[int]) -> None:
    check_splitter(data, chunks(data, at))


@given(data=streams, size=st.integers(1, 20))
@quiet
def test_the_same_in_small_equal_chunks(data: bytes, size: int) -> None:
    check_splitter(data, iter([data[at : at + size] for at in range(0, len(data), size)]))


# --- the session


class Outcome:
    """What a session made of some bytes, and what it wants to send."""

    def __init__(self, pieces: Iterator[bytes], *, dials: bool, extensions: bool, calls: int) -> None:
        side = Side(max_body=LIMIT, extensions=extensions)
        if dials:
            side.session.dial()
        for number in range(calls):
            side.session.pending[number] = (b"/a", number)  # with numbers that the bytes may hit
        for token in range(calls // 2):
            side.session.ping(token)
        self.error: str | None = None
        try:
            for piece in pieces:
                side.session.receive(piece)
        except RemoteProtocolError as error:
            self.error = str(error)
        session = side.session
        self.seen: dict[str, Any] = {
            "messages": side.messages,
            "answers": side.answers,
            "pongs": side.pongs,
            "readies": side.readies,
            "dropped": session.dropped,
            "remote": session.remote,
            "limit": session.send_limit,
            "pending": dict(session.pending),
            "error": self.error,
            "out": b"".join(session.out),
        }
        session.close(ConnectionClosed("the test is over"))
        assert session.out == []
        self.messages = side.messages
        self.answers = side.answers
        self.dropped = session.dropped
        self.out: bytes = self.seen["out"]


@both_sides
@given(data=streams, at=cuts, extensions=st.booleans(), calls=st.integers(0, 4))
@example(data=pack("<IBBBBQ", 22, 0, 4, 0, 0, 0) + b"arpc+\x01" + bytes(16), at=[20], extensions=True, calls=2)
@example(data=pack("<IBBBBQ", 22, 0, 5, 0, 0, 0) + b"arpc+\x01" + bytes(16), at=[20], extensions=True, calls=2)
@example(data=(pack("<IBBBBQ", 2, 0, 2, 0, 2, 1) + b"/a") * 3, at=[], extensions=False, calls=4)
@quiet
def test_a_session_takes_any_bytes(dials: bool, data: bytes, at: list[int], extensions: bool, calls: int) -> None:
    outcome = Outcome(chunks(data, at), dials=dials, extensions=extensions, calls=calls)
    frames, ends = reference(data, LIMIT)
    assert (outcome.error is not None) is ends, "exactly one error, where a plain reading finds one"
    assert outcome.messages == [frame for frame in frames if frame[0] in {REQUEST, NOTIFY}]
    tokens = [token for token, _, _ in outcome.answers]
    assert len(tokens) == len(set(tokens)), "each call is answered once"
    assert len(tokens) <= sum(frame[0] == RESPONSE for frame in frames)
    sent, ends = reference(outcome.out, 0xFFFF_FFFF)
    assert not ends, "what goes out is right, whatever came in"
    assert sum(16 + len(frame[4]) + len(frame[5]) for frame in sent) == len(outcome.out)


@both_sides
@given(data=streams, at=cuts, extensions=st.booleans(), calls=st.integers(0, 4))
@quiet
def test_a_session_does_not_care_how_bytes_are_cut(
    dials: bool, data: bytes, at: list[int], extensions: bool, calls: int
) -> None:
    one = Outcome(iter([data]), dials=dials, extensions=extensions, calls=calls)
    two = Outcome(chunks(data, at), dials=dials, extensions=extensions, calls=calls)
    assert one.seen == two.seen
