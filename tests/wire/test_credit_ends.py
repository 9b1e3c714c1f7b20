"""Flow control when a stream is left, with peers that know none, in the Hello, and between two sides at random."""

from __future__ import annotations

from random import Random

import pytest

from arpc.errors import RemoteProtocolError
from arpc.flow import ITEM
from arpc.frame import CREDIT, PING, PONG, RESET, STREAM, encode
from arpc.hello import EVERY_CAPABILITY, Capability
from tests.wire.extended import (
    END,
    NOT_CANCEL,
    NOT_CREDIT,
    THEIRS,
    Agree,
    agreed_sides,
    all_sides,
    back,
    base_sides,
    count,
    flow_of,
    granted,
    item,
    opened,
    pair,
    said,
    with_flags,
)
from tests.wire.feeding import Side, Way, every_way, whole

# --- leaving a stream whose writer cannot be told: CREDIT without CANCEL

UNTOLD = with_flags(NOT_CANCEL)


@agreed_sides
@every_way
def test_a_stream_that_was_left_is_drained_until_its_end(make: Agree, way: Way) -> None:
    """Its writer, which only hears that this side's half has ended, does not wait for ever."""
    side = make(UNTOLD, stream_window=300)
    side.feed(whole(item(5, bytes(36)) * 3))
    flows = side.session.make_flows()
    flows.reset(flow_of(side, 5))
    assert side.frames() == [
        (STREAM | END, 0, 0, 5, b"/up", b""),
        (CREDIT, 0, 0, 5, b"", (300).to_bytes(4, "little")),
    ]
    assert count(side) == 1
    for _ in range(5):
        side.feed(whole(item(5, bytes(436))))
        assert granted(side) == {5: 500}
    side.feed(way(item(5, b"last", end=True)))
    assert count(side) == 0
    assert len(side.streams[5].heard) == 4, "it hears no more of it"


@agreed_sides
@every_way
def test_a_stream_of_this_side_is_drained_as_well(make: Agree, way: Way) -> None:
    side = make(UNTOLD, stream_window=300)
    flow, listener = opened(side, b"1", end=True)
    side.feed(whole(back(flow.id, bytes(136))))
    side.sent()
    side.session.make_flows().leave(flow)
    assert granted(side) == {flow.id: 200}, "the end was sent long ago"
    side.feed(way(back(flow.id, bytes(36)) + back(flow.id, end=True) + back(flow.id, b"late")))
    assert granted(side) == {flow.id: 100}
    assert count(side) == 0
    assert listener.heard == [bytes(136), ""]
    assert side.session.dropped == 1


@agreed_sides
@every_way
def test_a_stream_that_is_refused_is_drained_from_its_first_item_on(make: Agree, way: Way) -> None:
    side = make(UNTOLD, stream_window=300)
    side.accepts = False
    side.feed(way(item(5, bytes(436))))
    end, *credits = side.frames()
    assert end[:5] == (STREAM | END, 0, 0, 5, b"/up")
    assert sum(int.from_bytes(frame[5], "little") for frame in credits) == 500, "the writer has 300 again"


@agreed_sides
@every_way
def test_a_stream_that_is_refused_and_has_ended_is_forgotten(make: Agree, way: Way) -> None:
    side = make(UNTOLD)
    side.accepts = False
    side.feed(way(item(5, b"all of it", end=True)))
    assert count(side) == 0


@agreed_sides
def test_streams_beyond_max_streams_are_not_kept(make: Agree) -> None:
    """A peer that opens more than it may cannot fill this side's memory."""
    side = make(UNTOLD, max_streams=10)
    side.feed(whole(b"".join(item(id, b"1") for id in range(1, 1001))))
    assert len(side.streams) == 10
    assert count(side) <= 20


@agreed_sides
@every_way
def test_an_item_that_is_too_large_leaves_a_stream_to_be_drained(make: Agree, way: Way) -> None:
    side = make(UNTOLD, stream_window=300, max_item=100)
    side.feed(way(item(5, b"1") + item(5, bytes(336))))
    assert side.streams[5].heard == [b"1", "an item of 336 bytes: at most 100 are accepted (max_item)"]
    assert [frame[0] for frame in side.frames()] == [STREAM | END, CREDIT]
    side.session.make_flows()
    assert count(side) == 1


@agreed_sides
@every_way
def test_an_item_that_is_too_large_and_the_last_leaves_nothing(make: Agree, way: Way) -> None:
    side = make(UNTOLD, max_item=100)
    side.feed(way(item(5, bytes(336), end=True) + item(6, b"1")))
    assert side.streams[5].heard == ["an item of 336 bytes: at most 100 are accepted (max_item)"]
    assert count(side) == 1


# --- peers that know no flow control


