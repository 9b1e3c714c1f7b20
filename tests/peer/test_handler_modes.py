"""Handlers in threads, handlers in order, and handlers that block the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypedDict

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.tools import eventually

Log = Callable[[], str]
request: ContextVar[str] = ContextVar("request", default="none")


class Point(TypedDict):
    x: int
    y: int


# Threads.


async def test_a_threaded_handler(connect: Connect) -> None:
    router, calling = arpc.Router(), arpc.Router()
    loop_thread = threading.get_ident()
    noted: list[str] = []

    @router.handle("/thread", threaded=True)
    def work(text: str, ctx: arpc.Context) -> dict[str, Any]:
        assert threading.get_ident() != loop_thread
        assert arpc.current() is ctx
        before, _ = request.get(), request.set(text)
        answer = ctx.from_thread.call("/back", text, returns=str, timeout=5)
        ctx.from_thread.notify("/note", text)
        return {"before": before, "after": request.get(), "answer": answer, "method": ctx.method}

    @calling.handle("/back")
    async def back(text: str) -> str:
        return text * 2

    @calling.handle("/note")
    def note(text: str) -> None:
        noted.append(text)

    token = request.set("of serve()")
    link = await connect(router, calling)
    request.reset(token)
    answers = await asyncio.gather(*(link.client.call("/thread", f"{n}") for n in range(50)))
    assert answers == [
        {"before": "of serve()", "after": f"{n}", "answer": f"{n}{n}", "method": "/thread"} for n in range(50)
    ]
    await eventually(lambda: len(noted) == 50)


async def test_threaded_handlers_fail_as_others_do(connect: Connect, logged: Log) -> None:
    router = arpc.Router()

    @router.handle("/raise", threaded=True)
    def fail(kind: str) -> None:
        if kind == "rpc":
            raise arpc.RpcError("of its own")
        if kind == "stop":
            next(iter(()))
        if kind == "base":
            raise asyncio.CancelledError
        raise ValueError("secret")

    @router.handle("/typed", threaded=True)
    def typed(n: int) -> int:
        return n

    link = await connect(router)
    for kind, text in (
        ("rpc", "of its own"),
        ("value", "internal error"),
        ("stop", "internal error"),
        ("base", "cancelled"),
    ):
        with pytest.raises(arpc.RemoteError, match=f"^{text}$"):
            await link.client.call("/raise", kind, timeout=2)
    with pytest.raises(arpc.RemoteError, match=r"invalid body: .*int"):
        await link.client.call("/typed", "x")
    assert "ValueError: secret" in logged()


async def test_threads_do_not_hold_up_the_loop_and_are_bounded(connect: Connect) -> None:
    router = arpc.Router()
    go = threading.Event()
    running: set[int] = set()

    @router.handle("/block", threaded=True)
    def block() -> None:
        running.add(threading.get_ident())
        go.wait(10)

    link = await connect(router, server_options={"max_threads": 3})
    calls = [asyncio.ensure_future(link.client.call("/block")) for _ in range(9)]
    await eventually(lambda: len(running) == 3)
    assert await link.client.ping() < 5
    go.set()
    await asyncio.gather(*calls)
    assert len(running) == 3


async def test_from_thread_says_so_on_an_event_loop(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/wrong")
    async def wrong(ctx: arpc.Context) -> str:
        with pytest.raises(RuntimeError, match=r"await ctx\.peer\.call"):
            ctx.from_thread.call("/back")
        with pytest.raises(RuntimeError, match=r"await ctx\.peer"):
            ctx.from_thread.notify("/back")
        return "said"

    link = await connect(router)
    assert await link.client.call("/wrong", returns=str) == "said"


# Order.


async def test_ordered_handlers_share_one_lane_and_others_pass(connect: Connect) -> None:
    router = arpc.Router()
    done: list[int] = []
    at_once = 0
    proceed = asyncio.Event()

    async def one(n: int) -> int:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        if n == 0:
            await proceed.wait()
        elif n % 3:
            await asyncio.sleep(0)
        done.append(n)
        at_once -= 1
        return n

    router.handle("/open", ordered=True)(one)
    router.handle("/write", ordered=True)(one)

    @router.handle("/thread", ordered=True, threaded=True)
    def thread(n: int) -> int:
        done.append(n)
        return n

    @router.handle("/inline", ordered=True)
    def inline(n: int) -> int:
        done.append(n)
        return n

    @router.handle("/free")
    async def free() -> str:
        return "free"

    link = await connect(router)
    methods = ("/open", "/write", "/inline", "/write", "/thread")
    calls = [asyncio.ensure_future(link.client.call(methods[n % 5], n, returns=int)) for n in range(500)]
    await asyncio.sleep(0)
    free_calls = [link.client.call("/free", returns=str) for _ in range(100)]
    assert await asyncio.gather(*free_calls) == ["free"] * 100
    assert done == []
    proceed.set()
    assert await asyncio.gather(*calls) == list(range(500))
    assert done == list(range(500))


async def test_each_connection_has_its_own_lane(connect: Connect) -> None:
    router = arpc.Router()
    held = asyncio.Event()

    @router.handle("/hold", ordered=True)
    async def hold() -> None:
        await held.wait()

    @router.handle("/pass", ordered=True)
    async def go() -> str:
        return "passed"

    one, two = await connect(router), await connect(router)
    waiting = asyncio.ensure_future(one.client.call("/hold"))
    behind = asyncio.ensure_future(one.client.call("/pass"))
    assert await two.client.call("/pass", returns=str) == "passed"
    await one.client.ping()
    assert not behind.done()
    held.set()
    await asyncio.gather(waiting, asyncio.wait([behind]))
    with pytest.raises(arpc.DecodeError):
        behind.result()


async def test_an_ordered_handler_that_fails_or_is_cancelled_lets_the_next_one_go(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/step", ordered=True)
    async def step(what: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        if what == "raise":
            raise ValueError(what)
        if what == "cancel":
            task.cancel()
            await asyncio.sleep(10)
        if what == "cancel unnoticed":
            task.cancel()
        return what

    link = await connect(router)
    steps = ["raise", "a", "cancel", "b", "cancel unnoticed", "c", "raise", "cancel", "d"]
    answers = await asyncio.gather(
        *(link.client.call("/step", step, returns=str, timeout=5) for step in steps), return_exceptions=True
    )
    told = [str(answer) for answer in answers]
    expected = ["internal error", "a", "cancelled", "b", "cancel unnoticed", "c", "internal error", "cancelled", "d"]
    assert told == expected


# Blocking.


async def test_a_handler_that_blocks_the_loop_is_warned_about_once(connect: Connect, logged: Log) -> None:
    router = arpc.Router()

    @router.handle("/inline")
    def inline(seconds: float) -> None:
        time.sleep(seconds)

    @router.handle("/async")
    async def busy() -> None:
        time.sleep(0.11)  # noqa: ASYNC251

    @router.handle("/thread", threaded=True)
    def thread() -> None:
        time.sleep(0.11)

    link = await connect(router)
    await link.client.call("/inline", 0.001)
    await link.client.call("/thread")
    assert logged() == ""
    for _ in range(2):
        await link.client.call("/inline", 0.11)
        await link.client.call("/async")
    lines = [line.partition("handler ")[2] for line in logged().splitlines()]
    assert len(lines) == 2
    assert lines[0].startswith("/inline blocked the event loop for 1")
    assert lines[0].endswith("ms: register it with threaded=True")
    assert lines[1].startswith("/async blocked the event loop for 1")
