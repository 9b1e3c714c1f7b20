"""Flow control: what a sender may send, what a receiver allows, and what happens to those who do not keep to it."""

from __future__ import annotations

import pytest

from arpc.errors import LocalProtocolError, RemoteProtocolError
from arpc.flow import ITEM
from arpc.frame import CREDIT, STREAM_LOCAL, encode
from tests.wire.extended import (
    THEIRS,
    Agree,
    agreed_sides,
    all_sides,
    back,
    count,
    credit,
    flow_of,
    granted,
    item,
    opened,
)
from tests.wire.feeding import Way, every_way, whole

# --- what this side may send


@agreed_sides
def test_each_half_starts_with_the_window_of_its_receiver(make: Agree) -> None:
    side = make(THEIRS._replace(stream_window=500), stream_window=300)
    flow, _ = opened(side)
    assert (flow.credit, flow.allowance) == (500, 300)
    side.feed(whole(item(5)))
    assert (flow_of(side, 5).credit, flow_of(side, 5).allowance) == (500, 300)


@agreed_sides
def test_an_item_costs_64_bytes_and_its_data(make: Agree) -> None:
    """Neither the method counts, nor what comes without an item."""
    side = make(THEIRS._replace(stream_window=1000))
    flow, _ = opened(side, bytes(36), method=b"/a/long/method")
    assert flow.credit == 900
    side.session.make_flows().send(flow, bytes(36))
    side.session.make_flows().send(flow, b"")
    assert flow.credit == 800 - 64
    side.session.make_flows().end(flow)
    assert flow.credit == 800 - 64
    bare, _ = opened(side)
    assert bare.credit == 1000


@agreed_sides
def test_one_item_may_overdraw(make: Agree) -> None:
    side = make(THEIRS._replace(stream_window=1))
    flow, _ = opened(side, bytes(5000))
    assert flow.credit == 1 - 5064, "and nothing more goes until it is above 0 again"


@agreed_sides
def test_window_0_waits_for_credit(make: Agree) -> None:
    side = make(THEIRS._replace(stream_window=0))
    with pytest.raises(LocalProtocolError, match="the first item has to wait for credit"):
        opened(side, b"1")
    assert side.sent() == b""
    assert count(side) == 0
    flow, listener = opened(side)
    assert flow.credit == 0
    side.feed(whole(credit(flow.id, 1, theirs=False)))
    assert flow.credit == 1
    assert listener.credited == 1


@agreed_sides
@every_way
def test_credit_wakes_the_sender_when_it_is_above_0(make: Agree, way: Way) -> None:
    side = make(THEIRS._replace(stream_window=100))
    flow, listener = opened(side, bytes(236))
    assert flow.credit == -200
    side.feed(whole(credit(flow.id, 199, theirs=False)))
    side.feed(whole(credit(flow.id, 1, theirs=False)))
    assert flow.credit == listener.credited == 0
    side.feed(way(credit(flow.id, 1, theirs=False)))
    assert flow.credit == listener.credited == 1


@agreed_sides
@every_way
def test_credit_on_a_stream_of_the_other_side(make: Agree, way: Way) -> None:
    """The two streams with one number have their own."""
    side = make()
    flow, _ = opened(side)
    side.feed(way(item(flow.id) + credit(flow.id, 5) + credit(flow.id, 7, theirs=False)))
    assert flow.credit == 1007
    assert flow_of(side, flow.id).credit == 1005


@agreed_sides
@every_way
def test_credit_of_0_changes_nothing(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5) + credit(5, 0) * 3))
    assert flow_of(side, 5).credit == 1000
    assert side.sent() == b""


@agreed_sides
@every_way
@pytest.mark.parametrize("more", [0xFFFF_FFFF, 2**31, 2**31 - 999])
def test_credit_for_more_than_2_gib_ends_the_connection(make: Agree, way: Way, more: int) -> None:
    side = make()
    with pytest.raises(RemoteProtocolError, match=rf"stream 5 is given credit for {1000 + more} bytes, over {2**31}"):
        side.feed(way(item(5, b"1") + credit(5, more)))
    assert side.streams[5].heard == [b"1"]


@agreed_sides
@every_way
def test_credit_for_2_gib_is_the_most(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5) + credit(5, 2**31 - 1000)))
    assert flow_of(side, 5).credit == 2**31
    with pytest.raises(RemoteProtocolError, match=f"{2**31 + 1} bytes"):
        side.session.make_flows().receive_credit(CREDIT | STREAM_LOCAL, 5, b"\1\0\0\0")


@agreed_sides
@every_way
@pytest.mark.parametrize("size", [0, 1, 3, 5, 8])
def test_credit_has_4_bytes(make: Agree, way: Way, size: int) -> None:
    """Whatever stream it is for."""
    side = make()
    with pytest.raises(RemoteProtocolError, match=f"^Credit carries 4 bytes, not {size}$"):
        side.feed(way(encode(CREDIT, 0, 99, b"", bytes(size))))


@agreed_sides
@every_way
def test_credit_for_what_is_not_there_is_ignored(make: Agree, way: Way) -> None:
    """Unknown, finished, reset; and for a half that has ended. However much it is."""
    side = make()
    finished, _ = opened(side, end=True)
    half, listener = opened(side, end=True)
    gone, _ = opened(side)
    side.session.make_flows().reset(gone)
    side.feed(whole(back(finished.id, end=True)))
    side.sent()
    ids = (finished.id, half.id, gone.id, 10**9)
    side.feed(way(b"".join(credit(id, 0xFFFF_FFFF, theirs=False) + credit(id, 1) for id in ids)))
    assert listener.credited == 0
    assert side.session.dropped == 0
    assert side.sent() == b""
    assert count(side) == 1


