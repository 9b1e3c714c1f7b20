"""Middleware around the handlers of an endpoint, seen by its callers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import arpc
from arpc.middleware import Middleware, Next, Timeout


def slow_router() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/sleep")
    async def sleep(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @router.handle("/plain")
    def plain(number: int) -> int:
        return number + 1

    @router.handle("/own")
    async def own() -> None:
        raise TimeoutError("the handler's own")

    return router


async def answer(middleware: list[Middleware], method: str, body: Any) -> Any:
    serving = arpc.serve("mem://0", slow_router(), middleware=middleware)
    async with serving as server, arpc.connect(server.address) as peer:
        return await peer.call(method, body, timeout=5)


async def test_the_first_is_outermost_and_sees_method_body_and_result() -> None:
    seen: list[tuple[str, str, bytes, Any]] = []

    def named(name: str) -> Middleware:
        async def middleware(ctx: arpc.Context, call_next: Next) -> Any:
            result = await call_next(ctx)
            seen.append((name, ctx.method, ctx.body, result))
            return result * 10

        return middleware

    assert await answer([named("outer"), named("inner")], "/plain", 1) == 200
    assert seen == [("inner", "/plain", b"1", 2), ("outer", "/plain", b"1", 20)]


async def test_it_may_refuse_a_message_whose_body_nobody_has_read() -> None:
    async def refuse(ctx: arpc.Context, call_next: Next) -> Any:
        raise arpc.RpcError("not you")

    with pytest.raises(arpc.RemoteError, match=r"^not you$"):
        await answer([refuse], "/plain", "no number")


async def test_a_wrong_body_and_a_current_context_inside_a_chain() -> None:
    async def look(ctx: arpc.Context, call_next: Next) -> Any:
        assert arpc.current() is ctx
        return await call_next(ctx)

    with pytest.raises(arpc.RemoteError, match=r"^invalid body: "):
        await answer([look], "/plain", ["no number"])


async def test_a_client_has_middleware_for_its_handlers_too() -> None:
    router, done = arpc.Router(), asyncio.Event()

    @router.handle("/ask")
    async def ask(ctx: arpc.Context) -> int:
        answer: int = await ctx.peer.call("/plain", 1)
        return answer

    async def note(ctx: arpc.Context, call_next: Next) -> Any:
        done.set()
        return await call_next(ctx)

    serving = arpc.serve("mem://0", router)
    async with serving as server, arpc.connect(server.address, slow_router(), middleware=[note]) as peer:
        assert await peer.call("/ask") == 2
    assert done.is_set()


async def test_timeout_ends_a_handler_and_says_so() -> None:
    with pytest.raises(arpc.RemoteError, match=r"^/sleep took longer than 0\.01 s$"):
        await answer([Timeout(0.01)], "/sleep", 10.0)
    assert await answer([Timeout(5)], "/sleep", 0.001) == 0.001
    assert await answer([Timeout(5)], "/plain", 4) == 5


async def test_timeout_leaves_a_handlers_own_timeout_alone() -> None:
    with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
        await answer([Timeout(5)], "/own", None)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 10**400])
def test_a_timeout_is_above_zero(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Timeout(seconds)


async def test_what_is_no_middleware_is_refused_when_serving_begins() -> None:
    def plain(ctx: arpc.Context, call_next: Next) -> Any:
        return call_next(ctx)

    wrong: Any = [plain]
    with pytest.raises(arpc.RegistrationError, match="a middleware is an async def"):
        await arpc.serve("mem://0", slow_router(), middleware=wrong)


def test_there_is_nothing_else_to_import() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        __import__("arpc.middleware").middleware.Nothing  # noqa: B018
