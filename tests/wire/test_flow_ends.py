"""How streams end at once: resets from either side, limits, and the end of the connection.

Unless a test says otherwise it runs on both sides of a connection, with a peer that knows the
extensions and with one that does not.
"""

from __future__ import annotations

import pytest

from arpc.errors import ConnectionClosed, LimitExceeded, LocalProtocolError
from arpc.frame import RESET, STREAM, STREAM_LOCAL, encode
from tests.wire.extended import (
    END,
    LOCAL,
    THEIRS,
    Agree,
    agreed_sides,
    all_sides,
    back,
    base_sides,
    count,
    item,
    opened,
    reset,
)
from tests.wire.feeding import Way, every_way, whole

# --- resets


@agreed_sides
@pytest.mark.parametrize("text", ["", "no more of that: Zoë", "\ud800"])
@pytest.mark.parametrize("local", [True, False], ids=["ours", "theirs"])
def test_a_reset_ends_both_halves(make: Agree, text: str, local: bool) -> None:
    side = make()
    if local:
        flow, listener = opened(side, b"0")
    else:
        side.feed(whole(item(5, b"1")))
        listener = side.streams[5]
        assert listener.flow is not None
        flow = listener.flow
    side.sent()
    flows = side.session.make_flows()
    flows.reset(flow, text)
    flows.reset(flow, "again")
    flows.end(flow)
    bit = STREAM_LOCAL if local else 0
    assert side.frames() == [(RESET | bit, 0, 0, flow.id, b"", text.encode("utf-8", "replace"))]
    assert listener.heard[-1] == text
    assert count(side) == 0
    assert not flow.sending
    assert not flow.receiving


@agreed_sides
@every_way
def test_what_crosses_a_reset_is_dropped(make: Agree, way: Way) -> None:
    side = make()
    side.feed(whole(item(5, b"1")))
    flow = side.streams[5].flow
    assert flow is not None
    side.session.make_flows().reset(flow, "enough")
    mine, listener = opened(side)
    side.session.make_flows().reset(mine)
    side.sent()
    crossing = item(5, b"2") + item(5, end=True) + reset(5, "me too")
    side.feed(way(crossing + back(mine.id, b"x") + reset(mine.id, theirs=False) + item(5)))
    assert side.streams[5].heard == [b"1", "enough"]
    assert listener.heard == [""]
    assert side.session.dropped == 4, "items and ends; a reset is expected"
    assert side.sent() == b""
    assert len(side.openings) == 1


@agreed_sides
@every_way
@pytest.mark.parametrize("text", ["", "gave up: Zoë"])
def test_the_other_side_resets(make: Agree, way: Way, text: str) -> None:
    """The items before it are handed out; then both halves are gone."""
    side = make()
    flow, mine = opened(side)
    side.sent()
    side.feed(
        way(
            item(5, b"1") + reset(5, text) + item(5, b"late") + back(flow.id, b"a") + reset(flow.id, text, theirs=False)
        )
    )
    assert side.streams[5].heard == [b"1", text]
    assert mine.heard == [b"a", text]
    assert count(side) == 0
    assert side.session.dropped == 1
    flows = side.session.make_flows()
    flows.reset(flow)
    flows.end(flow)
    assert side.sent() == b"", "there is nothing left to end"


@agreed_sides
@every_way
def test_resets_of_what_is_not_there_are_ignored(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(reset(5, "x") + reset(5, theirs=False) + reset(0) + item(5, b"1")))
    assert side.streams[5].heard == [b"1"], "a reset does not use up its number"
    assert side.session.dropped == 0


@agreed_sides
@every_way
def test_a_reset_after_both_ends_or_one(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5, b"1", end=True) + reset(5, "after all")))
    assert side.streams[5].heard == [b"1", None, "after all"]
    assert count(side) == 0


@agreed_sides
@every_way
def test_the_text_of_a_reset_may_be_no_utf8(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5) + reset(5, b"\xffno")))
    assert side.streams[5].heard == ["�no"]


@agreed_sides
def test_the_text_of_a_reset_is_cut_to_what_the_other_side_takes(make: Agree) -> None:
    side = make(THEIRS._replace(max_body=10))
    flow, _ = opened(side)
    side.sent()
    side.session.make_flows().reset(flow, "0123456789 and more")
    [frame] = side.frames()
    assert frame[5] == b"0123456789"


@base_sides
@every_way
def test_without_cancel_a_reset_is_an_end_and_the_rest_is_thrown_away(make: Agree, way: Way) -> None:
    side = make()
    side.feed(whole(item(5, b"1")))
    flow = side.streams[5].flow
    assert flow is not None
    flows = side.session.make_flows()
    flows.reset(flow, "overflow")
    assert side.frames() == [(STREAM | END, 0, 0, 5, b"/up", b"")]
    assert count(side) == 0
    side.feed(way(item(5, b"2") + item(5, end=True)))
    assert side.streams[5].heard == [b"1", "overflow"]
    assert side.session.dropped == 2
    assert len(side.openings) == 1
    assert side.sent() == b"", "no frame after the end, ever"


@base_sides
def test_without_cancel_a_reset_after_our_end_says_nothing(make: Agree) -> None:
    side = make()
    flow, listener = opened(side, b"0", end=True)
    side.sent()
    side.session.make_flows().reset(flow)
    assert side.sent() == b""
    assert listener.heard == [""]
    assert count(side) == 0


@agreed_sides
def test_leaving_ends_what_is_open(make: Agree) -> None:
    side = make()
    flows = side.session.make_flows()
    both, _ = opened(side)
    sending, _ = opened(side)
    receiving, _ = opened(side, end=True)
    side.feed(whole(back(sending.id, end=True)))
    side.sent()
    for flow in (both, sending, receiving):
        flows.leave(flow)
        flows.leave(flow)
    assert [(frame[0], frame[3]) for frame in side.frames()] == [
        (RESET | STREAM_LOCAL, both.id),
        (LOCAL | END, sending.id),
        (RESET | STREAM_LOCAL, receiving.id),
    ]
    assert count(side) == 0


