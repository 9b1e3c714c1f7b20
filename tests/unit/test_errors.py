"""The tree of errors, and what each of them carries."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

import arpc
from arpc import errors


def drawn() -> dict[str, str]:
    """Each error of the tree in the docstring, and the one that it stands below."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"[ │├└─]*?(?=\w)(\w+)", line):
            indent, name = found.start(1), found[1]
            if line.startswith("    ") and name in errors.__all__:
                path = [entry for entry in path if entry[0] < indent]
                parents[name] = path[-1][1] if path else "Exception"
                path.append((indent, name))
    return parents


def test_the_tree_is_as_it_is_drawn() -> None:
    parents = drawn()
    assert parents.keys() == set(errors.__all__) - {"remote_error"}
    assert {name: getattr(errors, name).__bases__[0].__name__ for name in parents} == parents


def test_standard_bases_are_as_they_are_drawn() -> None:
    assert errors.__doc__ is not None
    for name in drawn():
        cls = getattr(errors, name)
        for base in re.findall(rf" {name} +\((\w+)\)", errors.__doc__):
            assert base in [parent.__name__ for parent in cls.__mro__], name


def test_all_of_them_are_public() -> None:
    assert [name for name in drawn() if name not in arpc.__all__] == []


def test_connection_closed_tells_whether_it_was_sent() -> None:
    assert not arpc.ConnectionClosed("gone").sent
    assert arpc.ConnectionClosed("gone", sent=True).sent
    assert str(arpc.ConnectionClosed("gone", sent=True)) == "gone"


@pytest.mark.parametrize("kind", [arpc.RemoteError, arpc.RpcError])
def test_errors_with_a_code(kind: type[arpc.RemoteError] | type[arpc.RpcError]) -> None:
    bare, full = kind("text"), kind("text", "denied", {"a": 1})
    assert (bare.message, bare.code, bare.details, str(bare)) == ("text", None, None, "text")
    assert (full.message, full.code, full.details, str(full)) == ("text", "denied", {"a": 1}, "text")
    assert kind("text", code="denied", details=[1]).details == [1]


def test_method_not_found_says_it_as_every_arpc_does() -> None:
    error = arpc.MethodNotFound()
    assert (error.message, error.code) == ("method not found", "unimplemented")


def test_what_an_error_answer_becomes() -> None:
    assert type(errors.remote_error("method not found")) is arpc.MethodNotFound
    for text, code in (("overloaded", "overloaded"), ("Method not found", None), ("", None), ("any text", None)):
        error = errors.remote_error(text)
        assert type(error) is arpc.RemoteError
        assert (error.message, error.code, error.details) == (text, code, None)
    error = errors.remote_error("text", "mine", [1])
    assert isinstance(error, arpc.RemoteError)
    assert (error.message, error.code, error.details) == ("text", "mine", [1])


def test_a_deadline_that_was_over_there_is_a_timeout_here() -> None:
    assert type(errors.remote_error("the deadline is over", "deadline_exceeded")) is arpc.CallTimeout
    for text, code in (("the deadline is over", None), ("too late", "deadline_exceeded")):
        assert type(errors.remote_error(text, code)) is arpc.RemoteError


def test_a_reset_says_what_the_other_side_said() -> None:
    assert (str(arpc.StreamReset("why")), arpc.StreamReset("why").message) == ("why", "why")
    assert (str(arpc.StreamReset("")), arpc.StreamReset("").message) == ("the other side has left the stream", "")


@pytest.mark.parametrize(
    "error",
    [
        arpc.ConnectionClosed("gone", sent=True),
        arpc.RemoteError("text", "denied", {"a": 1}),
        arpc.MethodNotFound(),
        arpc.RpcError("text", "denied", [1]),
        arpc.CallTimeout("late"),
        arpc.DecodeError("wrong"),
        arpc.StreamReset("why"),
        arpc.StreamReset(""),
        arpc.StreamEnded("over"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_they_survive_copying_and_pickling(error: arpc.ArpcError) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))


def test_they_are_caught_as_what_they_also_are() -> None:
    for error, base in (
        (arpc.CallTimeout("x"), TimeoutError),
        (arpc.ConnectTimeout("x"), TimeoutError),
        (arpc.ConnectTimeout("x"), ConnectionError),
        (arpc.ConnectionClosed("x"), OSError),
        (arpc.LimitExceeded("x"), ValueError),
        (arpc.LoopError("x"), RuntimeError),
    ):
        with pytest.raises(base):
            raise error


@pytest.mark.parametrize("kind", [arpc.RemoteError, arpc.CallRefused])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (0, 0.0),
        (-1, None),
        (True, None),
        ("1", None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
    ],
)
def test_retry_after_is_a_time(kind: Any, said: object, seconds: float | None) -> None:
    assert kind("x", "unavailable", {"retry_after": said}).retry_after == seconds
