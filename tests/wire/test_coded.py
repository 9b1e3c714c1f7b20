"""A session with coders, from outside: what goes out is coded, what comes in is undone, in any chunks."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from arpc.coded import Carried
from arpc.coders import Appender, Coder, Gzip, MsgpackValues
from arpc.errors import RemoteProtocolError
from arpc.flow import Flow
from arpc.frame import FLAG_ERROR, NOTIFY, PING, PONG, REQUEST, RESERVED_META, STREAM, STREAM_LOCAL, encode
from arpc.metadata import Metadata, trailer
from tests.wire.coding import Counted, Named, Replacing, Xor, base_pair, pair
from tests.wire.feeding import Listener, Side, Way, bytewise, every_way, whole
from tests.wire.golden import CLIENT, EVERY, SERVER, Recorded

CHAINS: dict[str, list[Coder]] = {
    "gzip": [Gzip(0)],
    "xor": [Xor()],
    "appender": [Appender("app", 3)],
    "msgpack": [MsgpackValues()],
    "counted": [Counted()],
    "all": [Appender("app", 3), MsgpackValues(), Gzip(20), Xor(), Counted()],
}
every_chain = pytest.mark.parametrize("coders", CHAINS.values(), ids=CHAINS)
in_chunks = pytest.mark.parametrize("way", [whole, bytewise], ids=lambda way: way.__name__)
both_protocols = pytest.mark.parametrize("make", [pair, base_pair], ids=["extended", "base"])


def talk(one: Side, two: Side, way: Way) -> None:
    """Each hears what the other has to say, until nobody has."""
    while True:
        said, back = one.sent(), two.sent()
        if not said and not back:
            return
        two.feed(way(said))
        one.feed(way(back))


@every_chain
@both_protocols
@in_chunks
def test_all_that_two_sides_say(coders: list[Coder], make: Any, way: Way) -> None:
    one, two = make(coders)
    extended = make is pair
    for asking, asked in ((one, two), (two, one)):
        bodies = [b"", b"x", b"abc" * 1000, bytes(70_000)]
        for body in bodies:
            asking.session.request(b"/echo", body, body)
        asking.session.notify(b"/note", b"noted" * 100)
        talk(one, two, way)
        messages = asked.messages
        assert [message[5] for message in messages] == [*bodies, b"noted" * 100]
        assert [message[0] for message in messages] == [REQUEST] * len(bodies) + [NOTIFY]
        for message in messages[:-2]:
            asked.session.respond(message, message[5])
        asked.session.respond_error(messages[-2], "no" * 500, "bad", {"n": 1})
        talk(one, two, way)
        assert asking.answers[:-1] == [(body, 0, body) for body in bodies[:-1]]
        assert asking.answers[-1] == (bodies[-1], FLAG_ERROR, b"no" * 500)
        if extended:
            assert asking.metadata[-1] == Metadata(code="bad", details={"n": 1})
        assert not asking.session.pending
    assert one.session.dropped == two.session.dropped == 0


@every_chain
@both_protocols
@in_chunks
def test_streams(coders: list[Coder], make: Any, way: Way) -> None:
    one, two = make(coders)
    listener = Listener(None, one)
    flow = listener.flow = one.session.open_stream(b"/s", listener, b"first", end=False, trailer=b"")
    for size in (1, 500, 70_000):
        one.session.make_flows().send(flow, b"i" * size)
    talk(one, two, way)
    theirs = two.streams[flow.id]
    assert theirs.heard == [b"first", b"i", b"i" * 500, b"i" * 70_000]
    assert isinstance(theirs.flow, Flow)
    two.session.make_flows().send(theirs.flow, b"back")
    two.session.make_flows().end(theirs.flow)
    one.session.make_flows().end(flow)
    talk(one, two, way)
    assert listener.heard == [b"back", None]
    assert theirs.heard[-1] is None
    assert len(one.session.make_flows()) == len(two.session.make_flows()) == 0


@every_chain
def test_commands_of_the_extensions_are_coded_too(coders: list[Coder]) -> None:
    one, two = pair(coders)
    seq = one.session.request(b"/slow", b"", "token")
    one.session.cancel(seq)
    one.session.go_away("enough")
    listener = Listener(None, one)
    flow = one.session.open_stream(b"/s", listener, b"", end=False, trailer=b"")
    one.session.make_flows().reset(flow, "an error")
    talk(one, two, whole)
    assert two.cancelled == [(seq, None)]
    assert two.reasons == ["enough"]
    assert two.streams[flow.id].heard == ["an error"]


@every_chain
@every_way
def test_pings_pass_by(coders: list[Coder], way: Way) -> None:
    one, two = pair(coders)
    one.session.ping("ping")
    said = one.sent()
    assert said == encode(PING, 0, 0)
    two.feed(way(said))
    pong = two.sent()
    assert pong == encode(PONG, 0, 0)
    one.session.receive(pong)
    assert one.pongs == ["ping"]


# --- frames that Go has made (golden.json)


@every_way
@pytest.mark.parametrize("recorded", [one for one in EVERY if one.scene.startswith("coder_")], ids=str)
def test_frames_of_go(recorded: Recorded, way: Way) -> None:
    """Recorded with gzip's threshold 64, and an appender named meta on bit 1, before it."""
    chains: dict[str, list[Coder]] = {
        "coder_gzip": [Gzip(64)],
        "coder_appender": [Appender("meta", 1)],
        "coder_appender_gzip": [Appender("meta", 1), Gzip(64)],
    }
    side, _ = base_pair(chains[recorded.scene])
    if recorded.sender == SERVER:
        inner = gzip.decompress(recorded.data[5:])[3:11] if recorded.reserved & 0x80 else recorded.data[8:16]
        seq = int.from_bytes(inner, "little")
        side.session.pending[seq] = b"/echo", "token"
    side.feed(way(recorded.data))
    if recorded.sender == CLIENT:
        [message] = side.messages
        body, metadata = message[5], message[2]
    else:
        [(_, _, body)] = side.answers
        metadata = side.metadata[0] if side.metadata else None
    assert body.startswith((b"compress me ", b"both both ", b"tiny"))
    if "appender" in recorded.scene:
        assert isinstance(metadata, Metadata)
        assert b"trace" in metadata.values["meta"]


