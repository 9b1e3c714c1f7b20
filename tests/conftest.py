"""Which event loop a test runs on, and that it leaves nothing running there.

Tests of peers, transports and middleware run twice, on uvloop and on plain asyncio (their ids name the loop); all other
async tests run once, on uvloop where it is installed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.tools import eventually

try:
    import uvloop
except ImportError:  # not on Windows, not on PyPy: tests run on asyncio alone
    uvloop = None  # type: ignore[assignment]

HERE = Path(__file__).parent
BOTH_LOOPS = (HERE / "middleware", HERE / "peer", HERE / "transports")
LoopFactories = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def runs_on_both_loops(item: pytest.Item) -> bool:
    return any(folder in item.path.parents for folder in BOTH_LOOPS)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> LoopFactories:
    plain: LoopFactories = {"asyncio": asyncio.new_event_loop}
    if uvloop is None:
        return plain
    fast: LoopFactories = {"uvloop": uvloop.new_event_loop}
    return {**fast, **plain} if runs_on_both_loops(item) else fast


def pytest_itemcollected(item: pytest.Item) -> None:
    if pytest_asyncio.is_async_test(item) and runs_on_both_loops(item):
        item.fixturenames.insert(0, "no_task_left")  # set up first, torn down last: after what closes peers and servers


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails a test after which a task still runs that was not there before.

    Closing takes some turns of the loop, so what is left gets a moment to end by itself.
    """
    before = asyncio.all_tasks()
    yield
    known = before | {asyncio.current_task()}
    with suppress(AssertionError):
        await eventually(lambda: asyncio.all_tasks() <= known, within=1.0)
    if left := asyncio.all_tasks() - known:
        pytest.fail("the test left tasks running:\n  " + "\n  ".join(map(repr, left)), pytrace=False)
