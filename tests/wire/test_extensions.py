"""Cancel, GoAway and EMPTY, and extension commands where they were not agreed upon."""

from __future__ import annotations

import pytest

from arpc.errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError
from arpc.frame import (
    CANCEL,
    CREDIT,
    GOAWAY,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESERVED_EMPTY,
    RESET,
    RESPONSE,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    encode,
)
from arpc.hello import EVERY_CAPABILITY, Capability
from tests.wire.extended import (
    LOCAL,
    NOT_CANCEL,
    THEIRS,
    Agree,
    accepted,
    agreed_sides,
    all_sides,
    back,
    base_sides,
    dialled,
    item,
    opened,
    said,
    with_flags,
)
from tests.wire.feeding import Side, Way, every_way, whole

# --- Cancel


@agreed_sides
@every_way
def test_a_call_that_is_cancelled(make: Agree, way: Way) -> None:
    """Header only; what comes for it is dropped."""
    side = make()
    seq = side.session.request(b"/m", b"", "token")
    side.sent()
    side.session.cancel(seq)
    side.session.cancel(seq)
    side.session.cancel(seq + 1)
    assert side.sent() == encode(CANCEL, 0, seq)
    assert not side.session.waits
    side.feed(way(encode(RESPONSE, 0, seq, b"/m", b"late")))
    assert side.answers == []
    assert side.session.dropped == 1


@agreed_sides
def test_a_call_that_was_answered_cannot_be_cancelled(make: Agree) -> None:
    side = make()
    seq = side.session.request(b"/m", b"", "token")
    side.sent()
    side.feed(whole(encode(RESPONSE, 0, seq, b"/m")))
    side.session.cancel(seq)
    assert side.sent() == b""


@pytest.mark.parametrize("make", [dialled, accepted])
def test_without_cancel_a_call_is_just_forgotten(make: Agree) -> None:
    side = make(with_flags(NOT_CANCEL))
    seq = side.session.request(b"/m", b"", "token")
    side.sent()
    side.session.cancel(seq)
    assert side.session.pending == {}
    assert side.sent() == b""


@agreed_sides
@every_way
def test_the_other_side_cancels(make: Agree, way: Way) -> None:
    """The owner is told, with the handler if one is suspended; the request itself has come before, in one chunk too."""
    side = make()
    side.session.begin(7, "handler")
    side.feed(way(encode(REQUEST, 0, 8, b"/m") + encode(CANCEL, 0, 8) + encode(CANCEL, 0, 7) + encode(CANCEL, 0, 99)))
    assert side.cancelled == [(8, None), (7, "handler"), (99, None)]
    assert side.order == ["messages", "cancel", "cancel", "cancel"]
    assert side.sent() == b""


@agreed_sides
@every_way
def test_a_cancel_before_its_request_cancels_nothing(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(encode(CANCEL, 0, 8) + encode(REQUEST, 0, 8, b"/m")))
    assert side.cancelled == [(8, None)]
    assert len(side.messages) == 1


# --- GoAway


@agreed_sides
@every_way
def test_the_other_side_goes_away(make: Agree, way: Way) -> None:
    side = make()
    assert side.session.going_away is None
    goaway = encode(GOAWAY, 0, 0, b"", "stopping: é\xff".encode("latin-1"))
    side.feed(way(encode(NOTIFY, 0, 1, b"/m") + goaway + encode(GOAWAY, 0, 0, b"", b"again") + goaway))
    assert side.reasons == ["stopping: ��"]
    assert side.session.going_away == "stopping: ��"
    assert len(side.messages) == 1


@agreed_sides
@every_way
def test_an_empty_reason_is_one_too(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(encode(GOAWAY, 0, 0) * 2))
    assert side.reasons == [""]
    seq = side.session.request(b"/m", b"", "token")
    assert side.frames() == [(REQUEST, 0, 0, seq, b"/m", b"")], "it is advice; whoever owns the session keeps to it"


@agreed_sides
def test_this_side_goes_away(make: Agree) -> None:
    side = make(THEIRS._replace(max_body=20))
    side.session.go_away("restart: é")
    side.session.go_away("a reason that is cut to what fits")
    assert side.frames() == [
        (GOAWAY, 0, 0, 0, b"", "restart: é".encode()),
        (GOAWAY, 0, 0, 0, b"", b"a reason that is cut"),
    ]
    side.session.close(ConnectionClosed("gone"))
    side.session.go_away("late")
    assert side.sent() == b""


