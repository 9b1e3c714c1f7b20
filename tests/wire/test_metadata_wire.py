"""META on the wire: the trailer, what it may say beside which frame, and what ends the connection."""

from __future__ import annotations

from time import monotonic
from typing import Any

import msgspec
import pytest

from arpc.errors import ConnectionClosed, LimitExceeded, RemoteProtocolError
from arpc.frame import (
    CANCEL,
    FLAG_ASYNC,
    FLAG_ERROR,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESERVED_META,
    RESPONSE,
    encode,
)
from arpc.hello import EVERY_CAPABILITY, Capability
from arpc.metadata import Metadata, trailer
from arpc.trailer import MAX_VALUE
from tests.wire.extended import (
    LOCAL,
    THEIRS,
    WINDOW,
    Agree,
    agreed_sides,
    back,
    base_accepted,
    base_dialled,
    item,
    opened,
    with_flags,
)
from tests.wire.feeding import Listener, Side, Way, every_way, whole

NOT_META = with_flags(EVERY_CAPABILITY & ~Capability.META)
pack = msgspec.msgpack.encode


def raw(value: bytes, name: bytes = b"meta") -> bytes:
    """A trailer, as PROTOCOL has it."""
    return name + value + (len(name) + len(value) + 2).to_bytes(2, "big")


def meta(values: Any) -> bytes:
    return raw(pack(values))


def carrying(command: int, data: bytes, *, flag: int = 0, seq: int = 5, method: bytes = b"/m") -> bytes:
    """A frame that announces metadata."""
    return encode(command, flag, seq, method, data, RESERVED_META)


def values_of(side: Side) -> list[Any]:
    """What users have given, with the messages that came."""
    return [message[2].values for message in side.messages]


# --- sending


@agreed_sides
def test_the_trailer_follows_the_data(make: Agree) -> None:
    """Name, value, and a big-endian total; bit 1 of the reserved byte says so, and the length counts it."""
    side = make()
    made = trailer({"a": 1}, 0.25)
    assert made == b"meta\x82\xa1a\x01\xa7timeout\xcc\xfa\x00\x14"
    seq = side.session.request_with(b"/m", b"body", "token", made)
    side.session.notify(b"/m", b"body", trailer=made)
    flow = side.session.open_stream(b"/m", Listener(None, side), b"body", end=False, trailer=made)
    side.session.respond_with((REQUEST, FLAG_ASYNC, 0, 7, b"/m", b""), b"body", made)
    frames = side.frames()
    assert frames == [
        (REQUEST, 0, 2, seq, b"/m", b"body" + made),
        (NOTIFY, FLAG_ASYNC, 2, frames[1][3], b"/m", b"body" + made),
        (LOCAL, 0, 2, flow.id, b"/m", b"body" + made),
        (RESPONSE, FLAG_ASYNC, 2, 7, b"/m", b"body" + made),
    ]
    assert flow.credit == WINDOW - 64 - 4, "a trailer costs no credit"
    side.session.make_flows().send(flow, b"more")
    assert side.frames()[0][2] == 0, "only the first frame has one"


@agreed_sides
def test_without_metadata_there_is_no_trailer(make: Agree) -> None:
    side = make()
    side.session.request_with(b"/m", b"", None, b"")
    side.session.notify(b"/m", b"")
    side.session.respond_error((REQUEST, 0, 0, 7, b"/m", b""), "plain")
    opened(side)
    assert [frame[2] for frame in side.frames()] == [0, 0, 0, 0]


@agreed_sides
def test_an_error_says_its_code_and_details(make: Agree) -> None:
    side = make()
    request = (REQUEST, FLAG_ASYNC, 0, 7, b"/m", b"")
    side.session.respond_error(request, "no such thing", "not_found")
    side.session.respond_error(request, "no such thing", "not_found", [1, 2])
    side.session.respond_error(request, "no such thing", None, {"a": 1})
    text, head = b"no such thing", (RESPONSE, FLAG_ASYNC | FLAG_ERROR, 2, 7, b"/m")
    assert side.frames() == [
        (*head, text + meta({"code": "not_found"})),
        (*head, text + meta({"code": "not_found", "details": [1, 2]})),
        (*head, text + meta({"details": {"a": 1}})),
    ]