# --- what the other side may send


@agreed_sides
@every_way
def test_items_past_the_credit_end_the_connection(make: Agree, way: Way) -> None:
    """One may overdraw, and no more."""
    side = make(stream_window=100)
    side.feed(whole(item(5, bytes(35)) + item(5, bytes(5000))))
    assert [len(data or b"") for data in side.streams[5].heard] == [35, 5000]
    with pytest.raises(RemoteProtocolError, match=r"^stream 5 carries an item past its credit$"):
        side.feed(way(item(5, b"x")))
    assert len(side.streams[5].heard) == 2


@agreed_sides
@every_way
def test_items_of_one_byte_are_bounded_as_well(make: Agree, way: Way) -> None:
    side = make(stream_window=650)
    side.feed(whole(item(5, b"x") * 10))
    assert side.session.make_flows().queued == 650
    with pytest.raises(RemoteProtocolError, match="past its credit"):
        side.feed(way(item(5, b"x")))


@agreed_sides
@every_way
def test_empty_items_cost_as_well(make: Agree, way: Way) -> None:
    side = make(stream_window=128)
    side.feed(whole(item(5, empty=True) * 2 + item(5) * 10))
    assert side.streams[5].heard == [b"", b""]
    with pytest.raises(RemoteProtocolError, match="past its credit"):
        side.feed(way(item(5, empty=True)))


@agreed_sides
@every_way
def test_an_end_needs_no_credit(make: Agree, way: Way) -> None:
    side = make(stream_window=1)
    side.feed(way(item(5, b"x") + item(5) + item(5, end=True)))
    assert side.streams[5].heard == [b"x", None]


@agreed_sides
@every_way
def test_with_window_0_nothing_comes_before_it_is_wanted(make: Agree, way: Way) -> None:
    side = make(stream_window=0)
    side.feed(whole(item(5)))
    side.session.make_flows().wanted(flow_of(side, 5))
    side.session.make_flows().wanted(flow_of(side, 5))
    assert granted(side) == {5: 1}, "once"
    side.feed(whole(item(5, b"first")))
    assert granted(side) == {}
    side.session.make_flows().read(flow_of(side, 5), ITEM + 5)
    assert granted(side) == {5: 69}, "one more"
    side.feed(whole(item(5, bytes(1000))))
    with pytest.raises(RemoteProtocolError, match="past its credit"):
        side.feed(way(item(5, b"x")))


@agreed_sides
@every_way
def test_with_window_0_an_opening_item_is_past_the_credit(make: Agree, way: Way) -> None:
    side = make(stream_window=0)
    with pytest.raises(RemoteProtocolError, match="past its credit"):
        side.feed(way(item(5, b"x")))


@agreed_sides
def test_what_was_read_is_allowed_again_by_half_a_window(make: Agree) -> None:
    side = make(stream_window=1000)
    flows = side.session.make_flows()
    flow, _ = opened(side)
    side.sent()
    side.feed(whole(back(flow.id, bytes(36)) * 10 + item(5, bytes(36)) * 10))
    for n in range(1, 5):
        flows.read(flow, ITEM + 36)
        flows.read(flow_of(side, 5), ITEM + 36)
        assert granted(side) == {}, n
    flows.read(flow, ITEM + 36)
    assert granted(side) == {flow.id: 500}
    flows.read(flow_of(side, 5), ITEM + 36)
    assert granted(side) == {5: 500}
    assert (flow.allowance, flow.owed) == (500, 0)


@agreed_sides
def test_credit_says_who_opened_the_stream(make: Agree) -> None:
    side = make(stream_window=1)
    flow, _ = opened(side)
    side.sent()
    side.feed(whole(back(flow.id, b"1") + item(flow.id, b"1")))
    flows = side.session.make_flows()
    flows.read(flow, ITEM + 1)
    flows.read(flow_of(side, flow.id), ITEM + 1)
    data = (65).to_bytes(4, "little")
    assert side.frames() == [
        (CREDIT | STREAM_LOCAL, 0, 0, flow.id, b"", data),
        (CREDIT, 0, 0, flow.id, b"", data),
    ]


@agreed_sides
def test_nothing_is_allowed_on_a_half_that_has_ended(make: Agree) -> None:
    side = make(stream_window=100)
    side.feed(whole(item(5, bytes(36), end=True)))
    side.session.make_flows().read(flow_of(side, 5), ITEM + 36)
    side.session.make_flows().wanted(flow_of(side, 5))
    assert side.sent() == b""


@all_sides
def test_what_waits_is_counted(make: Agree) -> None:
    side = make(stream_window=10_000)
    flows = side.session.make_flows()
    side.feed(whole(item(5, bytes(36)) * 3 + item(6, bytes(136))))
    assert (flows.queued, flows.peak) == (500, 500)
    flows.read(flow_of(side, 5), ITEM + 36)
    side.feed(whole(item(6, bytes(6))))
    assert (flows.queued, flows.peak) == (470, 500)
    flows.drop(470)
    assert (flows.queued, flows.peak) == (0, 500)
    assert side.order[-1] == "room"
    assert ITEM == 64
