"""A Pong that comes after hello_timeout: this side has settled for the base protocol, the other one has not."""

from __future__ import annotations

import pytest

from arpc.errors import LocalProtocolError, RemoteProtocolError
from arpc.frame import (
    CANCEL,
    CREDIT,
    FLAG_ERROR,
    GOAWAY,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESERVED_META,
    RESET,
    RESPONSE,
    encode,
)
from arpc.hello import Capability
from arpc.metadata import Metadata
from arpc.trailer import make_trailer
from tests.wire.extended import THEIRS, item, opened, said
from tests.wire.feeding import Side, Way, every_way

LATE = encode(PONG, 0, 0, data=said(THEIRS))
CODE = make_trailer(b"\x81\xa4code\xa9not_found")
PLACE = make_trailer(b"\x81\xa5place\xa4here")


def late(pong: bytes = LATE) -> Side:
    """Has dialled, waited in vain, and then read the Pong."""
    side = waited()
    side.session.receive(pong)
    return side


def waited() -> Side:
    """Has dialled, and waited in vain."""
    side = Side()
    side.accepts = True
    assert side.session.dial()
    side.session.settle()
    assert side.session.ready
    return side


def test_what_is_sent_stays_the_base_protocol() -> None:
    side = late()
    session = side.session
    assert side.readies == 1
    assert session.capabilities == Capability(0)
    assert not session.remote
    assert not any((session.meta, session.can_cancel, session.credits, session.empties))
    session.cancel(session.request(b"/x", b"", "token"))
    session.go_away("enough")
    side.session.receive(encode(REQUEST, 0, 7, b"/bad"))
    session.respond_error(side.messages[0], "no", "not_found", {"a": 1})
    assert [(frame[0], frame[2], frame[5]) for frame in side.frames()] == [
        (REQUEST, 0, b""),
        (RESPONSE, 0, b"no"),
    ]


@every_way
@pytest.mark.parametrize("together", [True, False], ids=["in one chunk", "later"])
def test_metadata_are_read_from_then_on(way: Way, together: bool) -> None:
    side = waited()
    one, two, plain = (side.session.request(b"/x", b"", token) for token in ("one", "two", "plain"))
    side.sent()
    sent = (
        encode(RESPONSE, FLAG_ERROR, one, b"/x", b"no such user" + CODE, RESERVED_META)
        + encode(RESPONSE, 0, two, b"/x", b"answer" + PLACE, RESERVED_META)
        + encode(RESPONSE, 0, plain, b"/x", b"plain")
        + encode(REQUEST, 0, 7, b"/asked", b"body" + PLACE, RESERVED_META)
        + encode(NOTIFY, 0, 8, b"/told", b"body" + PLACE, RESERVED_META)
    )
    if not together:
        side.session.receive(LATE)
    side.feed(way(LATE + sent if together else sent))
    assert sorted(side.answers) == [
        ("one", FLAG_ERROR, b"no such user"),
        ("plain", 0, b"plain"),
        ("two", 0, b"answer"),
    ]
    assert [metadata for metadata in side.metadata if metadata is not None] == [
        Metadata(code="not_found"),
        Metadata({"place": "here"}),
    ]
    assert [(message[4], message[5]) for message in side.messages] == [(b"/asked", b"body"), (b"/told", b"body")]
    assert all(isinstance(message[2], Metadata) for message in side.messages)


def test_a_late_pong_of_the_base_protocol_changes_nothing() -> None:
    side = late(encode(PONG, 0, 0))
    seq = side.session.request(b"/x", b"", "token")
    side.session.receive(encode(RESPONSE, FLAG_ERROR, seq, b"/x", b"text" + CODE, RESERVED_META))
    assert side.answers == [("token", FLAG_ERROR, b"text" + CODE)]  # the bit is somebody else's


def test_pongs_after_the_late_one_answer_pings_in_order() -> None:
    side = waited()
    side.session.ping("first")
    side.session.receive(LATE)
    assert side.pongs == []
    side.session.receive(encode(PONG, 0, 0))
    assert side.pongs == ["first"]
    side.session.receive(LATE)  # one for nothing
    assert side.session.dropped == 1


def test_a_stream_is_not_opened_here() -> None:
    side = late()
    with pytest.raises(LocalProtocolError, match=r"^no streams here: the other side answered the Hello after"):
        opened(side, b"item")
    assert side.frames() == []


def test_a_stream_that_was_open_by_then_ends_the_connection() -> None:
    side = waited()
    opened(side, b"item")
    with pytest.raises(RemoteProtocolError, match=r"^a stream is open, and the other side answered the Hello after"):
        side.session.receive(LATE)


@every_way
def test_a_stream_from_there_ends_the_connection_and_says_why(way: Way) -> None:
    side = late()
    with pytest.raises(RemoteProtocolError, match=r"^a stream is opened, and the other side answered the Hello after"):
        side.feed(way(item(9, b"first")))
    assert side.openings == []


@every_way
@pytest.mark.parametrize("command", [CANCEL, RESET, CREDIT, GOAWAY])
def test_a_command_of_the_extensions_ends_the_connection_and_says_why(command: int, way: Way) -> None:
    side = late()
    with pytest.raises(RemoteProtocolError, match=f"^unknown command {command}: .*its Hello came too late$"):
        side.feed(way(encode(PING, 0, 0) + encode(command, 0, 1)))
    assert [frame[0] for frame in side.frames()][-1] == PONG  # what came before is served
