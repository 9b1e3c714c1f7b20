"""How two sides agree on coders: by their Hellos, or by configuration where one of them says none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpc.coded import CodedSession
from arpc.coders import Coder, Gzip, MsgpackValues
from arpc.errors import RemoteProtocolError
from arpc.frame import NOTIFY, PING, PONG, encode
from arpc.hello import EVERY_CAPABILITY, Capability, Offer, decode_hello, decode_offers, encode_hello
from tests.wire.coding import Counted, Named, base_pair, pair
from tests.wire.feeding import Side, Way, every_way

PLAIN = encode_hello(EVERY_CAPABILITY, 1000, 100_000, 10)


def used(side: Side) -> list[str]:
    """The names of the coders that this side uses."""
    assert isinstance(side.session, CodedSession)
    return [coder.name for coder in side.session._used]


def named(*names: str) -> list[Coder]:
    return [Named(name) for name in names]


def refused(side: Side, data: bytes, way: Way) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        side.feed(way(data))
    return str(caught.value)


# --- the list of coders


def test_without_coders_the_hello_is_what_it_was() -> None:
    assert len(PLAIN) == 22
    assert Side().session.dial() == encode(PING, 0, 0, data=encode_hello(EVERY_CAPABILITY, 262_144, 67_108_848, 65_536))


def test_the_list_as_bytes() -> None:
    data = encode_hello(Capability(0), 0, 0, 0, [Offer("gzip", False, b""), Offer("ä", True, b"salt")])
    assert data[22:] == b"\x02" + b"\x00\x04gzip\x00" + b"\x01\x02\xc3\xa4\x04salt"
    assert decode_offers(data + b"what comes later") == [Offer("gzip", False, b""), Offer("ä", True, b"salt")]
    hello = decode_hello(data)
    assert hello is not None
    assert hello.coders == ("gzip", "ä")


@given(st.lists(st.tuples(st.text(min_size=1, max_size=60), st.booleans(), st.binary(max_size=255)), max_size=20))
def test_any_list_comes_back(offers: list[tuple[str, bool, bytes]]) -> None:
    made = [Offer(*offer) for offer in offers]
    assert decode_offers(encode_hello(Capability(0), 0, 0, 0, made)) == made


@given(st.binary(max_size=60))
def test_any_tail_is_a_list_or_says_nothing(tail: bytes) -> None:
    hello = decode_hello(PLAIN + tail)
    assert hello is not None
    assert hello.coders == tuple(offer.name for offer in decode_offers(PLAIN + tail))


@pytest.mark.parametrize(
    "tail", [b"\x01", b"\x01\x00", b"\x01\x00\x04gzi", b"\x01\x00\x01a", b"\x01\x00\x01a\x02x", b"\x01\x00\x01\xff\x00"]
)
def test_a_broken_list_is_some_other_tail(tail: bytes) -> None:
    assert decode_offers(PLAIN + tail) == []
    side = Side(coders=named("a"))
    side.session.receive(encode(PING, 0, 0, data=PLAIN + tail))
    assert side.session.ready
    assert used(side) == []


# --- what is used


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (["a", "b"], ["a", "b"], ["a", "b"]),
        (["a"], ["b"], []),
        (["a", "b", "c"], ["c"], ["c"]),
        (["a", "b", "c"], ["x", "a", "y", "c"], ["a", "c"]),
    ],
)
def test_what_both_have_is_used(ours: list[str], theirs: list[str], both: list[str]) -> None:
    one, two = pair(named(*ours), named(*theirs))
    assert used(one) == used(two) == both
    assert one.session.remote.coders == tuple(theirs)
    assert two.session.remote.coders == tuple(ours)


def test_a_peer_without_coders_is_spoken_to_without() -> None:
    one, two = pair(named("a"), [])
    assert used(one) == []
    assert two.session.remote.coders == ("a",)
    one.session.notify(b"/n", b"x")
    two.session.receive(one.sent())
    assert two.messages[0][5] == b"x"


def test_a_base_peer_is_spoken_to_with_all() -> None:
    one, two = base_pair([*named("a"), MsgpackValues(), Named("b", needs_hello=True)])
    assert used(one) == used(two) == ["a", "msgpack-values"]


def test_a_coder_hears_what_the_other_said() -> None:
    one, two = pair([Counted()])
    for side, dialled in ((one, True), (two, False)):
        assert isinstance(side.session, CodedSession)
        [coder] = side.session._used
        assert isinstance(coder, Counted)
        assert coder.told == [(b"from 0", dialled)]


@every_way
def test_the_first_frames_behind_the_hello_are_undone(way: Way) -> None:
    one, two = Side(coders=[Counted()]), Side(coders=[Counted()])
    hello = one.session.dial()
    two.session.receive(hello)
    two.session.notify(b"/n", b"first")
    one.feed(way(two.sent()))
    assert [message[5] for message in one.messages] == [b"first"]


# --- what is refused: by both sides, each with an error of its own

CLASHES: list[tuple[Sequence[Coder], Sequence[Coder], str, str]] = [
    (
        [Named("a", required=True)],
        [Named("b")],
        "the coder 'a' is required here, and the other side has not registered it",
        "the other side requires the coder 'a': register it here, too",
    ),
    (
        [Named("a", required=True)],
        [],
        "the coder 'a' is required here",
        "the other side requires the coder 'a'",
    ),
    (
        named("a", "b"),
        named("b", "a"),
        "coders are registered in another order: a, b here, and b, a on the other side",
        "another order: b, a here, and a, b on the other side",
    ),
]


@every_way
@pytest.mark.parametrize("swap", [False, True], ids=["the-dialler", "the-acceptor"])
@pytest.mark.parametrize(("ours", "theirs", "here", "there"), CLASHES, ids=["other", "none", "order"])
def test_both_sides_say_what_is_wrong(
    ours: Sequence[Coder], theirs: Sequence[Coder], here: str, there: str, swap: bool, way: Way
) -> None:
    if swap:
        ours, theirs, here, there = theirs, ours, there, here
    one, two = Side(coders=ours), Side(coders=theirs)
    assert there in refused(two, one.session.dial(), way)
    assert here in refused(one, two.sent(), way)
    assert one.readies == two.readies == 0


class Choosy(Named):
    def __init__(self, error: Exception) -> None:
        super().__init__("choosy")
        self.error = error

    def accept(self, offer: bytes, *, dialled: bool) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "says"),
    [(ValueError("oh"), "the coder 'choosy' cannot be used here: oh"), (RemoteProtocolError("as it is"), "as it is")],
)
def test_a_coder_may_refuse_the_other_side(error: Exception, says: str) -> None:
    one, two = Side(coders=[Choosy(error)]), Side(coders=[Named("choosy")])
    two.session.receive(one.session.dial())
    assert refused(one, two.sent(), lambda data: [data]) == says


@every_way
def test_a_coder_that_needs_the_hello_refuses_base_peers(way: Way) -> None:
    coders = [Named("secret", required=True, needs_hello=True)]
    dialled = Side(coders=coders)
    dialled.session.dial()
    assert "has not said Hello" in refused(dialled, encode(PONG, 0, 0), way)
    accepted = Side(coders=coders)
    assert "has not said Hello" in refused(accepted, encode(NOTIFY, 0, 1, b"/n"), way)
    assert accepted.messages == []
    silent = Side(coders=coders)
    with pytest.raises(RemoteProtocolError, match="hello_timeout"):
        silent.session.settle()


@every_way
def test_nothing_is_served_before_a_coder_that_needs_the_hello(way: Way) -> None:
    side = Side(coders=[Named("secret", required=True, needs_hello=True)])
    side.session.dial()
    assert "has not said Hello" in refused(side, encode(NOTIFY, 0, 1, b"/n"), way)
    assert side.messages == []


@every_way
def test_a_base_peer_that_sends_before_it_answers(way: Way) -> None:
    other, _ = base_pair([Gzip(0)])
    other.session.notify(b"/n", b"a" * 1000)
    side = Side(coders=[Gzip(0)])
    side.session.dial()
    side.feed(way(other.sent() + encode(PONG, 0, 0)))
    assert [message[5] for message in side.messages] == [b"a" * 1000]
    assert side.session.ready


@every_way
def test_a_base_peer_that_dials(way: Way) -> None:
    other, _ = base_pair([Gzip(0)])
    other.session.notify(b"/n", b"a" * 1000)
    side = Side(coders=[Gzip(0)])
    side.feed(way(other.sent()))
    assert [message[5] for message in side.messages] == [b"a" * 1000]


# --- too late, and twice


def test_a_hello_after_it_was_decided_ends_the_connection() -> None:
    side = Side(coders=named("a"))
    side.session.settle()
    data = Side(coders=named("a")).session.dial()
    assert "came after it was decided" in refused(side, data, lambda data: [data])


def test_a_pong_after_hello_timeout_ends_the_connection() -> None:
    one, two = Side(coders=named("a")), Side(coders=named("a"))
    two.session.receive(one.session.dial())
    one.session.settle()
    assert "after hello_timeout" in refused(one, two.sent(), lambda data: [data])


def test_a_second_hello_changes_nothing() -> None:
    one, two = pair(named("a"))
    two.session.receive(Side(coders=named("b")).session.dial())
    [pong] = two.frames()
    hello = decode_hello(pong[5])
    assert hello is not None
    assert hello.flags == Capability(0)
    assert used(two) == ["a"]
    one.session.ping("x")
    two.session.receive(one.sent())
    assert two.frames()[0][5] == b""


def test_an_answer_to_an_ordinary_ping_that_has_a_hello() -> None:
    one, _ = pair(named("a"))
    one.session.ping("token")
    one.session.receive(encode(PONG, 0, 0, data=PLAIN))
    assert one.pongs == ["token"]
