"""What a coder refuses: whoever sends hears of it, and nothing of the frame is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from arpc.coded import Carried
from arpc.coders import Appender, Coder, Gzip, MsgpackValues
from arpc.errors import ConnectionClosed, EncodeError, LimitExceeded
from arpc.frame import FLAG_ERROR, NOTIFY, REQUEST, encode
from tests.wire.coding import Counted, Named, Refusing, RefusingLater, Replacing, base_pair, pair
from tests.wire.feeding import Listener, Side

REFUSED = "the coder 'refusing' cannot encode a message: a bad word"


def test_a_call_is_not_pending() -> None:
    side, _ = pair([Refusing(b"bad")])
    for trailer in (b"", Carried(b"", {"k": 1})):
        with pytest.raises(EncodeError, match=REFUSED):
            side.session.request_with(b"/m", b"bad", "token", trailer)
    with pytest.raises(EncodeError, match=REFUSED):
        side.session.request(b"/m", b"bad" * 10_000, "token")
    assert side.session.pending == {}
    assert side.session.out == []
    seq = side.session.request(b"/m", b"good", "token")
    assert list(side.session.pending) == [seq]


def test_a_notify() -> None:
    side, other = pair([Refusing(b"bad")])
    with pytest.raises(EncodeError, match=REFUSED):
        side.session.notify(b"/m", b"bad")
    side.session.notify(b"/m", b"good")
    other.session.receive(side.sent())
    assert [message[5] for message in other.messages] == [b"good"]


def test_a_stream_is_not_opened() -> None:
    side, other = pair([Refusing(b"bad")])
    with pytest.raises(EncodeError, match=REFUSED):
        side.session.open_stream(b"/bad", Listener(None, side), b"", end=False, trailer=b"")
    assert len(side.session.make_flows()) == 0
    flow = side.session.open_stream(b"/s", Listener(None, side), b"", end=False, trailer=b"")
    credit = flow.credit
    with pytest.raises(EncodeError, match=REFUSED):
        side.session.make_flows().send(flow, b"bad")
    assert flow.credit == credit
    side.session.make_flows().send(flow, b"good")
    other.session.receive(side.sent())
    assert other.streams[flow.id].heard == [b"good"]


def asked(coders: list[Coder]) -> tuple[Side, Side, Any]:
    """Two sides, and a request that the second one has."""
    one, two = pair(coders)
    one.session.request(b"/m", b"", "token")
    two.session.receive(one.sent())
    return one, two, two.messages[0]


def test_an_answer_that_is_refused_is_not_given_yet() -> None:
    one, two, request = asked([Refusing(b"bad")])
    with pytest.raises(EncodeError, match=REFUSED):
        two.session.respond(request, b"bad")
    with pytest.raises(EncodeError, match=REFUSED):
        two.session.respond_with(request, b"bad", b"")
    two.session.respond_error(request, "sorry")
    one.session.receive(two.sent())
    assert one.answers == [("token", FLAG_ERROR, b"sorry")]


@pytest.mark.parametrize("metadata", [False, True])
def test_an_answer_that_is_too_large_when_coded_becomes_an_error(metadata: bool) -> None:
    one, two, request = asked([MsgpackValues()])
    two.session._limit = 200  # type: ignore[attr-defined]  # of a coded session
    if metadata:
        two.session.respond_with(request, b"", Carried(b"", {"k": "x" * 300}))
    else:
        two.session.respond(request, b"x" * 300)
    one.session.receive(two.sent())
    [(token, flag, text)] = one.answers
    assert (token, flag) == ("token", FLAG_ERROR)
    assert text.startswith(b"the answer is too large: a body of 3")
    assert one.metadata[0].code == "resource_exhausted"


def test_an_error_that_is_refused_ends_the_connection() -> None:
    _, two, request = asked([Refusing(b"bad")])
    two.session.respond_error(request, "bad")
    assert [str(failure) for failure in two.failures] == [REFUSED]
    assert two.session.closed is two.failures[0]


def test_the_end_of_a_stream_that_is_refused_ends_the_connection() -> None:
    side, _ = pair([Refusing(b"\xc6")])  # local, EOF
    flow = side.session.open_stream(b"/s", Listener(None, side), b"", end=False, trailer=b"")
    side.session.make_flows().end(flow)
    assert [str(failure) for failure in side.failures] == [REFUSED]


def test_a_coder_with_a_state_that_refuses_ends_the_connection() -> None:
    """Over there it would miss a frame."""
    side, _ = pair([Counted(), RefusingLater(b"bad")])
    with pytest.raises(EncodeError, match=REFUSED):
        side.session.request(b"/m", b"bad", "token")
    assert [str(failure) for failure in side.failures] == [REFUSED]


@pytest.mark.parametrize(
    "made",
    ["text", b"", bytes(15), bytes(17), encode(4, 0, 0), encode(5, 0, 0), (1).to_bytes(4, "little") + bytes(12)],
    ids=repr,
)
def test_what_a_coder_makes_has_to_be_a_frame(made: Any) -> None:
    side, _ = pair([Replacing(sent=made)])
    with pytest.raises(EncodeError, match=r"the coder 'replacing' made something that is no frame \(docs/coders.md\)"):
        side.session.notify(b"/n", b"")


# --- sizes


def test_coders_have_room_in_what_the_other_side_accepts() -> None:
    one, two = pair([MsgpackValues(), Counted()], max_body=1000)
    room = 1000 - sum(coder.overhead for coder in (MsgpackValues(), Counted()))
    one.session.notify(b"/n", bytes(room - 2))
    two.session.receive(one.sent())
    assert len(two.messages[0][5]) == room - 2
    with pytest.raises(LimitExceeded, match=f"at most {room}"):
        one.session.notify(b"/n", bytes(room - 1))


def test_values_that_have_no_room_are_refused_before_a_state_has_moved() -> None:
    one, two = pair([Appender("app", 3), Counted()], max_body=1000)
    with pytest.raises(LimitExceeded, match="a body of 997 bytes, coded and with what coders add: the other side acc"):
        one.session.notify(b"/n", b"", trailer=Carried(b"", {"app": bytes(990)}))
    one.session.notify(b"/n", b"", trailer=Carried(b"", {"app": bytes(989)}))
    two.session.receive(one.sent())
    assert two.messages[0][2].values == {"app": bytes(989)}


def test_what_a_limit_of_a_coder_says_reaches_the_caller() -> None:
    side, _ = pair([Appender("app", 3)])
    with pytest.raises(LimitExceeded, match="65530 can be appended"):
        side.session.notify(b"/n", b"", trailer=Carried(b"", {"app": bytes(65_531)}))


def test_a_body_that_is_small_when_coded_is_judged_as_it_is() -> None:
    """The other side has to hold it when it is undone."""
    side, _ = pair([Gzip(0)], max_body=1000)
    with pytest.raises(LimitExceeded):
        side.session.request(b"/n", bytes(1001), None)


def test_answers_before_the_hello_is_answered_are_coded() -> None:
    other, _ = base_pair([Counted()])
    other.session.request(b"/m", b"", "token")
    side = Side(coders=[Counted()])
    side.session.dial()
    side.session.receive(other.sent())
    side.session.respond(side.messages[0], b"answer")
    assert side.sent() == b""
    side.session.receive(encode(5, 0, 0))
    other.session.receive(side.sent())
    assert other.answers == [("token", 0, b"answer")]


# --- the same for many


class Noting(Named):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__("noting")
        self.encoded = 0

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        self.encoded += 1
        return frame


def test_a_prepared_frame_goes_through_shared_coders_once() -> None:
    noting = Noting()
    sides = [pair([noting, Gzip(0), Counted()]) for _ in range(3)]
    one = sides[0][0].session
    assert one.shared == ("noting", "gzip")
    frame = one.prepare(b"/n", b"a" * 500, b"")
    for side, other in sides:
        side.session.send_prepared(frame, 502, b"")
        other.session.receive(side.sent())
        assert [(message[0], message[1], message[5]) for message in other.messages] == [(NOTIFY, 0, b"a" * 500)]
    assert noting.encoded == 1


def test_a_prepared_frame_without_coders() -> None:
    one, two = pair([], max_body=100)
    assert one.session.shared == ()
    one.session.send_prepared(one.session.prepare(b"/n", b"body", b""), 6, b"")
    assert one.sent()[:6] == b"\x06\0\0\0\0\x03"
    with pytest.raises(LimitExceeded):
        one.session.send_prepared(b"", 101, b"")
    assert two.messages == []
    one.session.close(ValueError("over"))
    with pytest.raises(ConnectionClosed):
        one.session.send_prepared(b"", 1, b"")


def test_a_prepared_frame_with_values() -> None:
    """Carried by a coder for all, or by one that has a state."""

    class Stateful(Appender):
        def start(self) -> Stateful:
            return Stateful("own", 4)

    one, two = pair([Appender("app", 3), Stateful("own", 4)])
    trailer = Carried(b"", {"app": b"v", "own": b"w"})
    one.session.send_prepared(one.session.prepare(b"/n", b"body", trailer), 6, trailer)
    two.session.receive(one.sent())
    assert two.messages[0][2].values == {"app": b"v", "own": b"w"}


def test_large_frames_are_handed_over_at_once() -> None:
    side, _ = pair([Named("a")])
    side.sent()
    before = side.outputs
    side.session.request(b"/m", bytes(100_000), "token")
    assert side.session.bulky
    assert side.session.held > 100_000
    assert side.outputs == before + 1
    assert side.session.out[0][5] == REQUEST
