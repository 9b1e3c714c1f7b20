"""The Hello in all its crossings (PROTOCOL part 2): who says what, when it counts, and what it binds."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

import pytest

from arpc.errors import ConnectionClosed, RemoteProtocolError
from arpc.frame import NOTIFY, PING, PONG, REQUEST, RESPONSE, STREAM, STREAM_LOCAL, encode
from arpc.hello import BASE, Capabilities, Capability, decode_hello, encode_hello
from arpc.options import Options
from tests.wire.feeding import TAIL, Side, Way, every_way, with_tail

NOTHING = Capability(0)
OFFERED = Capability.META | Capability.CANCEL
EMPTY_PONG = encode(PONG, 0, 0)
PLAIN_PING = encode(PING, 0, 0)
OURS = Options(max_body=1000, max_streams=10, stream_window=4096)
THEIRS = Capabilities(True, Capability.META | Capability.EMPTY, 500, 20, 8192)

every_start = pytest.mark.parametrize("extensions", [True, False], ids=["extended", "base"])


def hello(command: int, remote: Capabilities = THEIRS, *, version: int = 1, tail: bytes = b"") -> bytes:
    """Written out here, byte for byte, as PROTOCOL has it."""
    numbers = pack("<IIII", remote.flags, remote.stream_window, remote.max_body, remote.max_streams)
    return encode(command, 0, 0, data=b"arpc+" + bytes([version]) + numbers + tail)


def ours(command: int, flags: Capability = NOTHING) -> bytes:
    return hello(command, Capabilities(True, flags, OURS.max_body, OURS.max_streams, OURS.stream_window))


def announcing(
    *, extensions: bool = True, capabilities: Capability = OFFERED, on_ready: Callable[[Side], None] | None = None
) -> Side:
    """A side that announces OURS, and offers OFFERED."""
    return Side(
        on_ready=on_ready,
        extensions=extensions,
        capabilities=capabilities,
        max_body=OURS.max_body,
        max_streams=OURS.max_streams,
        stream_window=OURS.stream_window,
    )


def dialled(*, extensions: bool = True) -> tuple[Side, bytes]:
    """A side that dials, and what it says first."""
    side = announcing(extensions=extensions)
    return side, side.session.dial()


HELLO = hello(PING)[16:]

# --- the bytes


def test_the_layout() -> None:
    data = encode_hello(Capability.CANCEL | Capability.EMPTY, 0x01020304, 0x05060708, 0x090A0B0C)
    assert data == b"arpc+\x01\x12\0\0\0\x04\x03\x02\x01\x08\x07\x06\x05\x0c\x0b\x0a\x09"
    assert decode_hello(data) == (True, Capability(18), 0x05060708, 0x090A0B0C, 0x01020304, ())


def test_unknown_capabilities_are_left_out() -> None:
    decoded = decode_hello(encode_hello(Capability(0xFFFF_FFFF), 1, 2, 3))
    assert decoded is not None
    assert decoded.flags == sum(Capability) == 31


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"arpc+",
        HELLO[:-1],
        b"ARPC+" + hello(PING)[21:],
        b"\0" + hello(PING)[16:],
        hello(PING, version=0)[16:],
    ],
    ids=["nothing", "magic", "truncated", "capitals", "shifted", "version 0"],
)
def test_what_is_no_hello(data: bytes) -> None:
    assert decode_hello(data) is None


# --- both know the extensions


@every_way
def test_each_learns_what_the_other_accepts(way: Way) -> None:
    dialler, first = dialled()
    acceptor = Side(max_body=700, max_streams=0, stream_window=0, capabilities=OFFERED)
    assert first == ours(PING, OFFERED)
    assert not dialler.session.ready
    assert dialler.session.waits
    acceptor.feed(way(first))
    pong = acceptor.sent()
    assert pong == hello(PONG, Capabilities(True, OFFERED, 700, 0, 0))
    dialler.feed(way(pong))
    assert dialler.sent() == b""
    assert dialler.session.remote == (True, OFFERED, 700, 0, 0, ())
    assert acceptor.session.remote == (True, OFFERED, 1000, 10, 4096, ())
    assert dialler.session.capabilities == acceptor.session.capabilities == OFFERED
    assert (dialler.readies, acceptor.readies) == (1, 1)
    assert dialler.session.ready
    assert not dialler.session.waits
    assert dialler.pongs == [], "the Hello is no ping of the owner's"


@every_way
def test_both_use_what_both_have(way: Way) -> None:
    acceptor = announcing()
    acceptor.feed(way(hello(PING)))
    assert acceptor.sent() == ours(PONG, OFFERED)
    dialler, _ = dialled()
    dialler.feed(way(hello(PONG)))
    assert acceptor.session.remote == dialler.session.remote == THEIRS
    assert acceptor.session.capabilities == dialler.session.capabilities == Capability.META


@every_way
def test_a_side_may_offer_nothing(way: Way) -> None:
    acceptor = announcing(capabilities=NOTHING)
    acceptor.feed(way(hello(PING)))
    assert acceptor.sent() == ours(PONG, NOTHING)
    assert acceptor.session.remote == THEIRS, "it is told all the same"
    assert acceptor.session.capabilities == NOTHING
    dialler = announcing(capabilities=NOTHING)
    assert dialler.session.dial() == ours(PING, NOTHING)
    dialler.feed(way(hello(PONG)))
    assert dialler.session.remote == THEIRS
    assert dialler.session.capabilities == NOTHING


def test_everything_is_offered_unless_told_otherwise() -> None:
    first = Side().session.dial()
    assert first[:22] == encode(PING, 0, 0, data=bytes(22))[:16] + b"arpc+\1"
    assert first[22:26] == b"\x1f\0\0\0"
    assert Options().capabilities == sum(Capability)


@every_way
@pytest.mark.parametrize(
    ("version", "tail"), [(1, b"and more"), (2, b""), (255, bytes(500))], ids=["longer", "newer", "both"]
)
def test_longer_and_newer_hellos_are_understood(way: Way, version: int, tail: bytes) -> None:
    acceptor = announcing()
    acceptor.feed(way(hello(PING, version=version, tail=tail)))
    assert acceptor.sent() == ours(PONG, OFFERED), "in our own version"
    dialler, _ = dialled()
    dialler.feed(way(hello(PONG, version=version, tail=tail)))
    assert dialler.session.remote == acceptor.session.remote == THEIRS


# --- one of them does not


@every_way
def test_an_empty_pong_is_a_peer_of_the_base_protocol(way: Way) -> None:
    """Go since v1.2.11 answers a Ping whatever is in it."""
    dialler, _ = dialled()
    dialler.feed(way(EMPTY_PONG))
    assert dialler.session.ready
    assert dialler.readies == 1
    assert dialler.session.remote == BASE == (False, NOTHING, None, None, None, ())
    assert not BASE
    assert THEIRS
    assert dialler.session.capabilities == NOTHING
    assert dialler.session.send_limit == OURS.max_body, "our own limits hold"


@every_way
@pytest.mark.parametrize(
    "pong",
    [encode(PONG, 0, 0, data=HELLO[:-1]), hello(PONG, version=0), encode(PONG, 0, 0, b"m", b"x")],
    ids=["truncated", "version 0", "with a method"],
)
def test_a_pong_that_is_no_hello_counts_as_empty(way: Way, pong: bytes) -> None:
    dialler, _ = dialled()
    dialler.feed(way(pong))
    assert dialler.session.ready
    assert dialler.session.remote == BASE


@every_way
@pytest.mark.parametrize(
    "ping",
    [PLAIN_PING, encode(PING, 0, 0, data=HELLO[:-1]), hello(PING, version=0), encode(PING, 0, 0, b"m", b"x")],
    ids=["empty", "truncated", "version 0", "with a method"],
)
def test_a_first_ping_that_is_no_hello_decides_for_the_base_protocol(way: Way, ping: bytes) -> None:
    acceptor = announcing()
    acceptor.feed(way(ping + hello(PING)))
    assert acceptor.sent() == EMPTY_PONG + ours(PONG, NOTHING)
    assert acceptor.session.remote == BASE
    assert acceptor.readies == 1


def test_a_peer_that_never_answers() -> None:
    """Go before v1.2.11: the owner's timer settles it."""
    dialler, _ = dialled()
    dialler.session.request(b"/a", b"", "token")
    assert dialler.session.take() == []
    dialler.session.settle()
    dialler.session.settle()
    assert dialler.readies == 1
    assert dialler.session.remote == BASE
    assert [frame[4] for frame in dialler.frames()] == [b"/a"]


