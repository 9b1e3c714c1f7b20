"""What a handler knows about its message. How it is found in tasks and threads: tests/peer/test_handlers.py."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any, cast

import pytest

import arpc
from arpc.context import Context, State, serving
from arpc.frame import NOTIFY, REQUEST


class NoPeer:
    def __repr__(self) -> str:
        return "<a peer>"


def context(command: int = REQUEST, method: bytes = b"/greet") -> Context:
    return Context(cast(arpc.Peer, NoPeer()), (command, 0, 0, 1, method, b""))


def test_method_and_kind() -> None:
    assert (context().method, context().kind) == ("/greet", "call")
    assert (context(NOTIFY, "/grüße".encode()).method, context(NOTIFY).kind) == ("/grüße", "notify")
    assert context(method=b"\xff").method == "\ufffd"
    assert repr(context(NOTIFY)) == "<arpc.Context notify '/greet' from <a peer>>"


def test_state_is_room_of_its_own() -> None:
    one, two = context(), context()
    one.state.user = "Ann"
    assert one.state is one.state
    assert one.state == {"user": "Ann"}
    assert two.state == {}


def test_nothing_else_can_be_put_on_a_context() -> None:
    one: Any = context()
    with pytest.raises(AttributeError):
        one.user = "Ann"


def test_state_by_item_and_by_attribute() -> None:
    state = State(a=1)
    state.b = 2
    state["c"] = 3
    assert (state.a, state["b"], state.c) == (1, 2, 3)
    assert state == {"a": 1, "b": 2, "c": 3}
    del state.a
    with pytest.raises(AttributeError, match="nothing is remembered as 'a'"):
        state.a  # noqa: B018
    with pytest.raises(AttributeError, match="'a'"):
        del state.a
    assert getattr(state, "a", None) is None
    assert not hasattr(state, "a")


def test_state_can_be_copied_and_pickled() -> None:
    state = State(a=[1])
    for other in (copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert other == {"a": [1]}
        assert other.a == [1]


def test_current_outside_of_a_handler() -> None:
    with pytest.raises(LookupError, match="in a handler's own task"):
        arpc.current()
    assert serving.get() is None


async def test_current_in_a_task_that_serves_nothing() -> None:
    with pytest.raises(LookupError):
        arpc.current()

    async def inner() -> None:
        with pytest.raises(LookupError):
            arpc.current()

    await asyncio.create_task(inner())
