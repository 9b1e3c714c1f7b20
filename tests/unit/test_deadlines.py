"""What nested calls inherit. With real calls: tests/peer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Any, cast

import pytest

from arpc.context import Serving, serving
from arpc.deadlines import LEAST, bounded, inherited


@pytest.fixture
def handler() -> Iterator[Serving]:
    """Something that runs with nothing but its identity."""
    it = cast("Serving", object())
    token = serving.set(it)
    yield it
    serving.reset(token)
    assert it not in bounded or bounded.pop(it)


def test_outside_of_handlers_there_is_none() -> None:
    assert serving.get() is None
    assert inherited() is None
    assert inherited(5) is None


def test_nor_in_a_handler_without_one(handler: Serving) -> None:
    assert inherited() is None
    assert inherited(5) is None


def test_what_is_left_is_inherited(handler: Serving) -> None:
    bounded[handler] = monotonic() + 10
    left = inherited()
    assert left is not None
    assert 5 < left <= 10
    assert inherited(3) == 3
    assert 5 < (inherited(30) or 0) <= 10


def test_where_nothing_is_left_it_is_a_moment(handler: Serving) -> None:
    """So that the call times out, rather than being refused."""
    bounded[handler] = monotonic() - 10
    assert inherited() == inherited(5) == LEAST > 0


async def test_tasks_inherit_while_the_handler_runs() -> None:
    handler: Any = object()

    async def ask() -> float | None:
        return inherited()

    token = serving.set(handler)
    bounded[handler] = monotonic() + 10
    task = asyncio.create_task(ask())
    later = asyncio.create_task(asyncio.sleep(0))
    assert await task is not None
    await later
    outliving = asyncio.create_task(ask())
    serving.reset(token)
    del bounded[handler]
    assert await outliving is None
