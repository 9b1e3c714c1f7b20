"""Metadata of a peer without extensions that has an appender named ``meta`` on bit 1, as a Go service may."""

from __future__ import annotations

import msgspec
import pytest

from arpc.errors import RemoteProtocolError
from arpc.frame import REQUEST, RESERVED_META, RESPONSE, encode
from arpc.hello import Capability
from arpc.trailer import make_trailer
from tests.wire.extended import Agree, base_sides
from tests.wire.feeding import Way, every_way


def meta(values: object) -> bytes:
    return make_trailer(msgspec.msgpack.encode(values))


def carrying(command: int, data: bytes, *, seq: int = 5) -> bytes:
    """A frame that announces metadata."""
    return encode(command, 0, seq, b"/m", data, RESERVED_META)


@base_sides
@every_way
def test_an_option_says_that_a_peer_has_such_an_appender(make: Agree, way: Way) -> None:
    side = make(metadata_appender=True)
    assert side.session.capabilities == Capability.META
    assert not side.session.remote.extended
    seq = side.session.request_with(b"/m", b"body", "token", meta({"a": 1}))
    assert side.frames() == [(REQUEST, 0, 2, seq, b"/m", b"body" + meta({"a": 1}))]
    side.feed(way(carrying(RESPONSE, b"answer" + meta({"a": 1}), seq=seq) + carrying(REQUEST, b"x" + meta({"b": 2}))))
    assert side.answers == [("token", 0, b"answer")]
    assert [message[2].values for message in side.messages] == [{"b": 2}]


@base_sides
@every_way
def test_without_it_there_is_none(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(carrying(REQUEST, b"x" + meta({"b": 2}))))
    assert side.messages == [(REQUEST, 0, 2, 5, b"/m", b"x" + meta({"b": 2}))]
    with pytest.raises(RemoteProtocolError):
        make(metadata_appender=True).feed(way(carrying(REQUEST, b"no trailer")))