@pytest.mark.parametrize("make", [dialled, accepted])
def test_who_does_not_know_it_is_not_told(make: Agree) -> None:
    side = make(with_flags(EVERY_CAPABILITY & ~Capability.GOAWAY))
    side.session.go_away("restart")
    assert side.sent() == b""


# --- EMPTY


@agreed_sides
def test_an_empty_item_is_sent(make: Agree) -> None:
    side = make()
    flow, _ = opened(side)
    side.sent()
    side.session.make_flows().send(flow, b"")
    assert side.frames() == [(LOCAL, 0, RESERVED_EMPTY, flow.id, b"/up", b"")]
    assert RESERVED_EMPTY == 4


@agreed_sides
@every_way
def test_empty_items_come(make: Agree, way: Way) -> None:
    """In the first frame and in the last one, too; without the bit an empty frame carries nothing."""
    side = make()
    flow, mine = opened(side)
    side.feed(way(item(5, empty=True) + item(5) + item(5, empty=True, end=True) + back(flow.id, empty=True) + item(6)))
    assert side.streams[5].heard == [b"", b"", None]
    assert side.streams[6].heard == []
    assert mine.heard == [b""]


@agreed_sides
@every_way
def test_the_bit_on_an_item_with_data_says_nothing(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5, b"1", empty=True) + encode(REQUEST, 0, 9, b"/m", b"", RESERVED_EMPTY)))
    assert side.streams[5].heard == [b"1"]
    assert len(side.messages) == 1


@pytest.mark.parametrize("make", [dialled, accepted])
@every_way
def test_where_empty_is_not_agreed_the_bit_means_nothing(make: Agree, way: Way) -> None:
    side = make(with_flags(EVERY_CAPABILITY & ~Capability.EMPTY))
    flow, _ = opened(side)
    with pytest.raises(LocalProtocolError, match="an empty item cannot be sent to this peer"):
        side.session.make_flows().send(flow, b"")
    side.feed(way(item(5, empty=True) + item(5, b"1") + item(5, empty=True, end=True)))
    assert side.streams[5].heard == [b"1", None]


# --- extension commands where they do not belong

NEEDED = {
    CANCEL: Capability.CANCEL,
    RESET: Capability.CANCEL,
    CREDIT: Capability.CREDIT,
    GOAWAY: Capability.GOAWAY,
}
every_command = pytest.mark.parametrize("command", NEEDED, ids=["cancel", "reset", "credit", "goaway"])
GOOD = encode(NOTIFY, 0, 1, b"/good")


@agreed_sides
@every_way
@every_command
def test_each_belongs_to_a_capability(make: Agree, way: Way, command: int) -> None:
    frame = encode(command, 0, 5, b"", bytes(4) if command == CREDIT else b"")
    side = make(with_flags(NEEDED[command]))
    side.feed(way(frame + GOOD))
    assert len(side.messages) == 1
    side = make(with_flags(EVERY_CAPABILITY & ~NEEDED[command]))
    with pytest.raises(
        RemoteProtocolError,
        match=f"^unknown command {command}: not an arpc peer, a newer one, or its Hello came too late$",
    ):
        side.feed(way(GOOD + frame + GOOD))
    assert len(side.messages) == 1, "what came before it is served"


@base_sides
@every_way
@every_command
def test_a_peer_that_never_said_hello_has_none(make: Agree, way: Way, command: int) -> None:
    side = make()
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        side.feed(way(GOOD + encode(command, 0, 5)))
    assert len(side.messages) == 1


@pytest.mark.parametrize("extensions", [True, False])
@every_way
@every_command
def test_nor_has_one_that_begins_with_them(extensions: bool, way: Way, command: int) -> None:
    acceptor = Side(extensions=extensions)
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        acceptor.feed(way(encode(command, 0, 5)))


@agreed_sides
@every_way
@pytest.mark.parametrize("command", [0, 11, 31, 63])
def test_other_commands_stay_unknown(make: Agree, way: Way, command: int) -> None:
    side = make()
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        side.feed(way(encode(command, 0, 5)))


@agreed_sides
@every_way
@every_command
def test_they_have_no_method(make: Agree, way: Way, command: int) -> None:
    side = make()
    with pytest.raises(RemoteProtocolError, match=f"^command {command} has no method, and carries one of 2 bytes$"):
        side.feed(way(GOOD + encode(command, 0, 5, b"/m", bytes(4))))
    assert len(side.messages) == 1


