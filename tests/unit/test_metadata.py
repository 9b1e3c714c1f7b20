"""Metadata before they travel and after: what users may give, and what is read. On the wire: tests/wire."""

from __future__ import annotations

import logging
from collections import UserDict
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec
import pytest

from arpc import metadata
from arpc.errors import EncodeError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from arpc.frame import FLAG_ERROR, NOTIFY, REQUEST, RESPONSE, STREAM, STREAM_LOCAL, Frame
from arpc.metadata import NOTHING, REMEMBERED, Metadata, error_trailer, read_metadata, trailer
from arpc.trailer import MAX_VALUE, make_trailer, split_trailer


def said(made: bytes) -> Any:
    """What a trailer says."""
    data, value = split_trailer(b"data" + made)
    assert data == b"data"
    return msgspec.msgpack.decode(value)


def read(values: Any, command: int = REQUEST, flag: int = 0) -> Metadata:
    frame: Frame = (command, flag, 2, 1, b"/m", b"")
    return read_metadata(frame, msgspec.msgpack.encode(values))


# --- writing


def test_what_users_give_travels_as_it_is() -> None:
    given = {"a": 1, "é": [None, 1.5, b"bytes", {"deep": True}], "traceparent": "00-", "tracestate": ""}
    assert said(trailer(given, None)) == given
    assert said(trailer(UserDict(given), 1.0)) == {**given, "timeout": 1000}
    assert "timeout" not in given


@pytest.mark.parametrize("nothing", [None, {}])
def test_nothing_needs_no_trailer(nothing: Any) -> None:
    assert trailer(nothing, None) == b""
    assert error_trailer(None, None) == b""


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(1.0, 1000), (0.0001, 1), (0.0015, 2), (1e9, 10**12), (2.0000001, 2001)]
)
def test_a_timeout_is_rounded_up(seconds: float, milliseconds: int) -> None:
    assert said(trailer(None, seconds)) == {"timeout": milliseconds}
    assert said(trailer({"a": 1}, seconds)) == {"a": 1, "timeout": milliseconds}


def test_trailers_of_timeouts_are_made_once_and_not_kept_for_ever() -> None:
    assert trailer(None, 1.25) is trailer(None, 1.25)
    for milliseconds in range(1, 3 * REMEMBERED):
        made = trailer(None, milliseconds / 1000)
        assert read_metadata((REQUEST, 0, 2, 1, b"/m", b""), split_trailer(made)[1]).deadline is not None
        assert len(metadata._trailers) <= REMEMBERED
        assert len(metadata._read) <= REMEMBERED


def test_metadata_are_remembered_within_bounds() -> None:
    assert trailer({"user": "Ann"}, 1.25) is trailer({"user": "Ann"}, 1.25)
    for n in range(2 * REMEMBERED):
        given = {"user": str(n)}
        frame: Frame = (REQUEST, 0, 2, 1, b"/m", b"")
        assert read_metadata(frame, split_trailer(trailer(given, None))[1]).values == given
        assert len(metadata._trailers) <= REMEMBERED
        assert len(metadata._read) <= REMEMBERED
    large = {"user": "x" * 10_000}
    assert trailer(large, None) is not trailer(large, None)


def test_what_is_equal_is_not_the_same() -> None:
    """1, 1.0 and True are one key of a dict."""
    for value in (1, True, 1.0, "1", b"1"):
        for _ in range(2):
            got = said(trailer({"a": value}, None))["a"]
            assert (got, type(got)) == (value, type(value))


def test_what_was_remembered_cannot_be_changed() -> None:
    for values in ({"a": "x"}, {"a": [1]}, {"a": {"b": 1}}):
        for _ in range(2):
            found: Any = read(values).values
            assert found == values
            with suppress(TypeError):
                found["b"] = "y"
            with suppress(AttributeError):
                found["a"].append(2)
            with suppress(TypeError):
                found["a"]["c"] = 2


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"timeout": 1}, "'timeout' in metadata is arpc's own: say timeout="),
        ({"code": "x"}, r"'code' in metadata is arpc's own: raise an arpc\.RpcError with it"),
        ({"details": 1}, r"'details' in metadata is arpc's own: raise an arpc\.RpcError"),
        ({1: 2}, "a key of metadata is a text, not 1"),
        ({b"a": 2}, "a key of metadata is a text, not b'a'"),
        ({"traceparent": b"00"}, r"'traceparent' in metadata is a text \(W3C Trace Context\), not b'00'"),
        ({"tracestate": None}, "'tracestate' in metadata is a text"),
        ([("a", 1)], "metadata are a mapping of names to values, not "),
        ("text", "metadata are a mapping"),
        (5, "metadata are a mapping"),
    ],
)
def test_what_users_may_not_give(given: Any, why: str) -> None:
    for timeout in (None, 1.0):
        with pytest.raises(LocalProtocolError, match=why):
            trailer(given, timeout)


