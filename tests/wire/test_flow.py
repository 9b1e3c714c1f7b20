"""Streams on the wire: opening, items, half-closes, and frames for streams that are not there.

Resets and limits: test_flow_ends.py; credit: test_credit.py. Unless a test says otherwise it runs on both sides
of a connection, with a peer that knows the extensions and with one that does not.
"""

from __future__ import annotations

import pytest

from arpc.flow import ITEM
from arpc.frame import REQUEST, RESPONSE, STREAM, Frame, encode
from tests.wire.extended import (
    END,
    LOCAL,
    Agree,
    agreed_sides,
    all_sides,
    back,
    base_sides,
    count,
    item,
    opened,
)
from tests.wire.feeding import Way, every_way, whole

# --- streams that this side opens


@all_sides
def test_opening_sends_the_first_frame(make: Agree) -> None:
    side = make()
    before = side.session.request(b"/a", b"", None)
    side.sent()
    bare, _ = opened(side)
    first, _ = opened(side, b"1")
    whole_of_it, _ = opened(side, b"all", end=True)
    nothing, _ = opened(side, end=True)
    ids = [flow.id for flow in (bare, first, whole_of_it, nothing)]
    assert ids == sorted(set(ids)), "they grow"
    assert ids[0] > before, "and are counted with the calls"
    assert side.frames() == [
        (LOCAL, 0, 0, ids[0], b"/up", b""),
        (LOCAL, 0, 0, ids[1], b"/up", b"1"),
        (LOCAL | END, 0, 0, ids[2], b"/up", b"all"),
        (LOCAL | END, 0, 0, ids[3], b"/up", b""),
    ]
    assert [flow.sending for flow in (bare, first, whole_of_it, nothing)] == [True, True, False, False]
    assert count(side) == 4


@all_sides
@every_way
def test_items_go_and_come(make: Agree, way: Way) -> None:
    side = make()
    flow, listener = opened(side, b"0")
    flows = side.session.make_flows()
    flows.send(flow, b"1")
    flows.send(flow, b"2")
    flows.end(flow)
    flows.end(flow)
    frames: list[Frame] = [(LOCAL, 0, 0, flow.id, b"/up", data) for data in (b"0", b"1", b"2")]
    assert side.frames() == [*frames, (LOCAL | END, 0, 0, flow.id, b"/up", b"")], "one end"
    side.feed(way(back(flow.id, b"a") + back(flow.id, b"b") + back(flow.id, b"c", end=True)))
    assert listener.heard == [b"a", b"b", b"c", None]
    assert count(side) == 0
    assert side.session.dropped == 0


@all_sides
@every_way
def test_the_halves_are_independent(make: Agree, way: Way) -> None:
    """The other side ends first; this one goes on sending."""
    side = make()
    flow, listener = opened(side)
    side.feed(way(back(flow.id, end=True)))
    assert listener.heard == [None]
    assert count(side) == 1
    side.sent()
    side.session.make_flows().send(flow, b"still")
    side.session.make_flows().end(flow)
    assert [frame[5] for frame in side.frames()] == [b"still", b""]
    assert count(side) == 0


# --- streams that the other side opens


@all_sides
@every_way
def test_the_other_side_opens_a_stream(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5) + item(5, b"1") + item(5, b"2") + item(5, end=True)))
    assert side.openings == [(LOCAL, 0, 0, 5, b"/up", b"")]
    assert side.streams[5].heard == [b"1", b"2", None]
    flow = side.streams[5].flow
    assert flow is not None
    assert not flow.local
    flows = side.session.make_flows()
    flows.send(flow, b"answer")
    flows.end(flow)
    own = [frame for frame in side.frames() if frame[0] in {STREAM, STREAM | END}]
    assert own == [(STREAM, 0, 0, 5, b"/up", b"answer"), (STREAM | END, 0, 0, 5, b"/up", b"")], (
        "without the opener's bit"
    )
    assert count(side) == 0


@all_sides
@every_way
@pytest.mark.parametrize(
    ("first", "heard"),
    [(item(5), []), (item(5, b"1"), [b"1"]), (item(5, b"1", end=True), [b"1", None]), (item(5, end=True), [None])],
    ids=["bare", "item", "only item", "nothing"],
)
def test_the_first_frame_may_carry_all_of_it(make: Agree, way: Way, first: bytes, heard: list[object]) -> None:
    side = make()
    side.feed(way(first))
    assert len(side.openings) == 1
    assert side.streams[5].heard == heard


@all_sides
@every_way
def test_both_sides_may_use_one_number_at_once(make: Agree, way: Way) -> None:
    side = make()
    flow, mine = opened(side, b"0")
    side.feed(way(item(flow.id, b"theirs") + back(flow.id, b"mine") + item(flow.id, end=True)))
    assert side.streams[flow.id].heard == [b"theirs", None]
    assert mine.heard == [b"mine"]
    assert count(side) == 2


