"""Every recorded frame is read, and each that is ours to send is made again, bit for bit, by the splitter and session.

The same over real sockets: test_golden_sockets.py.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from struct import unpack_from

import pytest

from arpc.errors import RemoteProtocolError
from arpc.frame import (
    FLAG_ASYNC,
    FLAG_ERROR,
    HEADER,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    Frame,
    Splitter,
    encode,
)
from tests.wire.feeding import TAIL, Side, Way, acceptor, dialler, every_way, split, with_tail
from tests.wire.golden import CLIENT, EVERY, OURS_TO_SEND, SCENES, SERVER, Recorded, bytes_of

GZIP = 0x80
READABLE = [recorded for recorded in EVERY if not recorded.reserved & GZIP]
every_readable = pytest.mark.parametrize("recorded", READABLE, ids=str)
every_ours = pytest.mark.parametrize("recorded", OURS_TO_SEND, ids=str)


def number_next(monkeypatch: pytest.MonkeyPatch, seq: int) -> None:
    """The next request or notify of any session carries this number."""
    monkeypatch.setattr("arpc.session.next_seq", iter((seq,)).__next__)


def by_hand(data: bytes) -> Frame:
    """Read with nothing of ours but what PROTOCOL says."""
    length, reserved, command, flag, method_size, seq = unpack_from("<IBBBBQ", data)
    assert len(data) == 16 + length
    return command, flag, reserved, seq, data[16 : 16 + method_size], data[16 + method_size :]


# --- reading


def test_all_scenes_are_here() -> None:
    counted = Counter(recorded.scene.split("_")[0] for recorded in EVERY)
    assert counted == Counter(call=12, notify=1, server=5, ping=2, stream=11, broadcast=1, coder=6, pubsub=16)
    assert len(OURS_TO_SEND) == len(EVERY) - 11 - 6


@every_way
@every_readable
def test_a_frame_is_read(recorded: Recorded, way: Way) -> None:
    splitter = Splitter(1000)
    assert split(splitter, way(recorded.data)) == [by_hand(recorded.data)]
    assert splitter.error is None
    assert splitter.unfinished == (len(TAIL) if way is with_tail else 0)


@every_way
@pytest.mark.parametrize("sender", [CLIENT, SERVER])
def test_all_that_one_side_sent_is_read(sender: str, way: Way) -> None:
    said = [recorded.data for recorded in READABLE if recorded.sender == sender]
    assert split(Splitter(1000), way(b"".join(said))) == [by_hand(data) for data in said]


@every_way
@pytest.mark.parametrize("recorded", [recorded for recorded in EVERY if recorded.reserved & GZIP], ids=str)
def test_a_compressed_frame_is_read_when_its_coder_is_undone(recorded: Recorded, way: Way) -> None:
    """Gzip hides the frame from byte 5 on. Who has no such coder says so, and closes."""
    splitter = Splitter(1000)
    assert split(splitter, way(recorded.data)) == []
    assert isinstance(splitter.error, RemoteProtocolError)
    assert "on reserved bit" in str(splitter.error)
    assert "7 (Gzip)" in str(splitter.error)

    inflated = gzip.decompress(recorded.data[5:])
    data = (len(inflated) - 11).to_bytes(4, "little") + bytes([recorded.reserved & ~GZIP]) + inflated
    [frame] = split(Splitter(1000), way(data))
    assert frame == by_hand(data)
    assert frame[0] == (REQUEST if recorded.sender == CLIENT else RESPONSE)
    assert frame[4] == b"/echo"
    assert frame[5].startswith({"coder_gzip": b"compress me ", "coder_appender_gzip": b"both both "}[recorded.scene])


@every_way
def test_the_sessions_of_both_sides_read_every_scene(way: Way) -> None:
    for scene, frames in SCENES.items():
        for make, sender in ((acceptor, CLIENT), (dialler, SERVER)):
            said = [recorded.data for recorded in frames if recorded.sender == sender and not recorded.reserved & GZIP]
            side = make()
            side.feed(way(b"".join(said)))
            asked = [frame for frame in map(by_hand, said) if frame[0] in {REQUEST, NOTIFY}]
            assert side.messages == asked, scene


@every_way
def test_a_stream_of_gos_is_refused_once(way: Way) -> None:
    server = acceptor()
    server.feed(way(bytes_of("stream_from_client", CLIENT)))
    assert server.sent() == SCENES["stream_from_client"][-1].data, "the same EOF by which Go ends its half"
    client = dialler()
    client.feed(way(bytes_of("stream_from_server", SERVER)))
    assert client.sent() == SCENES["stream_from_server"][-1].data


def test_the_bits_of_streams() -> None:
    commands = {recorded.data[5] for recorded in EVERY if recorded.scene.startswith("stream_")}
    assert commands == {STREAM, STREAM | STREAM_LOCAL, STREAM | STREAM_EOF, STREAM | STREAM_LOCAL | STREAM_EOF}


# --- writing


@every_readable
def test_encode_makes_the_same_bytes(recorded: Recorded) -> None:
    command, flag, reserved, seq, method, data = recorded.frame
    assert encode(command, flag, seq, method, data, reserved) == recorded.data


def say(side: Side, frame: Frame) -> None:
    """Has the session send this frame, as it does for its owner."""
    command, flag, _, seq, method, data = frame
    if command == REQUEST:
        assert side.session.request(method, data, None, flag) == seq
    elif command == NOTIFY:
        side.session.notify(method, data, flag)
    elif command == PING:
        side.session.ping(None)
    elif command == PONG:
        side.feed([encode(PING, 0, 0)])
    elif flag & FLAG_ERROR:
        side.session.respond_error((REQUEST, flag & FLAG_ASYNC, 0, seq, method, b""), data.decode())
    else:
        side.session.respond((REQUEST, flag, 0, seq, method, b""), data)


@every_ours
@pytest.mark.parametrize("make", [dialler, acceptor], ids=["dialler", "acceptor"])
def test_a_session_makes_the_same_bytes(
    recorded: Recorded, make: Callable[[], Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    side = make()
    number_next(monkeypatch, recorded.frame[3])
    say(side, recorded.frame)
    assert side.sent() == recorded.data


ANSWERED = [name for name in SCENES if name.startswith(("call_", "pubsub")) or name in {"ping_pong", "server_call"}]


@every_way
@pytest.mark.parametrize("scene", ANSWERED)
def test_a_scene_is_played_through_by_two_sessions(scene: str, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame by frame as it was recorded: each side makes its bytes, and takes the other's for what they are."""
    sides = {CLIENT: dialler(), SERVER: acceptor()}
    for recorded in SCENES[scene]:
        frame = recorded.frame
        here = sides[recorded.sender]
        there = sides[SERVER if recorded.sender == CLIENT else CLIENT]
        if frame[0] != PONG:  # that one is on its way since the ping came
            number_next(monkeypatch, frame[3])
            say(here, frame)
        data = here.sent()
        assert data == recorded.data
        there.feed(way(data) if way is not with_tail else [data])
        if frame[0] in {REQUEST, NOTIFY}:
            assert there.messages[-1] == frame
        elif frame[0] == RESPONSE:
            assert there.answers[-1] == (None, frame[1] & FLAG_ERROR, frame[5])
        elif frame[0] == PONG:
            assert there.pongs == [None]
    for side in sides.values():
        assert not side.session.waits
        assert side.session.dropped == 0


def test_the_header_is_that_of_protocol() -> None:
    assert HEADER.format == "<IBBBBQ"