@pytest.mark.parametrize("value", [object(), {1, object()}, 2**64, {"deep": [lambda: 0]}, "\ud800"])
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(EncodeError, match="metadata cannot be encoded: "):
        trailer({"a": value}, None)


def test_how_much_there_may_be() -> None:
    assert len(trailer({"a": bytes(MAX_VALUE - 6)}, None)) == 0xFFFF
    with pytest.raises(LimitExceeded, match="metadata of 65530 bytes: at most 65529 can be sent"):
        trailer({"a": bytes(MAX_VALUE - 5)}, None)


def test_errors_say_their_code_and_details() -> None:
    assert said(error_trailer("not_found", None)) == {"code": "not_found"}
    assert said(error_trailer(None, [1])) == {"details": [1]}
    assert said(error_trailer("mine", {"a": 1})) == {"code": "mine", "details": {"a": 1}}


@pytest.mark.parametrize("details", [object(), bytes(MAX_VALUE)], ids=["not encodable", "too large"])
def test_details_that_cannot_travel_stay_here(details: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "arpc"):
        assert said(error_trailer("not_found", details)) == {"code": "not_found"}
        assert error_trailer(None, details) == b""
    assert caplog.text.count("the details of an error cannot travel: metadata ") == 2


@pytest.mark.parametrize("code", ["\ud800", "c" * MAX_VALUE], ids=["not encodable", "too large"])
def test_a_code_that_cannot_travel_stays_here(code: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "arpc"):
        assert error_trailer(code, None) == b""
        assert said(error_trailer(code, [1])) == {"details": [1]}
    assert caplog.text.count("the code of an error cannot travel: metadata ") == 2


# --- reading


@pytest.mark.parametrize("command", [REQUEST, NOTIFY, STREAM | STREAM_LOCAL])
def test_what_asks_may_have_a_deadline(command: int) -> None:
    now = monotonic()
    for _ in range(2):  # the second time it is remembered
        found = read({"timeout": 5000}, command)
        assert found == Metadata(NOTHING, found.deadline)
        assert now + 5 <= (found.deadline or 0) <= monotonic() + 5
    found = read({"timeout": 5000, "a": 1, "code": "c", "details": 1}, command)
    assert found == Metadata({"a": 1}, found.deadline)
    assert now + 5 <= (found.deadline or 0) <= monotonic() + 5


def test_a_deadline_may_be_too_far_for_any_clock() -> None:
    deadline = read({"timeout": 2**64 - 1}).deadline
    assert deadline is not None
    assert deadline <= monotonic() + 1e9


def test_answers_have_no_deadline() -> None:
    read({"timeout": 1234})
    assert read({"timeout": 1234}, RESPONSE) == Metadata()
    assert read({"timeout": "odd", "a": 1}, RESPONSE) == Metadata({"a": 1})


def test_only_errors_have_codes() -> None:
    values = {"code": "c", "details": [1], "a": 1}
    assert read(values, RESPONSE) == Metadata({"a": 1})
    assert read(values, RESPONSE, FLAG_ERROR) == Metadata({"a": 1}, None, "c", [1])
    assert read(values, NOTIFY, FLAG_ERROR) == Metadata({"a": 1})


@pytest.mark.parametrize("timeout", [0, -5, 1.0, "1", True, [1]])
def test_a_timeout_of_another_kind(timeout: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="a timeout is a whole number of milliseconds from 1 on, not "):
        read({"timeout": timeout})


def test_what_is_said_twice_counts_once() -> None:
    """The last one, as MessagePack's readers have it."""
    frame: Frame = (REQUEST, 0, 2, 1, b"/m", b"")
    assert read_metadata(frame, b"\x82\xa1a\x01\xa1a\x02").values == {"a": 2}


# --- trailers


def test_a_trailer_is_found_whatever_comes_before_it() -> None:
    for data in (b"", b"meta", make_trailer(b"x"), b"\xff" * 70_000):
        assert split_trailer(data + make_trailer(b"value")) == (data, b"value")
    assert make_trailer(b"value") == b"metavalue\x00\x0b"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"meta", b"meta\x00\x05", b"eta\x00\x06", b"meta\x00\x07", b"xmeta\0\0\x09"]
)
def test_what_is_no_trailer(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no trailer named 'meta' is there"):
        split_trailer(data)