@every_way
def test_a_pong_that_comes_after_the_decision_changes_nothing(way: Way) -> None:
    dialler, _ = dialled()
    dialler.session.settle()
    dialler.session.ping("ping")
    dialler.feed(way(hello(PONG) + EMPTY_PONG + EMPTY_PONG))
    assert dialler.session.remote == BASE
    assert dialler.session.send_limit == OURS.max_body
    assert dialler.readies == 1
    assert dialler.pongs == ["ping"], "the late one was the Hello's, the next one the ping's"
    assert dialler.session.dropped == 1


def test_a_dialler_without_extensions_says_nothing_and_may_send_at_once() -> None:
    dialler, first = dialled(extensions=False)
    assert first == b""
    assert dialler.session.ready
    assert dialler.readies == 1
    dialler.session.request(b"/a", b"", None)
    assert len(dialler.frames()) == 1


@every_way
def test_an_acceptor_without_extensions_answers_as_go_does(way: Way) -> None:
    acceptor = announcing(extensions=False)
    acceptor.feed(way(hello(PING)))
    assert acceptor.sent() == EMPTY_PONG
    assert acceptor.session.ready
    assert acceptor.session.remote == BASE
    dialler, _ = dialled()
    dialler.feed(way(EMPTY_PONG))
    assert dialler.session.remote == BASE