@agreed_sides
def test_details_give_way_first_then_the_text(make: Agree, caplog: pytest.LogCaptureFixture) -> None:
    side = make(THEIRS._replace(max_body=100))
    request = (REQUEST, 0, 0, 7, b"/m", b"")
    code = meta({"code": "a" * 20})
    side.session.respond_error(request, "text", "a" * 20, bytes(100))
    side.session.respond_error(request, "t" * 200, "a" * 20, bytes(10))
    side.session.respond_error(request, "text", "a" * 100)
    side.session.respond_error(request, "text", "a" * 20, object())
    side.session.respond_error(request, "text", None, bytes(MAX_VALUE))
    assert [(frame[2], frame[5]) for frame in side.frames()] == [
        (2, b"text" + code),
        (2, b"t" * (98 - len(code)) + code),
        (0, b"text"),
        (2, b"text" + code),
        (0, b"text"),
    ]
    assert caplog.text.count("the details of an error cannot travel") == 2


@agreed_sides
def test_method_data_and_trailer_together_have_a_limit(make: Agree) -> None:
    side = make(THEIRS._replace(max_body=100))
    made = meta({"a": 1})
    fits = bytes(98 - len(made))
    why = r"a body of 101 bytes \(method and metadata included\): the other side accepts at most 100 \(max_body\)"
    for send in (
        lambda data: side.session.request_with(b"/m", data, None, made),
        lambda data: side.session.notify(b"/m", data, trailer=made),
        lambda data: side.session.open_stream(b"/m", Listener(None, side), data, end=False, trailer=made),
    ):
        with pytest.raises(LimitExceeded, match=why):
            send(fits + b"x")
        assert side.sent() == b""
        send(fits)
        assert len(side.frames()[0][5]) == 98
    request = (REQUEST, 0, 0, 7, b"/m", b"")
    side.session.respond_with(request, fits, made)
    side.session.respond_with(request, fits + b"x", made)
    fitting, refused = side.frames()
    assert len(fitting[5]) == 98
    assert refused[1] == FLAG_ERROR
    assert refused[5].startswith(b"the answer is too large: a body of 101 bytes")
    assert refused[5].endswith(meta({"code": "resource_exhausted"}))


@agreed_sides
def test_after_the_end_nothing_is_sent(make: Agree) -> None:
    side = make()
    side.session.close(ConnectionClosed("gone"))
    made = meta({"a": 1})
    side.session.respond_with((REQUEST, 0, 0, 7, b"/m", b""), b"", made)
    side.session.respond_with((REQUEST, 0, 0, 7, b"/m", b""), bytes(200_000), made)
    with pytest.raises(ConnectionClosed):
        side.session.request_with(b"/m", b"", None, made)
    with pytest.raises(ConnectionClosed):
        side.session.notify(b"/m", b"", trailer=made)
    assert side.sent() == b""


def test_without_meta_an_error_has_its_text_alone() -> None:
    for side in (base_dialled(), base_accepted()):
        side.session.respond_error((REQUEST, 0, 0, 7, b"/m", b""), "text", "not_found", [1])
        assert side.frames() == [(RESPONSE, FLAG_ERROR, 0, 7, b"/m", b"text")]


# --- receiving


@agreed_sides
@every_way
def test_metadata_are_taken_off(make: Agree, way: Way) -> None:
    side = make()
    seq = side.session.request(b"/m", b"", "asked")
    wrong = side.session.request(b"/m", b"", "failed")
    flow, listener = opened(side)
    side.feed(
        way(
            carrying(REQUEST, b"body" + meta({"a": 1, "b": [None]}))
            + carrying(NOTIFY, meta({"a": 2}))
            + carrying(LOCAL, b"item" + meta({"a": 3}))
            + carrying(RESPONSE, b"answer" + meta({"a": 4}), seq=seq)
            + carrying(RESPONSE, b"text" + meta({"a": 5, "code": "c", "details": [1]}), seq=wrong, flag=FLAG_ERROR)
            + back(flow.id, b"plain")
        )
    )
    assert [message[5] for message in side.messages] == [b"body", b""]
    assert values_of(side) == [{"a": 1, "b": [None]}, {"a": 2}]
    assert side.openings[0][2] == Metadata({"a": 3})
    assert side.streams[5].heard == [b"item"]
    assert side.answers == [("asked", 0, b"answer"), ("failed", FLAG_ERROR, b"text")]
    assert side.metadata == [Metadata({"a": 4}), Metadata({"a": 5}, None, "c", [1])]
    assert listener.heard == [b"plain"]


