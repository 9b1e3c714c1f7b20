"""What a session refuses: streams, bodies that are too large for either side, bytes that end the connection."""

from __future__ import annotations

import tracemalloc
from struct import pack

import pytest

from arpc.errors import LimitExceeded, RemoteProtocolError
from arpc.flow import REMEMBERED
from arpc.frame import (
    FLAG_ASYNC,
    FLAG_ERROR,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    Frame,
    encode,
)
from arpc.hello import Capability, encode_hello
from tests.wire.feeding import Make, Side, Way, both_sides, every_way, whole

# --- streams that nobody here serves


@both_sides
@every_way
def test_a_stream_is_refused_once_with_eof(make: Make, way: Way) -> None:
    side = make()
    local = STREAM | STREAM_LOCAL
    opened = encode(local, 0, 5, b"/up", b"1") + encode(local, 0, 5, b"/up", b"2")
    side.feed(way(opened + encode(local, 0, 6, b"/other") + encode(local | STREAM_EOF, 0, 5, b"/up")))
    assert side.frames() == [
        (STREAM | STREAM_EOF, 0, 0, 5, b"/up", b""),
        (STREAM | STREAM_EOF, 0, 0, 6, b"/other", b""),
    ]
    assert side.session.dropped == 2, "what came for it after that"
    assert side.session.flows is not None
    assert len(side.session.flows) == 0


@both_sides
@every_way
@pytest.mark.parametrize(
    ("bits", "method"),
    [
        (STREAM, b"/up"),
        (STREAM | STREAM_EOF, b"/up"),
        (STREAM | STREAM_LOCAL, b""),
        (STREAM | STREAM_LOCAL, b"m" * 128),
    ],
    ids=["ours, which is none", "end of ours", "no method", "long method"],
)
def test_a_stream_frame_that_opens_nothing_is_dropped(make: Make, way: Way, bits: int, method: bytes) -> None:
    side = make()
    side.feed(way(encode(STREAM | bits, 0, 5, method, b"item")))
    assert side.sent() == b""
    assert side.session.dropped == 1


@both_sides
def test_refused_streams_are_remembered_within_bounds(make: Make) -> None:
    side = make()
    streams = b"".join(encode(STREAM | STREAM_LOCAL, 0, seq, b"/up") for seq in range(1, REMEMBERED + 1))
    side.feed(whole(streams * 2))
    assert len(side.frames()) == side.session.dropped == REMEMBERED
    tracemalloc.start()
    try:
        for seq in range(10_000, 60_000, 100):
            side.feed(whole(b"".join(encode(STREAM | STREAM_LOCAL, 0, seq + n, b"/up") for n in range(100))))
            side.sent()
            side.openings.clear()
            side.order.clear()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 128 * REMEMBERED
    side.feed(whole(streams))
    assert len(side.frames()) == REMEMBERED, "they are new again"


# --- limits


@both_sides
@every_way
def test_a_request_may_be_refused_unread(make: Make, way: Way) -> None:
    side = make()
    side.feed(way(encode(REQUEST, FLAG_ASYNC, 7, b"/a", b"body")))
    side.session.refuse(side.messages[0])
    assert side.frames() == [(RESPONSE, FLAG_ASYNC | FLAG_ERROR, 0, 7, b"/a", b"overloaded")]


@both_sides
def test_what_is_larger_than_a_body_may_be_is_refused_here(make: Make) -> None:
    side = make(max_body=100)
    why = r"a body of 101 bytes \(method and metadata included\): this side sends at most 100 \(max_body\)"
    with pytest.raises(LimitExceeded, match=why):
        side.session.request(b"/a", bytes(99), None)
    with pytest.raises(LimitExceeded, match=why):
        side.session.notify(b"/a", bytes(99))
    assert side.session.pending == {}
    assert side.sent() == b""
    side.session.request(b"/a", bytes(98), None)
    side.session.notify(b"/a", bytes(98))
    assert [len(frame[5]) for frame in side.frames()] == [98, 98]