# --- values


@both_protocols
@pytest.mark.parametrize("coders", [[Appender("app", 3)], [MsgpackValues()], [Appender("app", 3), Gzip(0)]], ids=str)
def test_carried_values_are_metadata(coders: list[Coder], make: Any) -> None:
    one, two = make(coders)
    values = {"app": b"value"}
    one.session.request_with(b"/m", b"body", "token", Carried(b"", values))
    one.session.notify(b"/n", b"", trailer=Carried(b"", values))
    one.session.open_stream(b"/s", Listener(None, one), b"item", end=False, trailer=Carried(b"", values))
    talk(one, two, whole)
    request, notify = two.messages
    assert (request[5], request[2], notify[5], notify[2]) == (b"body", Metadata(values), b"", Metadata(values))
    assert request[2].size >= len(b"appvalue") + 2
    assert [opening[2] for opening in two.openings] == [Metadata(values)]
    assert [listener.heard for listener in two.streams.values()] == [[b"item"]]
    two.session.respond_with(request, b"answer", Carried(b"", {"app": b"back"}))
    talk(one, two, whole)
    assert one.answers == [("token", 0, b"answer")]
    assert one.metadata == [Metadata({"app": b"back"})]


@every_way
def test_carried_values_and_metadata_are_put_together(way: Way) -> None:
    one, two = pair([Appender("app", 3)])
    one.session.request_with(b"/m", b"body", "token", Carried(trailer({"user": "Ann"}, 5), {"app": b"value"}))
    two.feed(way(one.sent()))
    metadata = two.messages[0][2]
    assert dict(metadata.values) == {"user": "Ann", "app": b"value"}
    assert metadata.deadline is not None
    one.session.request_with(b"/m", b"body", "token", trailer({"user": "Ann"}, None))
    assert one.sent()[4] == RESERVED_META


def test_the_protocols_own_keys_are_not_carried() -> None:
    one, two = pair([MsgpackValues()])
    one.session.notify(b"/n", b"", trailer=Carried(b"", {"timeout": 1, "code": "x", "details": 2, "k": 3}))
    talk(one, two, whole)
    assert two.messages[0][2] == Metadata({"k": 3})


def test_values_on_frames_that_have_no_metadata_are_ignored() -> None:
    one, two = pair([MsgpackValues()])
    two.session.request(b"/m", b"", "token")
    one.session.append(encode(7, 0, 1), b"", Carried(b"", {"k": 1}))
    two.session.receive(one.sent())
    assert two.cancelled == [(1, None)]


def test_what_comes_before_values_is_begun_before() -> None:
    one, two = pair([Appender("app", 3)])
    for n in range(5):
        made = Carried(b"", {"app": b"%d" % n}) if n % 2 else b""
        one.session.notify(b"/n", b"%d" % n, trailer=made)
    two.session.receive(one.sent())
    assert [message[5] for message in two.messages] == [b"0", b"1", b"2", b"3", b"4"]


# --- what cannot be


def broken(side: Side, data: bytes, way: Way) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        side.feed(way(data))
    return caught.value


