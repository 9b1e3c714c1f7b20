"""The session without its Hello (test_hello.py): calls, notifies, pings, refused streams, limits, the end.

Unless a test says otherwise it runs on both sides, and the bytes come whole, byte by byte, and with a tail.
"""

from __future__ import annotations

from struct import pack

import pytest

from arpc.errors import ConnectionClosed, DuplicateRequest, RemoteProtocolError
from arpc.frame import (
    FLAG_ASYNC,
    FLAG_ERROR,
    LARGE,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    Frame,
    encode,
)
from arpc.output import BATCH
from tests.wire.feeding import Make, Way, both_sides, bytewise, every_way

PONG_FRAME = encode(PONG, 0, 0)
GONE = ConnectionClosed("gone")


def answer(seq: int, method: bytes, data: bytes, flag: int = 0) -> bytes:
    return encode(RESPONSE, flag, seq, method, data)


# --- calls that this side makes


@both_sides
@every_way
def test_a_request_gets_its_answer(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/echo", b"hi", "token")
    assert side.frames() == [(REQUEST, 0, 0, seq, b"/echo", b"hi")]
    assert side.session.waits
    side.feed(way(answer(seq, b"/echo", b"ho")))
    assert side.answers == [("token", 0, b"ho")]
    assert not side.session.waits
    assert side.session.pending == {}


@both_sides
@every_way
def test_answers_and_errors_come_in_any_order(make: Make, way: Way) -> None:
    side = make()
    first = side.session.request(b"/a", b"", 1)
    second = side.session.request(b"/b", b"", 2, FLAG_ASYNC)
    assert second > first
    assert [frame[1] for frame in side.frames()] == [0, FLAG_ASYNC]
    side.feed(way(answer(second, b"/b", b"no", FLAG_ERROR | FLAG_ASYNC) + answer(first, b"/a", b"")))
    assert side.answers == [(2, FLAG_ERROR, b"no"), (1, 0, b"")]


@both_sides
@every_way
def test_an_answer_for_nobody_is_dropped_and_counted(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/a", b"", "token")
    for_nobody = [
        answer(seq + 1, b"/a", b"of no such request"),
        answer(seq, b"/b", b"of another method"),
        answer(seq, b"", b"of no method"),
        pack("<IBBBBQ", 2, 0, RESPONSE, 0, 3, seq) + b"/a",  # its method is longer than the frame
        answer(0, b"/a", b""),
    ]
    side.feed(way(b"".join(for_nobody)))
    assert side.answers == []
    assert side.session.dropped == len(for_nobody)
    assert side.session.waits


@both_sides
@every_way
def test_a_duplicate_answer_is_dropped_and_counted(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/a", b"", "token")
    other = side.session.request(b"/a", b"", "other")
    side.feed(way(answer(seq, b"/a", b"1") * 3 + answer(other, b"/a", b"2")))
    assert side.answers == [("token", 0, b"1"), ("other", 0, b"2")]
    assert side.session.dropped == 2


@both_sides
@pytest.mark.parametrize("before", [b"", encode(NOTIFY, 0, 1, b"/n")], ids=["first", "after a message"])
def test_an_answer_that_its_token_refuses_is_for_nobody(
    make: Make, before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a future whose caller has been cancelled; those after it are not affected."""
    side = make()
    first, second = (side.session.request(b"/a", b"", token) for token in ("gone", "here"))

    def resolve(token: str, data: bytes) -> None:
        if token == "gone":
            raise RuntimeError("nobody waits")
        side.answers.append((token, 0, data))

    monkeypatch.setattr(side, "resolve", resolve)
    side.feed([before + answer(first, b"/a", b"1") + answer(second, b"/a", b"2")])
    assert side.answers == [("here", 0, b"2")]
    assert side.session.dropped == 1


@both_sides
@every_way
def test_a_forgotten_request_takes_no_answer(make: Make, way: Way) -> None:
    side = make()
    unsent = side.session.request(b"/a", b"", 1)
    side.session.cancel(unsent)
    side.sent()
    late = side.session.request(b"/a", b"", 2)
    side.session.cancel(late)
    side.session.cancel(unsent)
    side.sent()
    side.feed(way(answer(unsent, b"/a", b"") + answer(late, b"/a", b"")))
    assert side.answers == []
    assert side.session.dropped == 2


@both_sides
def test_numbers_are_of_one_counter_for_the_process(make: Make) -> None:
    """A Go peer may answer an old connection's request on a new one: a number is never used twice."""
    one, two = make(), make()
    numbers = [side.session.request(b"/a", b"", None) for side in (one, two, one, two)]
    one.session.notify(b"/n", b"")
    numbers.append(one.frames()[-1][3])
    assert numbers == sorted(set(numbers))


# --- notifies


@both_sides
def test_a_notify_carries_the_async_flag_unless_told_otherwise(make: Make) -> None:
    side = make()
    side.session.notify(b"/n", b"x")
    side.session.notify(b"/n", b"y", flag=0)
    assert [(frame[0], frame[1], frame[4:]) for frame in side.frames()] == [
        (NOTIFY, FLAG_ASYNC, (b"/n", b"x")),
        (NOTIFY, 0, (b"/n", b"y")),
    ]
    assert not side.session.waits


# --- what the other side asks for


@both_sides
@every_way
def test_requests_and_notifies_are_handed_on_in_order(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/mine", b"", "token")
    frames: list[Frame] = [
        (REQUEST, 0, 0, 1, b"/a", b"1"),
        (NOTIFY, FLAG_ASYNC, 0, 2, b"/b", b"2"),
        (REQUEST, FLAG_ASYNC, 0, 1, b"", b"no method: the owner answers that, too"),
        (NOTIFY, 0, 0, 3, b"m" * 200, b""),
        (REQUEST, 0, 0, seq, b"/mine", b"its number is one of ours: each side has its own"),
    ]
    wire = [encode(command, flag, number, method, data) for command, flag, _, number, method, data in frames]
    wire.insert(2, answer(seq, b"/mine", b"ok"))
    wire.insert(1, encode(PING, 0, 0))
    side.feed(way(b"".join(wire)))
    assert side.messages == frames
    assert side.answers == [("token", 0, b"ok")]
    if way is not bytewise:
        assert side.order == ["messages", "answer", "messages"], "in few batches, and none of them passes the answer"


@both_sides
@every_way
@pytest.mark.parametrize("flag", [0, FLAG_ASYNC, FLAG_ERROR, 0xFF])
def test_an_answer_echoes_method_number_and_async_flag(make: Make, way: Way, flag: int) -> None:
    side = make()
    side.feed(way(encode(REQUEST, flag, 2**64 - 1, b"/a", b"1")))
    [request] = side.messages
    side.session.respond(request, b"one")
    side.session.respond_error(request, "wrong: \ud800ü")
    asked = flag & FLAG_ASYNC
    assert side.frames() == [
        (RESPONSE, asked, 0, 2**64 - 1, b"/a", b"one"),
        (RESPONSE, asked | FLAG_ERROR, 0, 2**64 - 1, b"/a", "wrong: ?ü".encode()),
    ]


@both_sides
@every_way
def test_a_request_with_the_number_of_a_running_one_ends_the_connection(make: Make, way: Way) -> None:
    side = make()
    side.session.begin(7, "handler")
    side.session.begin(8, "handler")
    data = encode(REQUEST, 0, 6, b"/a") + encode(NOTIFY, 0, 7, b"/n") + encode(REQUEST, 0, 7, b"/a")
    with pytest.raises(RemoteProtocolError, match="request 7 came while another request 7 is still running"):
        side.feed(way(data + encode(REQUEST, 0, 9, b"/after")))
    assert [frame[3:5] for frame in side.messages] == [(6, b"/a"), (7, b"/n")]


@both_sides
@every_way
def test_a_number_is_free_again_when_its_handler_has_ended(make: Make, way: Way) -> None:
    side = make()
    for _ in range(2):
        side.session.begin(7, "handler")
        side.session.begin(8, "handler")
        side.session.finish(7)
        assert side.session.serving == {8: "handler"}
        side.session.finish(8)
        side.session.finish(8)
        assert side.session.serving is None, "an idle connection keeps nothing for this"
    side.feed(way(encode(REQUEST, 0, 7, b"/a")))
    assert len(side.messages) == 1


@both_sides
def test_two_suspended_handlers_of_one_number_end_the_connection(make: Make) -> None:
    """They came in one chunk: when the second was read the first had not begun."""
    side = make()
    side.session.begin(7, "one")
    with pytest.raises(RemoteProtocolError, match=str(DuplicateRequest(7))):
        side.session.begin(7, "two")
    assert side.session.serving == {7: "one"}


# --- ping and pong


@both_sides
@every_way
def test_pongs_answer_pings_in_order(make: Make, way: Way) -> None:
    side = make()
    side.session.ping("one")
    side.session.ping("two")
    assert side.frames() == [(PING, 0, 0, 0, b"", b"")] * 2
    assert side.session.waits
    side.feed(way(PONG_FRAME + encode(PONG, 0, 0, data=b"whatever") + PONG_FRAME))
    assert side.pongs == ["one", "two"]
    assert side.session.dropped == 1, "the third answers nothing"
    assert not side.session.waits


@both_sides
@every_way
@pytest.mark.parametrize("data", [b"", b"x", b"arpc", b"\0" * 100])
def test_every_ping_is_answered_by_an_empty_pong(make: Make, way: Way, data: bytes) -> None:
    side = make()
    side.feed(way(encode(PING, 0, 0, data=data) * 2 + encode(PING, 0xFF, 9, b"method", data)))
    assert side.sent() == PONG_FRAME * 3
    assert len(PONG_FRAME) == 16


# --- collecting what is to be sent


@both_sides
def test_the_owner_is_asked_to_send_at_first_and_when_a_batch_is_full(make: Make) -> None:
    side = make()
    side.outputs = 0
    for _ in range(BATCH // 2):  # each of them has two parts
        side.session.notify(b"/n", b"x")
    assert 1 <= side.outputs <= 2
    before = side.outputs
    side.session.request(b"/a", b"", None)
    side.session.request(b"/a", b"", None)
    assert side.outputs > before
    assert len(side.frames()) == BATCH // 2 + 2
    before = side.outputs
    side.session.notify(b"/n", b"")
    assert side.outputs == before + 1


@both_sides
def test_answers_ask_to_be_sent_at_first(make: Make) -> None:
    side = make()
    request: Frame = (REQUEST, 0, 0, 1, b"/a", b"")
    side.outputs = 0
    for _ in range(10):
        side.session.respond(request, b"")
    assert 1 <= side.outputs <= 2
    assert len(side.frames()) == 10


@both_sides
@pytest.mark.parametrize("size", [1, LARGE - 2, LARGE + 1, LARGE * 2])
def test_a_body_is_not_copied(make: Make, size: int) -> None:
    side = make()
    data = bytes(size)
    side.session.request(b"/a", data, None)
    side.session.notify(b"/a", data)
    side.session.respond((REQUEST, 0, 0, 1, b"/a", b""), data)
    assert sum(chunk is data for chunk in side.session.out) == 3
    assert [frame[5] for frame in side.frames()] == [data] * 3


@both_sides
def test_what_was_taken_is_not_handed_out_again(make: Make) -> None:
    side = make()
    side.session.notify(b"/n", b"")
    assert len(side.session.take()) == 1
    assert side.session.take() == []
    assert side.session.out == []


@both_sides
def test_what_could_not_be_sent_yet_is_put_back(make: Make) -> None:
    side = make()
    for number in range(3):
        side.session.notify(b"/n", bytes([number]))
    _, _, *rest = side.session.take()
    side.session.notify(b"/n", b"meanwhile")
    side.session.put_back(rest)
    side.session.notify(b"/n", b"after")
    assert [frame[5] for frame in side.frames()] == [b"\1", b"\2", b"meanwhile", b"after"]


@both_sides
def test_large_bodies_are_told_to_the_owner(make: Make) -> None:
    side = make()
    side.session.request(b"/a", bytes(LARGE - 2), None)
    assert not side.session.bulky
    side.session.request(b"/a", bytes(LARGE + 1), None)
    assert side.session.bulky


# --- the end


@both_sides
def test_closing_returns_every_token_with_whether_it_may_have_left(make: Make) -> None:
    side = make()
    session = side.session
    session.request(b"/a", b"", "left")
    session.request(b"/a", b"", "forgotten")
    session.cancel(max(session.pending))
    session.ping("ping")
    side.sent()
    session.notify(b"/n", b"")
    session.request(b"/a", b"", "here")
    assert session.close(GONE) == [("left", True), ("here", False), ("ping", True)]
    assert session.closed is GONE
    assert session.close(ConnectionClosed("again")) == []
    assert session.closed is GONE
    assert not session.waits
    assert side.sent() == b"", "what had not left never does"


@both_sides
@every_way
def test_a_ping_that_nobody_waits_for_keeps_its_place(make: Make, way: Way) -> None:
    """Pongs carry no number: the first one is the first ping's, whoever still waits."""
    side = make()
    side.session.ping("first")
    side.session.ping("second")
    side.session.forget_ping("first")
    side.session.forget_ping("never sent")
    assert side.session.waits
    side.feed(way(encode(PONG, 0, 0)))
    assert side.pongs == []
    side.session.forget_ping("second")
    assert not side.session.waits
    assert side.session.close(GONE) == []


@both_sides
@every_way
def test_after_the_end_nothing_goes_in_or_out(make: Make, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/a", b"", "token")
    side.session.close(GONE)
    outputs = side.outputs
    side.feed(way(answer(seq, b"/a", b"") + encode(REQUEST, 0, 1, b"/b") + encode(PING, 0, 0) + encode(7, 0, 0)))
    side.session.respond((REQUEST, 0, 0, 1, b"/b", b""), b"late")
    side.session.respond_error((REQUEST, 0, 0, 1, b"/b", b""), "late")
    side.session.ping("late")
    with pytest.raises(ConnectionClosed):
        side.session.notify(b"/n", b"late")
    with pytest.raises(ConnectionClosed):
        side.session.request(b"/n", b"late", "late")
    assert not side.session.pending
    assert side.answers == []
    assert side.messages == []
    assert side.sent() == b""
    assert side.outputs == outputs


@both_sides
def test_two_sessions_talk(make: Make) -> None:
    """Both call at once, with each other's bytes and nothing else."""
    here, there = make(), make()
    for side, name in ((here, b"here"), (there, b"there")):
        for number in range(3):
            side.session.request(b"/who", name, number)
    for _ in range(2):
        for side, other in ((here, there), (there, here)):
            other.feed(bytewise(side.sent()))
            for request in other.messages:
                other.session.respond(request, b"not " + request[5])
            other.batches.clear()
    assert here.answers == [(number, 0, b"not here") for number in range(3)]
    assert there.answers == [(number, 0, b"not there") for number in range(3)]
    assert here.session.dropped == there.session.dropped == 0