@both_sides
@every_way
def test_an_answer_that_is_too_large_becomes_an_error(make: Make, way: Way) -> None:
    side = make(max_body=200)
    side.feed(way(encode(REQUEST, FLAG_ASYNC, 3, b"/a")))
    [request] = side.messages
    side.session.respond(request, bytes(198))
    side.session.respond(request, bytes(199))
    side.session.respond_error(request, "é" * 150)
    fits, too_large, long = side.frames()
    assert fits == (RESPONSE, FLAG_ASYNC, 0, 3, b"/a", bytes(198))
    assert too_large[:5] == long[:5] == (RESPONSE, FLAG_ASYNC | FLAG_ERROR, 0, 3, b"/a")
    assert too_large[5].startswith(b"the answer is too large: a body of 201 bytes")
    assert long[5] == "é".encode() * 99, "cut to what the other side takes"


@both_sides
@every_way
def test_what_claims_more_than_is_accepted_ends_the_connection(make: Make, way: Way) -> None:
    side = make(max_body=100)
    with pytest.raises(RemoteProtocolError, match=r"claims a body of 101 bytes, 100 are accepted"):
        side.feed(way(encode(REQUEST, 0, 1, b"/a", bytes(98)) + encode(REQUEST, 0, 2, b"/a", bytes(99))))
    assert [frame[3] for frame in side.messages] == [1], "what came before it is served"


@both_sides
@every_way
def test_an_unknown_command_ends_the_connection(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/a", b"", "token")
    good = encode(RESPONSE, 0, seq, b"/a") + encode(NOTIFY, 0, 1, b"/n")
    with pytest.raises(RemoteProtocolError, match="unknown command 7"):
        side.feed(way(good + encode(7, 0, 0) + encode(PONG, 0, 0)))
    assert side.answers == [("token", 0, b"")]
    assert len(side.messages) == 1
    assert side.session.dropped == 0


def test_a_claim_of_64_mib_followed_by_silence_costs_what_arrived() -> None:
    side = Side()
    claim = side.options.max_body
    tracemalloc.start()
    try:
        side.session.receive(pack("<IBBBBQ", claim, 0, REQUEST, 0, 2, 1) + b"/a and a little")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert claim > 63 * 1024 * 1024
    assert peak < 1024 * 1024


# --- what was announced binds


def told(command: int, accepts: int) -> Side:
    """A side that learned what the other accepts: by its Pong, if it dialled, or by its Ping."""
    side = Side(max_body=1000)
    if command == PONG:
        side.session.dial()
    side.feed([encode(command, 0, 0, data=encode_hello(Capability(0), 1, accepts, 1))])
    side.sent()
    return side


@pytest.mark.parametrize("command", [PONG, PING], ids=["dialler", "acceptor"])
def test_a_body_beyond_what_the_other_side_accepts_is_refused_here(command: int) -> None:
    side = told(command, 500)
    why = r"a body of 501 bytes \(method and metadata included\): the other side accepts at most 500 \(max_body\)"
    with pytest.raises(LimitExceeded, match=why):
        side.session.request(b"/a", bytes(499), None)
    with pytest.raises(LimitExceeded, match=why):
        side.session.notify(b"/a", bytes(499))
    assert side.session.pending == {}
    assert side.sent() == b""
    side.session.request(b"/a", bytes(498), None)
    side.session.notify(b"/a", bytes(498))
    assert len(side.frames()) == 2

    request: Frame = (REQUEST, 0, 0, 1, b"/a", b"")
    side.session.respond(request, bytes(498))
    side.session.respond(request, bytes(499))
    side.session.respond_error(request, "e" * 600)
    fits, refused, cut = side.frames()
    assert fits[1] == 0
    assert refused[1] == cut[1] == FLAG_ERROR
    assert b"the other side accepts at most 500" in refused[5]
    assert cut[5] == b"e" * 498


@pytest.mark.parametrize("command", [PONG, PING], ids=["dialler", "acceptor"])
def test_the_other_side_may_accept_more_than_this_one(command: int) -> None:
    side = told(command, 5000)
    side.session.request(b"/a", bytes(4998), None)
    with pytest.raises(RemoteProtocolError, match="1000 are accepted"):
        side.feed([encode(REQUEST, 0, 1, b"/a", bytes(999))])
