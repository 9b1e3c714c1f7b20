"""The recorded frames of the extensions: sessions still make exactly these bytes, and read them for what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from struct import unpack_from
from typing import Any

import msgspec
import pytest

from arpc.frame import FLAG_ERROR, HEADER_SIZE, REQUEST, Frame, encode
from arpc.hello import EVERY_CAPABILITY
from arpc.metadata import Metadata
from tests.wire.feeding import Way, bytewise, whole
from tests.wire.golden import CLIENT, SERVER, Recorded, load
from tests.wire.record_extensions import FILE, SCENES, Play, played, recorded

GOLDEN = load(FILE.name)
EVERY = [frame for frames in GOLDEN.values() for frame in frames]
every_scene = pytest.mark.parametrize("name", GOLDEN)
every_frame = pytest.mark.parametrize("frame", EVERY, ids=str)


def by_hand(data: bytes) -> Frame:
    """Read with nothing of ours but what PROTOCOL says."""
    length, reserved, command, flag, method_size, seq = unpack_from("<IBBBBQ", data)
    assert len(data) == 16 + length
    return command, flag, reserved, seq, data[16 : 16 + method_size], data[16 + method_size :]


# --- writing


def test_the_file_is_what_the_script_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == recorded()


@every_scene
@pytest.mark.parametrize("way", [whole, bytewise], ids=["whole", "bytewise"])
def test_sessions_make_these_bytes(name: str, way: Way) -> None:
    """However the other side's bytes come."""
    play = played(name, way)
    assert play.frames == [(frame.sender, frame.data) for frame in GOLDEN[name]]
    for side in (play.client, play.server):
        assert side.session.capabilities == EVERY_CAPABILITY
        assert side.session.dropped == 0
        assert side.session.splitter.error is None
        assert not side.session.waits


@every_frame
def test_encode_makes_these_bytes(frame: Recorded) -> None:
    command, flag, reserved, seq, method, data = by_hand(frame.data)
    assert encode(command, flag, seq, method, data, reserved) == frame.data


# --- what the bytes are, by PROTOCOL


@every_frame
def test_a_frame_is_what_protocol_says(frame: Recorded) -> None:
    command, flag, reserved, seq, method, data = by_hand(frame.data)
    assert frame.frame == (command, flag, reserved, seq, method, data)
    bare = command & 0x3F
    assert bare in range(1, 11)
    assert bool(method) is (bare in {1, 2, 3, 6})
    assert command == bare or bare in {6, 8, 9}
    assert not command & 0x40 or bare == 6
    assert reserved in {0, 2, 4}
    if reserved == 2:
        assert bare in {1, 2, 3, 6}
        size = int.from_bytes(data[-2:], "big")
        assert data[-size:][:4] == b"meta"
        assert isinstance(msgspec.msgpack.decode(data[-size + 4 : -2]), dict)
    if reserved == 4:
        assert bare == 6
        assert data == b""
    if bare == 9:
        assert len(data) == 4
    if bare in {4, 5}:
        assert data[:6] == b"arpc+\1"
        assert len(data) == 22


def test_every_capability_is_here() -> None:
    seen = Counter(frame.data[5] & 0x3F for frame in EVERY)
    assert set(seen) == set(range(1, 11))
    assert {0x08, 0x88, 0x09, 0x89} <= {frame.data[5] for frame in EVERY}
    assert {(frame.data[5] & 0x3F, frame.reserved) for frame in EVERY if frame.reserved} == {
        (1, 2),
        (2, 2),
        (3, 2),
        (6, 2),
        (6, 4),
    }
    for command in (0x06, 0x46, 0x86, 0xC6):
        assert {frame.sender for frame in EVERY if frame.data[5] == command} == {CLIENT, SERVER}
    assert list(GOLDEN) == list(SCENES)


def test_streams_and_calls_count_from_one_on_each_side() -> None:
    for frames in GOLDEN.values():
        for frame in frames:
            if frame.data[5] & 0x3F not in {4, 5, 10}:
                assert 1 <= int.from_bytes(frame.data[8:HEADER_SIZE], "little") <= 3