@agreed_sides
@every_way
def test_a_timeout_counts_from_its_arrival(make: Agree, way: Way) -> None:
    side = make()
    before = monotonic()
    side.feed(way(carrying(REQUEST, meta({"timeout": 2500})) + carrying(LOCAL, meta({"timeout": 500, "a": 1}))))
    after = monotonic()
    assert before + 2.5 <= side.messages[0][2].deadline <= after + 2.5
    assert before + 0.5 <= side.openings[0][2].deadline <= after + 0.5
    assert values_of(side) == [{}], "users do not see it"


@agreed_sides
@every_way
def test_keys_count_only_where_they_belong(make: Agree, way: Way) -> None:
    """Go echoes what a request carried on its answer."""
    side = make()
    seqs = [side.session.request(b"/m", b"", n) for n in range(2)]
    said = meta({"timeout": "5", "code": 7, "details": [1], "a": 1})
    side.feed(
        way(
            carrying(RESPONSE, said, seq=seqs[0])
            + carrying(RESPONSE, meta({"timeout": None, "code": "c"}), seq=seqs[1], flag=FLAG_ERROR)
            + carrying(REQUEST, meta({"timeout": 9, "code": 7, "details": [1], "a": 1}))
            + carrying(NOTIFY, meta({"code": 7}), flag=FLAG_ERROR)
        )
    )
    assert side.metadata == [Metadata({"a": 1}), Metadata({}, None, "c")]
    assert values_of(side) == [{"a": 1}, {}]


@agreed_sides
@every_way
def test_a_timeout_on_an_answer_is_nobodys(make: Agree, way: Way) -> None:
    side = make()
    side.feed(whole(carrying(REQUEST, meta({"timeout": 77}))))
    seq = side.session.request(b"/m", b"", None)
    side.feed(way(carrying(RESPONSE, meta({"timeout": 77}), seq=seq)))
    assert side.metadata == [Metadata()]


BROKEN = [
    (b"", "no trailer named 'meta' is there"),
    (b"\x00", "no trailer named"),
    (b"\x00\x00", "no trailer named"),
    (b"meta\x80\x00\x05", "no trailer named"),
    (b"meta\x80\x00\x08", "no trailer named"),
    (b"meta\x80\xff\xff", "no trailer named"),
    (b"meta\x80\x07\x00", "no trailer named"),
    (raw(b"\x80", b"Meta"), "no trailer named"),
    (raw(b"\x80", b"arpc-opentracing"), "no trailer named"),
    (raw(b""), "metadata are not MessagePack"),
    (raw(b"\x81"), "metadata are not MessagePack"),
    (raw(b"\x80\x80"), "metadata are not MessagePack"),
    (raw(b"\xc1"), "metadata are not MessagePack"),
    (raw(b"\x81" * 60_000), "metadata are "),
    (raw(b"\x91" * 60_000), "metadata are "),
    (meta(None), "metadata are a map, not NoneType"),
    (meta([]), "metadata are a map, not list"),
    (meta("text"), "metadata are a map, not str"),
    (meta({1: 2}), "a key of metadata is a text, not 1"),
    (meta({b"a": 2}), "a key of metadata is a text, not b'a'"),
    (meta({None: 2}), "a key of metadata is a text, not None"),
    (raw(b"\x81\x90\x01"), "metadata are not MessagePack|a key of metadata is a text"),
    (raw(b"\x81\x80\x01"), "metadata are not MessagePack|a key of metadata is a text"),
    (raw(b"\x81\xa1\xff\x01"), "metadata are not MessagePack"),
    (meta({"traceparent": 1}), "'traceparent' in metadata is a text, not 1"),
    (meta({"traceparent": b"00"}), "'traceparent' in metadata is a text, not b'00'"),
    (meta({"tracestate": ["a"]}), "'tracestate' in metadata is a text, not "),
]
every_asking = pytest.mark.parametrize("command", [REQUEST, NOTIFY, LOCAL], ids=["request", "notify", "stream"])