@agreed_sides
@every_way
def test_bits_that_mean_nothing_there_are_ignored(make: Agree, way: Way) -> None:
    """0x40 on all of them, 0x80 on those that are not about streams; flags and reserved bits."""
    side = make()
    side.feed(whole(item(5)))
    side.feed(
        way(
            encode(CANCEL | STREAM_LOCAL | STREAM_EOF, 3, 9, b"", b"and data", 5)
            + encode(GOAWAY | STREAM_LOCAL | STREAM_EOF, 3, 9, b"", b"bye", 5)
            + encode(CREDIT | STREAM_LOCAL | STREAM_EOF, 3, 5, b"", b"\1\0\0\0", 5)
            + encode(RESET | STREAM_LOCAL | STREAM_EOF, 3, 5, b"", b"text", 5)
        )
    )
    assert side.cancelled == [(9, None)]
    assert side.reasons == ["bye"]
    assert side.streams[5].heard == ["text"]
    assert side.streams[5].credited == 1


# --- around the Pong

HELLO = encode(PONG, 0, 0, data=said(THEIRS))
EMPTY_PONG = encode(PONG, 0, 0)


@every_way
def test_they_may_follow_right_after_the_pong(way: Way) -> None:
    side = Side()
    side.session.dial()
    frames = encode(CANCEL, 0, 9) + encode(CREDIT, 0, 1, b"", bytes(4)) + encode(RESET, 0, 1)
    side.feed(way(HELLO + frames + encode(GOAWAY, 0, 0, b"", b"bye") + GOOD))
    assert side.cancelled == [(9, None)]
    assert side.reasons == ["bye"]
    assert len(side.messages) == 1


@every_way
@every_command
@pytest.mark.parametrize("capable", [True, False], ids=["other capabilities", "base protocol"])
def test_not_after_a_pong_that_does_not_allow_them(way: Way, command: int, capable: bool) -> None:
    """However the bytes are cut; what came between is served, and nothing after."""
    pong = encode(PONG, 0, 0, data=said(with_flags(EVERY_CAPABILITY & ~NEEDED[command]))) if capable else EMPTY_PONG
    side = Side()
    side.session.dial()
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        side.feed(way(pong + GOOD + encode(command, 0, 5, b"", bytes(4)) + GOOD))
    assert side.session.ready
    assert len(side.messages) == 1


@every_command
@pytest.mark.parametrize("cut", [1, 8, 15, 16, 18])
def test_not_when_it_comes_in_pieces_with_the_pong(command: int, cut: int) -> None:
    """When its header was read the Pong was not."""
    side = Side()
    side.session.dial()
    frame = encode(command, 0, 5, b"", bytes(4))
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        side.feed([EMPTY_PONG + frame[:cut], frame[cut:] + GOOD])
    assert side.messages == []


@every_way
@every_command
def test_not_before_the_pong(way: Way, command: int) -> None:
    side = Side()
    side.session.dial()
    with pytest.raises(RemoteProtocolError, match=f"unknown command {command}"):
        side.feed(way(encode(command, 0, 5, b"", bytes(4)) + HELLO))


@every_way
@every_command
def test_right_after_the_hello_they_are_read_however_they_are_cut(way: Way, command: int) -> None:
    """A dialler waits for the Pong, so this one is at fault; it is told so, or served, but always the same."""

    def outcome(chunks: list[bytes]) -> object:
        side = Side()
        try:
            side.feed(chunks)
        except RemoteProtocolError as error:
            return str(error)
        return side.cancelled, side.reasons, len(side.messages)

    data = encode(PING, 0, 0, data=said(THEIRS)) + encode(command, 0, 5, b"", bytes(4)) + GOOD
    assert outcome(way(data)) == outcome([data])


@all_sides
def test_streams_need_no_capability(make: Agree) -> None:
    side = make(with_flags(Capability(0)))
    flow, listener = opened(side, b"1")
    side.feed(whole(item(5, b"1") + back(flow.id, b"2", end=True)))
    assert side.streams[5].heard == [b"1"]
    assert listener.heard == [b"2", None]
    side.session.make_flows().end(flow)
    assert [frame[0] for frame in side.frames()] == [LOCAL, LOCAL | STREAM_EOF]
    assert STREAM == 6