@every_way
def test_without_extensions_a_hello_is_a_ping_and_its_pong_a_pong(way: Way) -> None:
    dialler, _ = dialled(extensions=False)
    dialler.session.ping("ping")
    dialler.feed(way(hello(PING) + hello(PONG)))
    assert dialler.sent() == PLAIN_PING + EMPTY_PONG
    assert dialler.pongs == ["ping"]
    assert dialler.session.remote == BASE


# --- hellos out of place


@every_way
@pytest.mark.parametrize(
    "first",
    [
        encode(REQUEST, 0, 1, b"/a"),
        encode(NOTIFY, 0, 1, b"/a"),
        PLAIN_PING,
        EMPTY_PONG,
        encode(RESPONSE, 0, 1, b"/a"),
        encode(STREAM | STREAM_LOCAL, 0, 1, b"/a"),
    ],
    ids=["request", "notify", "ping", "pong", "response", "stream"],
)
def test_a_late_hello_is_answered_with_no_capabilities(way: Way, first: bytes) -> None:
    acceptor = announcing()
    acceptor.feed(way(first + hello(PING)))
    assert acceptor.sent().endswith(ours(PONG, NOTHING))
    assert acceptor.session.remote == BASE
    assert acceptor.session.capabilities == NOTHING
    assert acceptor.session.send_limit == OURS.max_body
    assert acceptor.readies == 1


@every_way
def test_a_hello_after_the_timeout_is_answered_with_no_capabilities(way: Way) -> None:
    acceptor = announcing()
    acceptor.session.settle()
    acceptor.feed(way(hello(PING)))
    assert acceptor.sent() == ours(PONG, NOTHING)
    assert acceptor.session.remote == BASE


@every_way
def test_a_second_hello_is_answered_with_no_capabilities(way: Way) -> None:
    acceptor = announcing()
    acceptor.feed(way(hello(PING) + hello(PING, Capabilities(True, OFFERED, 9, 9, 9))))
    assert acceptor.sent() == ours(PONG, OFFERED) + ours(PONG, NOTHING)
    assert acceptor.session.remote == THEIRS, "the first one counts"
    assert acceptor.session.send_limit == 500
    assert acceptor.readies == 1


@every_way
def test_a_hello_to_the_dialler_is_answered_with_no_capabilities(way: Way) -> None:
    dialler, _ = dialled()
    dialler.feed(way(hello(PING, Capabilities(True, OFFERED, 9, 9, 9))))
    assert not dialler.session.ready
    assert dialler.session.take() == [], "nothing goes before the Pong"
    if way is with_tail:
        dialler.feed([PLAIN_PING[len(TAIL) :]])
        assert not dialler.session.ready, "an ordinary ping is no answer to the Hello"
    dialler.feed([hello(PONG)])
    assert dialler.session.remote == THEIRS
    assert dialler.sent().startswith(ours(PONG, NOTHING))


# --- nothing before the Pong


@every_way
def test_the_dialler_sends_nothing_before_the_pong(way: Way) -> None:
    dialler, _ = dialled()
    dialler.feed([encode(REQUEST, 0, 1, b"/a") + PLAIN_PING])
    [request] = dialler.messages
    dialler.session.respond(request, b"held")
    assert dialler.session.take() == []
    dialler.feed(way(hello(PONG)))
    assert dialler.readies == 1
    assert [frame[0] for frame in dialler.frames()] == [PONG, RESPONSE]


@every_way
def test_the_pong_comes_before_anything_else(way: Way) -> None:
    acceptor = announcing(on_ready=lambda side: side.session.notify(b"/at/once", b""))
    assert acceptor.session.take() == []
    acceptor.feed(way(hello(PING)))
    assert [frame[0] for frame in acceptor.frames()] == [PONG, NOTIFY]


@every_way
@pytest.mark.parametrize("first", [PLAIN_PING, hello(PING)], ids=["ping", "hello"])
@every_start
def test_whatever_comes_first_makes_the_acceptor_ready_once(way: Way, first: bytes, extensions: bool) -> None:
    acceptor = announcing(extensions=extensions)
    assert not acceptor.session.ready
    acceptor.feed(way(first))
    assert acceptor.session.ready
    assert acceptor.readies == 1


@every_start
def test_a_first_frame_that_is_not_whole_decides_nothing(extensions: bool) -> None:
    acceptor = announcing(extensions=extensions)
    acceptor.feed([hello(PING)[:-1]])
    assert not acceptor.session.ready
    acceptor.feed([hello(PING)[-1:]])
    assert acceptor.session.remote.extended is extensions


@every_way
def test_a_first_frame_that_ends_the_connection_decides_nothing(way: Way) -> None:
    acceptor = announcing()
    with pytest.raises(RemoteProtocolError, match="unknown command"):
        acceptor.feed(way(encode(63, 0, 0) + hello(PING)))
    assert acceptor.readies == 0


def test_an_end_before_the_pong_returns_the_owners_tokens_only() -> None:
    dialler, _ = dialled()
    dialler.session.request(b"/a", b"", "token")
    assert dialler.session.close(ConnectionClosed("gone")) == [("token", False)]