@all_sides
@every_way
def test_without_credit_items_go_on_for_ever(make: Agree, way: Way) -> None:
    side = make(with_flags(NOT_CREDIT, window=10), stream_window=100)
    if side.session.credits:
        pytest.fail("CREDIT was not agreed")
    flow, _ = opened(side, b"1")
    for _ in range(100):
        side.session.make_flows().send(flow, bytes(100))
    assert flow.credit > 2**61
    side.sent()
    side.feed(way(item(5, bytes(100)) * 3))
    side.session.make_flows().read(flow_of(side, 5), ITEM + 100)
    side.session.make_flows().wanted(flow_of(side, 5))
    assert side.sent() == b"", "and no Credit is sent"
    assert len(side.streams[5].heard) == 3, "its owner takes what comes past the window"


@base_sides
@every_way
@pytest.mark.parametrize("window", [0, 1, 200])
def test_past_the_window_the_owner_decides(make: Agree, way: Way, window: int) -> None:
    side = make(stream_window=window)
    taken = max(window // 100, 1)
    side.feed(whole(item(5, bytes(36)) * taken))
    side.streams[5].overflows = False
    side.feed(way(item(5, bytes(36)) * 3 + item(6, b"1")))
    heard = side.streams[5].heard
    assert heard == [bytes(36)] * taken + ["overflow: items came faster than they were read"]
    assert side.frames() == [(STREAM | END, 0, 0, 5, b"/up", b"")]
    assert side.session.dropped == 2
    assert side.streams[6].heard == [b"1"]


@agreed_sides
def test_an_overflow_is_told_to_who_understands_it(make: Agree) -> None:
    side = make(with_flags(NOT_CREDIT), stream_window=1)
    side.feed(whole(item(5, b"1")))
    side.streams[5].overflows = False
    side.feed(whole(item(5, b"2")))
    assert side.frames() == [(RESET, 0, 0, 5, b"", b"overflow: items came faster than they were read")]


@base_sides
def test_room_is_told_of_when_half_a_window_is_free(make: Agree) -> None:
    side = make(stream_window=200)
    side.feed(whole(item(5, bytes(36)) * 4))
    flows, flow = side.session.make_flows(), flow_of(side, 5)
    assert flow.allowance == -200
    rooms: list[int] = []
    for _ in range(4):
        side.order.clear()
        flows.read(flow, ITEM + 36)
        rooms.append(side.order.count("room"))
    assert rooms == [0, 0, 1, 0]
    assert flows.queued == 0


# --- the Hello


@pytest.mark.parametrize("command", [PING, PONG], ids=["acceptor", "dialler"])
@every_way
def test_a_window_above_2_gib_ends_the_connection(command: int, way: Way) -> None:
    def told(window: int, capabilities: Capability = EVERY_CAPABILITY) -> Side:
        side = Side(capabilities=capabilities)
        if command == PONG:
            side.session.dial()
        side.feed(way(encode(command, 0, 0, data=said(THEIRS._replace(stream_window=window)))))
        return side

    with pytest.raises(RemoteProtocolError, match=f"^the Hello announces a window of {2**31 + 1}: over {2**31}$"):
        told(2**31 + 1)
    assert opened(told(2**31))[0].credit == 2**31
    assert told(0xFFFF_FFFF, capabilities=NOT_CREDIT).session.ready, "where it means nothing it does no harm"


# --- both sides together


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window", [0, 1, 70, 1000])
def test_what_waits_stays_within_the_window_and_one_item(window: int, seed: int) -> None:
    """A sender that sends whenever it may, a reader that reads when it likes: all items arrive, in order."""
    random = Random(seed)
    sender, reader = pair(stream_window=window)
    flow, _ = opened(sender)
    largest = 300
    sent: list[bytes] = []
    read = 0
    reader.feed(whole(sender.sent()))
    theirs = flow_of(reader, flow.id)
    while len(sent) < 300 or read < len(sent):
        if random.random() < 0.5 and len(sent) < 300:
            while flow.credit > 0 and len(sent) < 300:
                sent.append(random.randbytes(random.choice([0, 1, 1, largest])))
                sender.session.make_flows().send(flow, sent[-1])
        if random.random() < 0.7:
            reader.feed(whole(sender.sent()))
        if random.random() < 0.7:
            sender.feed(whole(reader.sent()))
        for _ in range(random.randrange(4)):
            if read < len(reader.streams[flow.id].heard):
                reader.session.make_flows().read(theirs, ITEM + len(reader.streams[flow.id].heard[read] or b""))
                read += 1
            else:
                reader.session.make_flows().wanted(theirs)
    assert reader.streams[flow.id].heard == sent
    flows = reader.session.make_flows()
    assert flows.queued == 0
    assert flows.peak <= window + ITEM + largest
    assert sender.session.dropped == reader.session.dropped == 0


@base_sides
def test_room_is_told_of_when_little_waits_again(make: Agree) -> None:
    """All streams together, however large their windows are."""
    side = make(stream_window=2**20)
    side.feed(whole(item(5, bytes(40_000)) + item(6, bytes(40_000))))
    assert side.session.make_flows().queued == 2 * 40_064
    side.order.clear()
    side.session.make_flows().read(flow_of(side, 5), ITEM + 40_000)
    assert side.order == ["room"]
    side.session.make_flows().read(flow_of(side, 6), ITEM + 40_000)
    assert side.order == ["room"]