@agreed_sides
@every_way
@pytest.mark.parametrize("command", [REQUEST, NOTIFY, LOCAL, RESPONSE], ids=["request", "notify", "stream", "response"])
@pytest.mark.parametrize(("data", "why"), BROKEN, ids=range(len(BROKEN)))
def test_broken_metadata_end_the_connection(make: Agree, way: Way, command: int, data: bytes, why: str) -> None:
    """What came before them is served; large data are not fed byte by byte."""
    side = make()
    if len(data) > 1000 and way is not whole:
        return
    good = encode(NOTIFY, 0, 0, b"/good")
    with pytest.raises(RemoteProtocolError, match=why):
        side.feed(way(good + carrying(command, data) + good))
    assert len(side.messages) == 1
    assert side.openings == []


@agreed_sides
@every_way
@every_asking
@pytest.mark.parametrize("timeout", [0, -1, 1.5, 1.0, "5", True, None, [], 2**64 - 1], ids=repr)
def test_a_timeout_is_a_number_of_milliseconds(make: Agree, way: Way, command: int, timeout: Any) -> None:
    side = make()
    data = carrying(command, meta({"timeout": timeout}))
    if timeout in (None, 2**64 - 1) and not isinstance(timeout, bool):
        side.feed(way(data))
        told: Any = (side.messages or side.openings)[0][2]
        assert told.deadline is None if timeout is None else told.deadline > monotonic() + 1e8
        return
    with pytest.raises(RemoteProtocolError, match="a timeout is a whole number of milliseconds from 1 on, not "):
        side.feed(way(data))


@agreed_sides
@every_way
@pytest.mark.parametrize("code", [1, b"c", [], {}, True])
def test_the_code_of_an_error_is_a_text(make: Agree, way: Way, code: Any) -> None:
    side = make()
    seq = side.session.request(b"/m", b"", None)
    with pytest.raises(RemoteProtocolError, match="the code of an error is a text, not "):
        side.feed(way(carrying(RESPONSE, b"text" + meta({"code": code}), seq=seq, flag=FLAG_ERROR)))


@agreed_sides
def test_the_largest_metadata_arrive(make: Agree) -> None:
    side = make()
    value = {"a": "x" * (MAX_VALUE - 6)}
    made = trailer(value, None)
    assert len(pack(value)) == MAX_VALUE == 65_529
    assert made[-2:] == b"\xff\xff"
    side.feed(whole(carrying(REQUEST, b"body" + made)))
    assert values_of(side) == [value]
    assert side.messages[0][5] == b"body"
    with pytest.raises(LimitExceeded, match="metadata of 65530 bytes: at most 65529 can be sent"):
        trailer({"a": "x" * (MAX_VALUE - 5)}, None)


@agreed_sides
@every_way
def test_later_frames_of_a_stream_say_nothing(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(item(5, b"1", method=b"/m") + carrying(LOCAL, b"2" + meta({"a": 1, "timeout": 5}))))
    assert side.streams[5].heard == [b"1", b"2"]
    assert side.openings[0][2] == 0


@agreed_sides
@every_way
def test_answers_for_nobody_are_dropped_with_their_metadata(make: Agree, way: Way) -> None:
    side = make()
    side.feed(way(carrying(RESPONSE, meta({"a": 1}), seq=3)))
    assert side.session.dropped == 1
    assert side.metadata == []


@agreed_sides
@every_way
def test_pings_and_extension_commands_have_none(make: Agree, way: Way) -> None:
    """The bit says nothing there."""
    side = make()
    side.session.ping("ping")
    side.sent()
    bare = encode(PING, 0, 0, b"", b"", 2) + encode(PONG, 0, 0, b"", b"x", 2) + encode(CANCEL, 0, 9, b"", b"", 2)
    side.feed(way(bare))
    assert side.sent() == encode(PONG, 0, 0)
    assert side.pongs == ["ping"]
    assert side.cancelled == [(9, None)]


@agreed_sides
@every_way
def test_where_meta_is_not_agreed_the_bit_means_nothing(make: Agree, way: Way) -> None:
    side = make(NOT_META)
    data = b"body" + meta({"timeout": "wrong"})
    seq = side.session.request(b"/m", b"", "token")
    side.sent()
    side.feed(way(carrying(REQUEST, data) + carrying(LOCAL, data) + carrying(RESPONSE, b"", seq=seq)))
    assert side.messages == [(REQUEST, 0, 2, 5, b"/m", data)]
    assert side.streams[5].heard == [data]
    assert side.answers == [("token", 0, b"")]
    side.session.respond_error((REQUEST, 0, 0, 7, b"/m", b""), "text", "not_found")
    assert side.frames()[0][2] == 0