@all_sides
@every_way
def test_streams_do_not_mix(make: Agree, way: Way) -> None:
    side = make()
    ids = range(1, 20)
    side.feed(way(b"".join(item(id, b"%d" % (id * n)) for n in (1, 2, 3) for id in ids)))
    assert {id: stream.heard for id, stream in side.streams.items()} == {
        id: [b"%d" % (id * n) for n in (1, 2, 3)] for id in ids
    }


@all_sides
@every_way
def test_items_of_streams_that_are_open_come_among_other_things(make: Agree, way: Way) -> None:
    """In turns, of either side's streams, with calls and ends between them."""
    side = make()
    flow, mine = opened(side)
    seq = side.session.request(b"/m", b"", "token")
    side.feed(whole(item(5) + item(6)))
    turns = b"".join(item(id, b"%d" % n) + back(flow.id, b"%d" % n) for n in range(3) for id in (5, 6))
    call = encode(RESPONSE, 0, seq, b"/m", b"answer") + encode(REQUEST, 0, 9, b"/m", b"request")
    run = item(5, b"a") + item(5, b"b") + item(6, b"a")
    side.feed(way(turns + run + call + run + item(5, b"c", end=True) + item(6, b"c") + item(5, b"late")))
    assert side.streams[5].heard == [b"0", b"1", b"2", b"a", b"b", b"a", b"b", b"c", None]
    assert side.streams[6].heard == [b"0", b"1", b"2", b"a", b"a", b"c"]
    assert mine.heard == [b"0", b"0", b"1", b"1", b"2", b"2"]
    assert side.answers == [("token", 0, b"answer")]
    assert [message[5] for message in side.messages] == [b"request"]
    assert side.session.dropped == 1
    assert side.session.make_flows().queued == 20 * ITEM + sum(
        len(data) for stream in (*side.streams.values(), mine) for data in stream.heard if isinstance(data, bytes)
    )


# --- frames for streams that are not there


@all_sides
@every_way
@pytest.mark.parametrize(
    "late",
    [item(5, b"late"), item(5, end=True), item(5), item(5, b"late", end=True)],
    ids=["item", "end", "bare", "last"],
)
def test_what_comes_after_the_end_is_dropped_and_counted(make: Agree, way: Way, late: bytes) -> None:
    """Its half has ended: EOF twice, an item after EOF."""
    side = make()
    side.feed(way(item(5, b"1", end=True) + late * 3))
    assert side.streams[5].heard == [b"1", None]
    assert side.session.dropped == 3
    assert count(side) == 1, "this side's half is open"


@all_sides
@every_way
@pytest.mark.parametrize("late", [item(5, b"late"), item(5, end=True), item(5)], ids=["item", "end", "bare"])
def test_a_finished_stream_is_not_opened_again(make: Agree, way: Way, late: bytes) -> None:
    side = make()
    side.feed(whole(item(5, b"1", end=True)))
    flow = side.streams[5].flow
    assert flow is not None
    side.session.make_flows().end(flow)
    assert count(side) == 0
    side.sent()
    side.feed(way(late * 2))
    assert len(side.openings) == 1
    assert side.session.dropped == 2
    assert side.sent() == b""


@all_sides
@every_way
def test_frames_for_an_unknown_stream_of_this_side_are_dropped(make: Agree, way: Way) -> None:
    side = make()
    flow, listener = opened(side, b"0", end=True)
    side.sent()
    side.feed(way(back(flow.id + 7, b"x") + back(flow.id, end=True) + back(flow.id, b"late") + back(0, end=True)))
    assert listener.heard == [None]
    assert side.session.dropped == 3
    assert side.sent() == b""


@agreed_sides
@every_way
def test_an_unknown_number_below_the_highest_is_a_closed_stream(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(9, b"1") + item(8, b"2") + item(1) + item(10, b"3") + item(9, b"4")))
    assert list(side.streams) == [9, 10]
    assert side.streams[9].heard == [b"1", b"4"]
    assert side.session.dropped == 2


@base_sides
@every_way
def test_numbers_of_a_peer_without_extensions_come_in_any_order(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(9, b"1") + item(8, b"2") + item(0, b"0")))
    assert list(side.streams) == [9, 8, 0]
    assert side.session.dropped == 0


@all_sides
@every_way
@pytest.mark.parametrize("method", [b"", b"m" * 128])
def test_a_frame_without_a_proper_method_is_dropped(make: Agree, way: Way, method: bytes) -> None:
    side = make()
    side.feed(way(item(5, b"1") + item(5, b"2", method=method) + item(5, b"3")))
    assert side.streams[5].heard == [b"1", b"3"]
    assert side.session.dropped == 1