# --- reading

HEARD: dict[str, Callable[[Play], Any]] = {}
"""What was made of a scene by who read it."""


def heard(function: Callable[[Play], None]) -> Callable[[Play], None]:
    HEARD[function.__name__] = function
    return function


def listened(play: Play) -> list[list[bytes | str | None]]:
    """What the client heard on its streams, then the server."""
    return [stream.heard for side in (play.client, play.server) for stream in side.streams.values()]


@heard
def hello(play: Play) -> None:
    for side in (play.client, play.server):
        assert side.session.remote == (True, EVERY_CAPABILITY, 64 * 1024 * 1024 - 16, 65_536, 1024, ())
        assert side.readies == 1


@heard
def hello_twice(play: Play) -> None:
    hello(play)


@heard
def meta_call(play: Play) -> None:
    assert play.server.messages == [(REQUEST, 0, Metadata({"user": "Ann", "n": 1}), 1, b"/echo", b"hello")]
    assert play.client.answers == [("call", 0, b"hello")]
    assert play.client.metadata == [Metadata({"took": 0.5})]


@heard
def meta_notify(play: Play) -> None:
    [message] = play.server.messages
    assert message[4:] == (b"/note", b"")
    assert message[2].values["tracestate"] == "a=1"
    assert message[2].values["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


@heard
def meta_stream(play: Play) -> None:
    assert [opening[2] for opening in play.server.openings] == [Metadata({"user": "Ann"})] * 2
    assert listened(play) == [[], [], [], [b"first"]]


@heard
def deadline(play: Play) -> None:
    first, second = (message[2] for message in play.server.messages)
    [third] = [opening[2] for opening in play.server.openings]
    assert first.values == third.values == {}
    assert second.values == {"user": "Ann"}
    assert third.deadline - first.deadline == pytest.approx(28.5, abs=5)
    assert first.deadline - second.deadline == pytest.approx(1.5, abs=1.4)
    assert play.client.answers == [("call", 0, b"in time"), ("call", FLAG_ERROR, b"the deadline is over")]
    assert play.client.metadata == [Metadata(code="deadline_exceeded")]


@heard
def error(play: Play) -> None:
    assert play.client.answers == [("call", FLAG_ERROR, "no such person: Zoë".encode())] * 3
    assert play.client.metadata == [
        Metadata(code="not_found"),
        Metadata(code="invalid_argument", details={"field": "age", "least": 0}),
    ]


@heard
def cancel(play: Play) -> None:
    assert play.server.cancelled == [(1, None)]
    assert play.client.answers == []


@heard
def stream(play: Play) -> None:
    assert listened(play) == [[b"un", b"deux", None], [b"one", b"two", b"three", None]]


@heard
def stream_of_the_server(play: Play) -> None:
    assert listened(play) == [[b"one", None], [b"un", None]]


@heard
def stream_of_one_item(play: Play) -> None:
    assert listened(play) == [[b"answer", None], [b"all of it", None]]


@heard
def reset_clean(play: Play) -> None:
    assert listened(play) == [[""], [""], [b"one", ""], [b"one", ""]]


@heard
def reset_error(play: Play) -> None:
    why, internal = "changed my mind", "internal error"
    assert listened(play) == [[why], [b"un", internal], [b"one", why], [b"one", internal]]


@heard
def credit(play: Play) -> None:
    for side in (play.client, play.server):
        [one] = side.streams.values()
        assert one.heard == [bytes(192)] * 2
        assert one.credited == 1
        assert one.flow is not None
        assert one.flow.credit == one.flow.allowance == 1024


@heard
def goaway(play: Play) -> None:
    assert play.client.reasons == ["the server stops"]
    assert play.server.reasons == [""]


@heard
def empty(play: Play) -> None:
    assert listened(play) == [[b""], [b"", b"", None]]


@every_scene
@pytest.mark.parametrize("way", [whole, bytewise], ids=["whole", "bytewise"])
def test_sessions_read_these_bytes(name: str, way: Way) -> None:
    """They are those that :func:`played` delivers, as the tests above say."""
    HEARD[name](played(name, way))
