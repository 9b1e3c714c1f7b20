"""How a message ended, as its observers are told: what was answered, not what a handler believes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import arpc
from arpc.middleware import Layer, Next, Target
from tests.peer.conftest import Connect
from tests.tools import eventually

Ends = list[tuple[str, str, str, int]]


class Watch(Layer):
    """Notes method, kind, code and size of what has ended."""

    def __init__(self) -> None:
        self.ends: Ends = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        def watch(ctx: arpc.Context) -> Coroutine[Any, Any, Any]:
            ctx.on_end(self.note, "first")
            ctx.on_end(self.note, "second")
            return call_next(ctx)

        return watch

    def note(self, ctx: arpc.Context, error: BaseException | None, size: int, which: str) -> None:
        if which == "second":
            self.ends.append((ctx.method, ctx.kind, "ok" if error is None else ctx.code_of(error), size))


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def router(watch: Watch) -> arpc.Router:
    router = arpc.Router(middleware=[watch])

    @router.handle("/ok")
    async def ok(ctx: arpc.Context) -> str:
        ctx.answer_metadata["k"] = "v"
        return "fine"

    @router.handle("/refuses")
    def refuses() -> None:
        raise arpc.RpcError("no", arpc.Code.NOT_FOUND)

    @router.handle("/refuses-without-a-code")
    def refuses_so() -> None:
        raise arpc.RpcError("no")

    @router.handle("/fails")
    def fails() -> None:
        raise ValueError("secret")

    @router.handle("/object")
    def unencodable() -> Any:
        return object()

    @router.handle("/waits")
    async def waits() -> None:
        await asyncio.sleep(60)

    @router.handle("/stubborn")
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    @router.stream("/items")
    async def items() -> AsyncIterator[str]:
        yield "item"

    @router.stream("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "item"
        raise arpc.RpcError("enough", "enough")

    return router


@pytest.mark.parametrize(
    ("method", "code", "size"),
    [
        ("/ok", "ok", 4),
        ("/refuses", "not_found", 0),
        ("/refuses-without-a-code", "unknown", 0),
        ("/fails", "internal", 0),
        ("/object", "internal", 0),
    ],
)
async def test_a_call(
    connect: Connect, router: arpc.Router, watch: Watch, method: str, code: str, size: int, logged: Callable[[], str]
) -> None:
    link = await connect(router)
    try:
        await link.client.call(method)
    except (arpc.RemoteError, arpc.DecodeError):
        pass
    assert watch.ends == [(method, "call", code, size)]


async def test_a_deadline_and_a_caller_who_gives_up(connect: Connect, router: arpc.Router, watch: Watch) -> None:
    link = await connect(router)
    with pytest.raises(arpc.CallTimeout):
        await link.client.call("/waits", timeout=0.02)
    await eventually(lambda: len(watch.ends) == 1)
    assert watch.ends[0][2] in ("deadline_exceeded", "cancelled")  # whoever was first
    for method in ("/waits", "/stubborn"):
        watch.ends.clear()
        call = asyncio.create_task(link.client.call(method, timeout=None))
        await eventually(lambda: link.peer._connection.session.serving)
        call.cancel()
        await eventually(lambda: watch.ends)
        assert watch.ends == [(method, "call", "cancelled", 0)]


async def test_an_expired_deadline_is_no_cancellation(connect: Connect, router: arpc.Router, watch: Watch) -> None:
    link = await connect(router, options={"capabilities": arpc.Capability.META})  # nobody can cancel
    with pytest.raises(arpc.CallTimeout):
        await link.client.call("/waits", timeout=0.02)
    await eventually(lambda: watch.ends)
    assert watch.ends == [("/waits", "call", "deadline_exceeded", 0)]


async def test_notifies(connect: Connect, router: arpc.Router, watch: Watch, logged: Callable[[], str]) -> None:
    link = await connect(router)
    for method in ("/ok", "/refuses", "/fails"):
        await link.client.notify(method)
    await eventually(lambda: len(watch.ends) == 3)
    assert watch.ends == [
        ("/ok", "notify", "ok", 0),
        ("/refuses", "notify", "not_found", 0),
        ("/fails", "notify", "internal", 0),
    ]


async def test_streams(connect: Connect, router: arpc.Router, watch: Watch) -> None:
    link = await connect(router)
    async with link.client.stream("/items", returns=str) as items:
        assert [item async for item in items] == ["item"]
    async with link.client.stream("/breaks", returns=str) as items:
        assert await items.recv() == "item"
        with pytest.raises(arpc.StreamReset, match="enough"):
            await items.recv()
    await eventually(lambda: len(watch.ends) == 2)
    assert watch.ends == [("/items", "stream", "ok", 0), ("/breaks", "stream", "enough", 0)]


async def test_an_observer_that_fails_is_logged(connect: Connect, logged: Callable[[], str]) -> None:
    router = arpc.Router()

    @router.handle("/x")
    def observed(ctx: arpc.Context) -> str:
        def broken(*_: Any) -> None:
            raise ZeroDivisionError

        ctx.on_end(broken)
        return "fine"

    link = await connect(router)
    assert await link.client.call("/x", returns=str) == "fine"
    assert "an observer of /x failed" in logged()
    assert "ZeroDivisionError" in logged()