@every_way
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (b"", "is no frame"),
        (bytes(15), "is no frame"),
        (bytes(17), "is no frame"),
        (bytearray(16), "is no frame"),
        (None.__class__, "is no frame"),
        ((2000).to_bytes(4, "little") + bytes(2012), "over 1000 bytes (max_body)"),
        (ValueError("oh"), "the coder 'replacing' cannot decode a frame: oh"),
        (RemoteProtocolError("mine"), "mine"),
        (encode(31, 0, 1), "unknown command 31"),
    ],
    ids=str,
)
def test_what_a_coder_makes_is_not_trusted(made: Any, says: str, way: Way) -> None:
    side, _ = base_pair([Replacing(received=made)], max_body=1000)
    assert says in str(broken(side, encode(NOTIFY, 0, 1, b"/n"), way))


@every_way
def test_what_came_before_a_broken_frame_is_taken(way: Way) -> None:
    one, two = pair([Gzip(0)])
    one.session.notify(b"/n", b"before")
    data = one.sent() + bytes((1, 0, 0, 0, 0x80)) + b"\x1f" + bytes(11) + encode(NOTIFY, 0, 3, b"/n", b"after")
    assert "gzip" in str(broken(two, data, way))
    assert [message[5] for message in two.messages] == [b"before"]


@every_way
def test_a_claim_beyond_the_limit_ends_it(way: Way) -> None:
    side, _ = base_pair([Gzip(0)], max_body=100)
    data = encode(NOTIFY, 0, 1, b"/n", b"x") + encode(NOTIFY, 0, 1, b"/n", bytes(200))
    assert "claims a body of 202 bytes" in str(broken(side, data, way))
    assert len(side.messages) == 1


@every_way
@pytest.mark.parametrize(("bit", "says"), [(3, "3 (Encrypt)"), (0, "bit 0:"), (2, "bit 2:"), (7, "7 (Gzip)")])
def test_bits_that_belong_to_no_coder(bit: int, says: str, way: Way) -> None:
    side, _ = base_pair([Xor()])
    assert says in str(broken(side, Xor().encode(encode(NOTIFY, 0, 1, b"/n", b"", 1 << bit), {}), way))


@every_way
def test_a_coder_that_is_not_here_is_named(way: Way) -> None:
    """By a session without coders."""
    one, _ = base_pair([Gzip(0)])
    one.session.notify(b"/n", bytes(1000))
    other, _ = base_pair([])
    assert "7 (Gzip)" in str(broken(other, one.sent(), way))


@every_way
def test_the_end_of_the_session_is_the_end_of_reading(way: Way) -> None:
    one, two = pair([Named("a")])
    data = b"".join(encode(NOTIFY, 0, n, b"/n", b"%d" % n) for n in range(3))
    two.session.close(ValueError("over"))
    two.feed(way(data))
    assert two.messages == []
    one.session.close(ValueError("over"))
    one.session.append(encode(STREAM | STREAM_LOCAL, 0, 1, b"/s"))
    one.session.put(b"x")
    assert one.session.out == []


def test_an_end_in_the_middle_of_a_chunk() -> None:
    _, two = pair([Appender("app", 3)])
    other, _ = base_pair([Appender("app", 3)])
    for n in range(3):
        other.session.notify(b"/n", b"%d" % n, trailer=Carried(b"", {"app": b"x"}))
    taken = two.on_messages

    def ends(frames: list[Any]) -> None:
        taken(frames)
        two.session.close(ValueError("enough"))

    two.on_messages = ends  # type: ignore[method-assign]  # ends at the first message
    two.session.receive(other.sent())
    assert len(two.messages) == 1


def test_growth_is_told() -> None:
    one, two = pair([Gzip(0)])
    for _ in range(3):
        one.session.notify(b"/n", bytes(100_000))
    one.session.notify(b"/n", b"small")
    data = one.sent()
    two.session.receive(data)
    assert two.grown == 3 * (100_000 + 18) + 16 + 7 - len(data)
    assert len(two.batches) == 4  # each large one is counted before the next one is undone


@every_way
def test_what_came_before_an_unknown_command_is_taken(way: Way) -> None:
    side, _ = base_pair([Named("a")])
    data = encode(NOTIFY, 0, 1, b"/n", b"before") + encode(11, 0, 2) + encode(NOTIFY, 0, 3, b"/n", b"after")
    assert "unknown command 11" in str(broken(side, data, way))
    assert [message[5] for message in side.messages] == [b"before"]


def test_settling_twice_changes_nothing() -> None:
    side, _ = base_pair([Named("a")])
    limit = side.session.send_limit
    side.session.settle()
    assert (side.readies, side.session.send_limit) == (1, limit)
