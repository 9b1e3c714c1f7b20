"""Whatever bytes come, in whatever chunks: the frames that a plain reading of PROTOCOL finds, or RemoteProtocolError.

Nothing else: no other exception, no frame after the error, nothing that depends on how the bytes were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from struct import pack
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arpc.errors import ConnectionClosed, RemoteProtocolError
from arpc.flow import ITEM, Flow
from arpc.frame import CANCEL, CREDIT, NOTIFY, PING, PONG, REQUEST, RESPONSE, Frame, Splitter, encode
from arpc.hello import EVERY_CAPABILITY, Capability, encode_hello
from arpc.hooks import Message
from arpc.metadata import Metadata
from arpc.trailer import make_trailer
from tests.wire.feeding import Listener, Side

LIMIT = 300
WINDOW = 400
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
both_sides = pytest.mark.parametrize("dials", [True, False], ids=["dialler", "acceptor"])


def reference(data: bytes, limit: int, known: tuple[int, ...] = ()) -> tuple[list[Frame], bool]:
    """All frames of these bytes, and whether they end with one that ends the connection: the slow and plain way.

    ``known``: commands that were agreed upon.
    """
    frames: list[Frame] = []
    while len(data) >= 16:
        length = int.from_bytes(data[:4], "little")
        reserved, command, flag, method_size = data[4:8]
        seq = int.from_bytes(data[8:16], "little")
        bare = command % 64
        if (bare not in range(1, 7) and bare not in known) or length > limit:
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
    bare = draw(st.one_of(st.sampled_from([1, 2, 3, 4, 5, 6]), st.integers(0, 63), st.sampled_from([7, 8, 9, 10])))
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


@st.composite
def extended_frame(draw: st.DrawFn) -> bytes:
    """A frame as a peer sends it that knows the extensions: few numbers, so that streams are hit; some are odd."""
    bare = draw(st.sampled_from([1, 2, 3, 6, 6, 6, 6, 7, 8, 9, 9, 10]))
    bits = draw(st.sampled_from([0, 0x80, 0x80, 0x40, 0xC0])) if bare in {6, 8, 9} else 0
    seq = draw(st.integers(0, 6))
    method = b"" if bare >= 7 else b"/a"
    if bare == 9:
        amount = st.one_of(st.integers(0, 500), st.sampled_from([2**31 - WINDOW, 2**31, 2**32 - 1]))
        data = draw(st.one_of(amount.map(lambda more: more.to_bytes(4, "little")), st.binary(max_size=5)))
    else:
        data = draw(st.one_of(st.binary(max_size=3), st.binary(max_size=LIMIT // 2)))
    reserved = draw(st.sampled_from([0, 0, 0, 2, 4, 6, 255]))
    if reserved & 2:
        data += draw(trailers)
    flag = draw(st.sampled_from([0, 0, 0, 1, 2, 3]))
    return pack("<IBBBBQ", len(method) + len(data), reserved, bare | bits, flag, len(method), seq) + method + data


keys = st.one_of(
    st.sampled_from(["timeout", "code", "details", "traceparent", "tracestate", "a"]), st.integers(0, 3), st.binary()
)
values = st.one_of(st.integers(-1, 2**40), st.text(max_size=3), st.none(), st.booleans(), st.lists(st.integers(0, 9)))
trailers = st.one_of(
    st.dictionaries(keys, values, max_size=3).map(lambda said: make_trailer(msgspec.msgpack.encode(said))),
    st.just(make_trailer(b"\x80")),
    st.binary(max_size=8).map(make_trailer),
    st.binary(max_size=8),
)
extended_streams = st.one_of(
    st.lists(extended_frame(), max_size=12).map(b"".join),
    st.lists(st.one_of(extended_frame(), frame_bytes()), max_size=8).map(b"".join),
    mutated(),
    st.binary(max_size=200),
)
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

HELLO = encode_hello(EVERY_CAPABILITY, WINDOW, LIMIT, 3)
"""Of the other side, where the Hello is over."""


def own(side: Side, id: int) -> None:
    """A stream of this side, with a number that the bytes may hit."""
    flow = Flow(id, b"/a", local=True, credit=WINDOW, window=WINDOW)
    flow.owner = Listener(flow, side)
    side.session.make_flows().opened[id] = flow


def timeless(message: Message) -> tuple[Any, ...]:
    """The message, whose deadline differs from run to run."""
    command, flag, extra, *rest = message
    if isinstance(extra, Metadata):
        extra = (dict(extra.values), extra.deadline is not None, extra.code, extra.details)
    return command, flag, extra, *rest


def goes_out_well(out: bytes, known: tuple[int, ...] = ()) -> None:
    sent, ends = reference(out, 0xFFFF_FFFF, known)
    assert not ends, "what goes out is right, whatever came in"
    assert sum(16 + len(frame[4]) + len(frame[5]) for frame in sent) == len(out)


NOTHING = Capability(0)


class Outcome:
    """What a session made of some bytes, and what it wants to send.

    ``agreed``: its Hello is over, and every capability is used.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        *,
        dials: bool,
        extensions: bool = True,
        capabilities: Capability = EVERY_CAPABILITY,
        agreed: bool = False,
        calls: int,
        act: Callable[[Side], None] | None = None,
    ) -> None:
        side = Side(max_body=LIMIT, extensions=extensions, capabilities=capabilities, stream_window=WINDOW)
        side.accepts = True
        if dials:
            side.session.dial()
        if agreed:
            side.session.receive(encode(PONG if dials else PING, 0, 0, b"", HELLO))
            assert side.session.capabilities == EVERY_CAPABILITY
            side.sent()
            for number in range(calls):
                own(side, number)
        for number in range(calls):
            side.session.pending[number] = (b"/a", number)  # with numbers that the bytes may hit
        for token in range(calls // 2):
            side.session.ping(token)
        self.error: str | None = None
        try:
            for piece in pieces:
                side.session.receive(piece)
                if act is not None:
                    act(side)
        except RemoteProtocolError as error:
            self.error = str(error)
        session = side.session
        self.side = side
        self.seen: dict[str, Any] = {
            "messages": [timeless(message) for message in side.messages],
            "metadata": side.metadata,
            "openings": [timeless(message) for message in side.openings],
            "streams": {id: stream.heard for id, stream in side.streams.items()},
            "flows": sorted((flow.local, flow.id, flow.credit, flow.allowance) for flow in session.make_flows()),
            "queued": session.make_flows().queued,
            "cancelled": side.cancelled,
            "reasons": side.reasons,
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
    """Of the base protocol, whatever the Hellos among them say."""
    outcome = Outcome(chunks(data, at), dials=dials, extensions=extensions, capabilities=NOTHING, calls=calls)
    frames, ends = reference(data, LIMIT)
    assert (outcome.error is not None) is ends, "exactly one error, where a plain reading finds one"
    assert outcome.messages == [frame for frame in frames if frame[0] in {REQUEST, NOTIFY}]
    tokens = [token for token, _, _ in outcome.answers]
    assert len(tokens) == len(set(tokens)), "each call is answered once"
    assert len(tokens) <= sum(frame[0] == RESPONSE for frame in frames)
    goes_out_well(outcome.out)


@both_sides
@given(data=st.one_of(streams, extended_streams), at=cuts, extensions=st.booleans(), calls=st.integers(0, 4))
@example(data=encode(PONG, 0, 0) + encode(CREDIT, 0, 1, b"", bytes(4)), at=[34], extensions=True, calls=0)
@example(data=encode(PING, 0, 0, b"", HELLO) + encode(CANCEL, 0, 1), at=[38], extensions=True, calls=0)
@quiet
def test_a_session_does_not_care_how_bytes_are_cut(
    dials: bool, data: bytes, at: list[int], extensions: bool, calls: int
) -> None:
    one = Outcome(iter([data]), dials=dials, extensions=extensions, calls=calls)
    two = Outcome(chunks(data, at), dials=dials, extensions=extensions, calls=calls)
    assert one.seen == two.seen


# --- the session with every capability


@both_sides
@given(data=extended_streams, at=cuts, calls=st.integers(0, 4), seed=st.integers(0, 1 << 32))
@quiet
def test_a_session_with_every_capability_takes_any_bytes(
    dials: bool, data: bytes, at: list[int], calls: int, seed: int
) -> None:
    """It reads them, or raises RemoteProtocolError; meanwhile its owner reads, sends, ends and resets streams."""
    random = Random(seed)

    def act(side: Side) -> None:
        flows = side.session.make_flows()
        for flow in flows:
            stream = flow.owner
            if random.random() < 0.5 or not isinstance(stream, Listener):
                continue
            while stream.heard and random.random() < 0.7:
                if isinstance(item := stream.heard.pop(0), bytes):
                    flows.read(flow, ITEM + len(item))
            deed = random.randrange(5)
            if deed == 0:
                flows.wanted(flow)
            elif deed == 1:
                flows.end(flow)
            elif deed == 2:
                flows.reset(flow, "enough")
            elif deed == 3:
                flows.leave(flow)
            elif flow.sending and flow.credit > 0:
                flows.send(flow, bytes(random.randrange(3)))

    outcome = Outcome(chunks(data, at), dials=dials, agreed=True, calls=calls, act=act)
    goes_out_well(outcome.out, (7, 8, 9, 10))
    flows = outcome.side.session.make_flows()
    assert len(outcome.side.session.make_flows().accepted) <= outcome.side.options.max_streams
    for flow in flows:
        assert flow.sending or flow.receiving
        assert flow.credit <= 2**31 or outcome.error is not None
        assert flow.allowance <= WINDOW
        assert not (flow.owner is None and flow.sending)
    frames, _ = reference(data, LIMIT, (7, 8, 9, 10))
    asked = [frame[:2] + frame[3:5] for frame in frames if frame[0] in {REQUEST, NOTIFY}]
    served = [message[:2] + message[3:5] for message in outcome.messages]
    assert served == asked[: len(served)]
    assert outcome.error is not None or served == asked
    tokens = [token for token, _, _ in outcome.answers]
    assert len(tokens) == len(set(tokens)), "each call is answered once"


@both_sides
@given(data=extended_streams, at=cuts, calls=st.integers(0, 4))
@quiet
def test_with_every_capability_it_does_not_care_how_bytes_are_cut(
    dials: bool, data: bytes, at: list[int], calls: int
) -> None:
    one = Outcome(iter([data]), dials=dials, agreed=True, calls=calls)
    two = Outcome(chunks(data, at), dials=dials, agreed=True, calls=calls)
    assert one.seen == two.seen
