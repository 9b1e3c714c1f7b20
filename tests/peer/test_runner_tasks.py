"""The tasks that handlers share: how they end, what works in them, and that they leave room for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import pytest

import arpc
from arpc.frame import NOTIFY, encode
from arpc.runner import NAME, SLICE
from tests.peer.conftest import Connect, Link
from tests.tools import eventually

Log = Callable[[], str]
text: ContextVar[str] = ContextVar("text", default="pristine")


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


# What asyncio offers works in a handler as in any task, whether it suspends or not.


async def timeout_ends_a_wait() -> str:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(10)
    except TimeoutError:
        assert this_task().cancelling() == 0
        return "timed out"
    return "no"


async def nested_timeouts() -> str:
    async with asyncio.timeout(10):
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(10)
        except TimeoutError:
            await asyncio.sleep(0)
            return "inner"
    return "no"


async def wait_for_a_timeout() -> str:
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.001)
    except TimeoutError:
        return "timed out"
    return "no"


async def a_task_group_that_suspends() -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(5)]
    return sum(task.result() for task in tasks)


async def an_empty_task_group() -> str:
    async with asyncio.TaskGroup():
        pass
    return "empty"


async def a_task_group_that_fails() -> str:
    async def fail() -> None:
        raise LookupError("one")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(10))
            group.create_task(fail())
            await asyncio.sleep(10)
    except* LookupError:
        assert this_task().cancelling() == 0
    await asyncio.sleep(0)
    return "failed"


async def nested_cancellation() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(10))
    asyncio.get_running_loop().call_soon(inner.cancel)
    try:
        await inner
    except asyncio.CancelledError:
        assert this_task().cancelling() == 0
        return "only the inner one"
    return "no"


async def a_cancellation_taken_back() -> str:
    task = this_task()
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        assert task.uncancel() == 0
    await asyncio.sleep(0)
    return "taken back"


async def a_shield() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(0.001, "survived"))
    asyncio.get_running_loop().call_soon(this_task().cancel)
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        this_task().uncancel()
    return await inner


async def a_shield_around_something_done() -> str:
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    done.set_result("done")
    return await asyncio.shield(done)


async def an_async_generator() -> int:
    async def numbers() -> AsyncIterator[int]:
        for n in range(4):
            yield n
            await asyncio.sleep(0)

    return sum([n async for n in numbers()])


async def a_lock() -> str:
    lock = asyncio.Lock()
    async with lock:
        waiting = asyncio.ensure_future(lock.acquire())
        await asyncio.sleep(0)
    await waiting
    return "acquired"


TOOLS: list[tuple[Callable[[], Awaitable[Any]], Any]] = [
    (timeout_ends_a_wait, "timed out"),
    (nested_timeouts, "inner"),
    (wait_for_a_timeout, "timed out"),
    (a_task_group_that_suspends, 10),
    (an_empty_task_group, "empty"),
    (a_task_group_that_fails, "failed"),
    (nested_cancellation, "only the inner one"),
    (a_cancellation_taken_back, "taken back"),
    (a_shield, "survived"),
    (a_shield_around_something_done, "done"),
    (an_async_generator, 6),
    (a_lock, "acquired"),
]


async def all_tools(connect: Connect, **options: Any) -> None:
    router = arpc.Router()
    for tool, _ in TOOLS:
        router.handle(tool.__name__)(tool)
        router.handle(f"{tool.__name__}, ordered", ordered=True)(tool)
    link = await connect(router, **options)
    names = [(name, expected) for tool, expected in TOOLS for name in (tool.__name__, f"{tool.__name__}, ordered")] * 3
    calls = [link.client.call(name, returns=str if isinstance(expected, str) else int) for name, expected in names]
    assert await asyncio.gather(*calls) == [expected for _, expected in names]


async def test_the_tools_of_asyncio(connect: Connect) -> None:
    await all_tools(connect)


async def test_the_tools_of_asyncio_with_eager_tasks(connect: Connect, eager_tasks: None) -> None:
    await all_tools(connect)


# Tasks that end in ways of their own.


def deliver(link: Link, *frames: bytes) -> None:
    """Has the accepted side receive these frames, now."""
    link.peer._connection.data_received(b"".join(frames))


def runner_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == NAME}


async def test_a_handlers_task_tells_of_its_end_when_the_handler_has_ended(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[str] = []

    @router.handle("/watched")
    async def watched() -> None:
        this_task().add_done_callback(lambda task: seen.append("done"))

    @router.handle("/n")
    def number() -> None:
        seen.append("n")

    link = await connect(router)
    deliver(link, encode(NOTIFY, 0, 0, b"/watched"), *[encode(NOTIFY, 0, 0, b"/n")] * 1000)
    await eventually(lambda: len(seen) == 1001)
    assert seen.index("done") <= 2 * SLICE


async def test_a_task_that_is_cancelled_before_its_first_step_strands_nothing(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[int] = []

    @router.handle("/n")
    async def number(n: int) -> None:
        seen.append(n)

    @router.handle("/ordered", ordered=True)
    async def ordered(n: int) -> None:
        seen.append(n)

    link = await connect(router)
    for method in (b"/n", b"/ordered"):
        seen.clear()
        deliver(link, *(encode(NOTIFY, 0, 0, method, b"%d" % n) for n in range(200)))
        cancelled = set[asyncio.Task[Any]]()
        for _ in range(3):
            fresh = runner_tasks() - cancelled
            assert len(fresh) == 1
            fresh.pop().cancel()
            cancelled |= runner_tasks()
            await asyncio.sleep(0)
        await eventually(lambda: seen == list(range(200)))


async def test_a_task_that_is_cancelled_between_two_slices_strands_nothing(connect: Connect) -> None:
    router = arpc.Router()
    seen: list[int] = []

    @router.handle("/n")
    def number(n: int) -> None:
        seen.append(n)

    link = await connect(router)
    deliver(link, *(encode(NOTIFY, 0, 0, b"/n", b"%d" % n) for n in range(20 * SLICE)))
    while len(seen) < 20 * SLICE:
        for task in runner_tasks():
            if seen:
                task.cancel()
        before = len(seen)
        await eventually(lambda before=before: len(seen) > before)  # type: ignore[misc]
    assert seen == list(range(20 * SLICE))


async def test_a_handler_that_never_ends_stops_no_other(connect: Connect) -> None:
    router = arpc.Router()
    never = asyncio.Event()

    @router.handle("/never")
    async def wait() -> None:
        await never.wait()

    @router.handle("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    link = await connect(router)
    stuck = [asyncio.ensure_future(link.client.call("/never")) for _ in range(100)]
    for n in range(100):
        assert await link.client.call("/echo", b"%d" % n, returns=bytes) == b"%d" % n
    assert not any(call.done() for call in stuck)
    never.set()
    await asyncio.gather(*stuck)


async def test_thousands_of_handlers_each_see_their_own(connect: Connect) -> None:
    router = arpc.Router()

    @router.fallback
    async def check(n: int, ctx: arpc.Context) -> str:
        """Suspends or not, sets its variable or not, as the number says; and tells what went wrong."""
        assert arpc.current() is ctx
        assert text.get() == "pristine", "another message's variable"
        ctx.state.n = n
        if n % 2:
            text.set(f"{n}")
        for _ in range(n % 5):
            await asyncio.sleep(0)
        assert text.get() == (f"{n}" if n % 2 else "pristine")
        here = arpc.current()
        assert here is ctx
        assert here.state.n == n
        return f"{here.method} {n}"

    link = await connect(router, router)
    calls = [peer.call(f"/{n}/{side}", n, returns=str) for n in range(3000) for side, peer in enumerate(link.both)]
    expected = [f"/{n}/{side} {n}" for n in range(3000) for side in range(2)]
    assert await asyncio.gather(*calls) == expected


# Other tasks of the loop get their turn.


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_hundred_thousand_messages_leave_room_for_others(connect: Connect, suspends: bool) -> None:
    router = arpc.Router()
    served = 0
    count = 10_000 if suspends else 100_000

    if suspends:

        @router.handle("/n")
        async def wait() -> None:
            nonlocal served
            served += 1
            await asyncio.sleep(0)

    else:

        @router.handle("/n")
        def number() -> None:
            nonlocal served
            served += 1

    link = await connect(router)
    deliver(link, *[encode(NOTIFY, 0, 0, b"/n")] * count)
    most = before = 0
    while served < count:
        await asyncio.sleep(0)
        most, before = max(most, served - before), served
    assert 0 < most <= 2 * SLICE, "others wait for at most a slice or two"


async def test_slow_messages_leave_room_for_others_sooner(connect: Connect) -> None:
    router = arpc.Router()
    served = 0

    @router.handle("/slow")
    def slow() -> None:
        nonlocal served
        served += 1
        end = perf_counter() + 0.0006
        while perf_counter() < end:
            pass

    link = await connect(router)
    deliver(link, *[encode(NOTIFY, 0, 0, b"/slow")] * 200)
    most = before = 0
    while served < 200:
        await asyncio.sleep(0)
        most, before = max(most, served - before), served
    assert 0 < most <= 4, "a slice ends after a millisecond"


async def test_one_busy_connection_leaves_room_for_others(connect: Connect, dial: Any) -> None:
    router = arpc.Router()
    seen: list[str] = []

    @router.handle("/n")
    def number(name: str) -> None:
        seen.append(name)

    busy = await connect(router)
    other = await dial(busy.server)
    deliver(busy, *[encode(NOTIFY, 0, 0, b"/n", b"busy")] * 5000)
    deliver(other, encode(NOTIFY, 0, 0, b"/n", b"other"))
    await eventually(lambda: len(seen) == 5001)
    assert seen.index("other") <= 2 * SLICE