# --- limits


@all_sides
@every_way
def test_too_many_streams(make: Agree, way: Way) -> None:
    side = make(max_streams=2)
    side.feed(way(b"".join(item(id, b"1") for id in (1, 2, 3)) + item(2, b"2")))
    assert sorted(side.streams) == [1, 2]
    [refused] = side.frames()
    if side.session.remote.extended:
        assert refused == (RESET, 0, 0, 3, b"", b"too many streams: 2 are accepted (max_streams)")
    else:
        assert refused == (STREAM | END, 0, 0, 3, b"/up", b"")
    assert side.streams[2].heard == [b"1", b"2"], "the others do not notice"
    assert count(side) == 2


@all_sides
def test_a_stream_that_ends_makes_room(make: Agree) -> None:
    side = make(max_streams=1)
    for id in (1, 2, 3):
        side.feed(whole(item(id, b"1", end=True)))
        flow = side.streams[id].flow
        assert flow is not None
        side.session.make_flows().end(flow)
    assert sorted(side.streams) == [1, 2, 3]


@all_sides
def test_no_more_streams_than_the_other_side_accepts(make: Agree) -> None:
    side = make(THEIRS._replace(max_streams=2), max_streams=2)
    one, _ = opened(side)
    opened(side)
    side.sent()
    with pytest.raises(LimitExceeded, match=r"2 streams are open, as many as the other side accepts \(max_streams\)"):
        opened(side)
    assert side.sent() == b""
    side.session.make_flows().reset(one)
    opened(side)


@agreed_sides
def test_a_peer_may_accept_none(make: Agree) -> None:
    side = make(THEIRS._replace(max_streams=0))
    with pytest.raises(LimitExceeded, match=r"^0 streams are open"):
        opened(side)


@all_sides
def test_an_item_that_is_too_large_for_the_other_side_is_refused_here(make: Agree) -> None:
    side = make(THEIRS._replace(max_body=200), max_body=200)
    with pytest.raises(LimitExceeded, match=r"a body of 201 bytes"):
        opened(side, bytes(198))
    assert count(side) == 0
    flow, _ = opened(side, bytes(197))
    with pytest.raises(LimitExceeded, match=r"a body of 201 bytes"):
        side.session.make_flows().send(flow, bytes(198))
    side.session.make_flows().send(flow, bytes(197))
    assert [len(frame[5]) for frame in side.frames()] == [197, 197]


@all_sides
@every_way
def test_an_item_above_max_item_ends_its_stream_alone(make: Agree, way: Way) -> None:
    side = make(max_item=10)
    side.feed(way(item(5, bytes(10)) + item(6, b"1") + item(5, bytes(11)) + item(5, b"2") + item(6, b"2")))
    assert side.streams[5].heard == [bytes(10), "an item of 11 bytes: at most 10 are accepted (max_item)"]
    assert side.streams[6].heard == [b"1", b"2"]
    assert count(side) == 1
    assert side.session.dropped == 1


# --- the end


@all_sides
def test_after_the_end_nothing_goes_out(make: Agree) -> None:
    side = make()
    flow, _ = opened(side)
    side.session.close(ConnectionClosed("gone"))
    side.session.make_flows().end(flow)
    side.session.make_flows().reset(flow, "late")
    with pytest.raises(ConnectionClosed):
        opened(side)
    side.feed(whole(item(5, b"1")))
    assert side.openings == []
    assert side.sent() == b""


@base_sides
def test_an_empty_item_cannot_be_sent_to_a_peer_that_would_not_see_it(make: Agree) -> None:
    side = make()
    flow, _ = opened(side)
    side.sent()
    with pytest.raises(LocalProtocolError, match=r"an empty item cannot be sent to this peer"):
        side.session.make_flows().send(flow, b"")
    assert side.sent() == b""


@base_sides
@every_way
def test_an_empty_frame_of_a_peer_without_extensions_is_no_item(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5) * 3 + item(5, empty=True) + item(5, b"1")))
    assert side.streams[5].heard == [b"1"]


@all_sides
def test_items_ask_to_be_sent(make: Agree) -> None:
    side = make()
    flow, _ = opened(side)
    side.sent()
    side.outputs = 0
    side.session.make_flows().send(flow, b"1")
    assert side.outputs == 1
    side.session.make_flows().send(flow, bytes(70_000))
    assert side.session.bulky
    assert side.outputs == 2
    assert encode(LOCAL, 0, flow.id, b"/up", b"1") == b"".join(side.session.out[:2])


@all_sides
def test_closing_names_those_whose_streams_were_open(make: Agree) -> None:
    side = make()
    _, mine = opened(side)
    done, _ = opened(side)
    side.feed(whole(item(5, b"1") + back(done.id, end=True)))
    flows = side.session.make_flows()
    flows.end(done)
    assert flows.close() == [mine, side.streams[5]]
    assert count(side) == 0
    assert flows.close() == []
    assert list(flows) == []


@all_sides
@every_way
def test_an_item_above_max_item_may_be_the_last_one(make: Agree, way: Way) -> None:
    side = make(max_item=10)
    side.feed(way(item(5, b"1") + item(5, bytes(11), end=True) + item(6, bytes(11), end=True) + item(6, b"2")))
    too_large = "an item of 11 bytes: at most 10 are accepted (max_item)"
    assert side.streams[5].heard == [b"1", too_large]
    assert side.streams[6].heard == [too_large]
    assert count(side) == 0
    assert side.session.dropped == 1
