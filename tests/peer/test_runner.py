"""Handlers share tasks as long as they do not suspend: none may see anything of another (docs/runner.md).

Messages that are sent in one turn of the loop arrive together, and so meet the same task if anything lets them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

import arpc
from arpc.runner import NAME
from tests.peer.conftest import Connect

Log = Callable[[], str]
text: ContextVar[str] = ContextVar("text", default="pristine")
items: ContextVar[list[int]] = ContextVar("items")


class Mad(BaseException):
    """No Exception, as KeyboardInterrupt is none."""


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


Mischief = Callable[[], Awaitable[None]]
kept: list[object] = []
pristine_items: list[int] = []


async def sets_a_variable() -> None:
    text.set("changed")


async def sets_an_equal_but_other_list() -> None:
    items.set([])


async def adds_a_variable() -> None:
    ContextVar[int]("new").set(1)


async def keeps_its_task() -> None:
    kept.append(this_task())


async def refers_to_its_task_weakly() -> None:
    kept.append(weakref.ref(this_task()))


async def renames_its_task() -> None:
    this_task().set_name("renamed")


async def cancels_its_task() -> None:
    this_task().cancel()


async def cancels_its_task_and_waits() -> None:
    this_task().cancel()
    await asyncio.sleep(10)


async def swallows_its_cancellation() -> None:
    this_task().cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def has_its_task_cancelled_later() -> None:
    asyncio.get_running_loop().call_soon(this_task().cancel)


async def watches_its_end() -> None:
    this_task().add_done_callback(lambda task: kept.append("done"))


async def raises_cancelled() -> None:
    raise asyncio.CancelledError


async def raises_madness() -> None:
    raise Mad


async def raises_madness_later() -> None:
    await asyncio.sleep(0)
    raise Mad


async def leaves_a_task_behind() -> None:
    text.set("for the child")
    kept.append(asyncio.ensure_future(asyncio.sleep(0)))


async def times_out() -> None:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)
    except TimeoutError:
        return
    raise AssertionError


async def does_not_time_out() -> None:
    async with asyncio.timeout(10):
        await done()


async def done() -> None:
    """Awaited, and never suspends."""


async def keeps_a_timeout() -> None:
    timeout = asyncio.timeout(0.001)
    await timeout.__aenter__()
    kept.append(timeout)


MISCHIEF: list[Mischief] = [
    sets_a_variable,
    sets_an_equal_but_other_list,
    adds_a_variable,
    keeps_its_task,
    refers_to_its_task_weakly,
    renames_its_task,
    cancels_its_task,
    cancels_its_task_and_waits,
    swallows_its_cancellation,
    has_its_task_cancelled_later,
    watches_its_end,
    raises_cancelled,
    raises_madness,
    raises_madness_later,
    leaves_a_task_behind,
    times_out,
    does_not_time_out,
    keeps_a_timeout,
]


def haunted_router() -> arpc.Router:
    router = arpc.Router()
    for mischief in MISCHIEF:
        router.handle(mischief.__name__)(mischief)
        router.handle(f"{mischief.__name__}, ordered", ordered=True)(mischief)

    def look() -> list[str]:
        """What is not as it has to be."""
        task = this_task()
        checks = {
            "text": text.get() == "pristine",
            "items": items.get() is pristine_items,
            "name": task.get_name() == NAME,
            "cancelling": task.cancelling() == 0,
            "kept": not any(task is one or (isinstance(one, weakref.ref) and one() is task) for one in kept),
        }
        return [name for name, right in checks.items() if not right]

    @router.handle("look")
    async def look_once() -> list[str]:
        return look()

    @router.handle("look twice")
    async def look_twice() -> list[str]:
        before = look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return before + look()

    router.handle("look, inline")(look)
    router.handle("look, ordered", ordered=True)(look_twice)
    return router


@pytest.mark.parametrize("mischief", MISCHIEF, ids=lambda mischief: mischief.__name__)
async def test_nothing_that_a_handler_does_meets_the_next_message(connect: Connect, mischief: Mischief) -> None:
    kept.clear()
    token = items.set(pristine_items)
    link = await connect(haunted_router())
    items.reset(token)

    async def call(method: str) -> Any:
        try:
            return await link.client.call(method, timeout=10)
        except arpc.RemoteError:
            return None

    bad, looks = mischief.__name__, ["look", "look twice", "look, inline", "look, ordered"]
    methods = [bad, *looks, bad, bad, *looks, f"{bad}, ordered", *looks, f"{bad}, ordered", bad, "look, ordered"] * 3
    answers = await asyncio.gather(*map(call, methods))
    seen = {method: answer for method, answer in zip(methods, answers, strict=True) if "look" in method}
    assert seen == {look: [] for look in looks}
    await asyncio.gather(*(one for one in kept if isinstance(one, asyncio.Future)), return_exceptions=True)
    kept.clear()


async def test_what_such_handlers_answer(connect: Connect, logged: Log) -> None:
    link = await connect(haunted_router())
    for mischief, answer in (
        (cancels_its_task, None),
        (cancels_its_task_and_waits, "cancelled"),
        (raises_cancelled, "cancelled"),
        (raises_madness, "internal error"),
        (raises_madness_later, "internal error"),
        (swallows_its_cancellation, None),
        (times_out, None),
    ):
        if answer is None:
            assert await link.client.call(mischief.__name__, timeout=10) is None
        else:
            with pytest.raises(arpc.RemoteError, match=f"^{answer}$"):
                await link.client.call(mischief.__name__, timeout=10)
    assert logged().count("Traceback") == 2


async def test_nor_with_eager_tasks(connect: Connect, eager_tasks: None) -> None:
    kept.clear()
    token = items.set(pristine_items)
    link = await connect(haunted_router())
    items.reset(token)
    methods = ["look", "sets_a_variable", "look twice", "leaves_a_task_behind", "look, inline"] * 300
    answers = await asyncio.gather(*map(link.client.call, methods))
    assert [answer for answer in answers if answer] == []
    await asyncio.gather(*(one for one in kept if isinstance(one, asyncio.Future)))
    kept.clear()
