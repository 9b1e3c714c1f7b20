"""What a handler's result becomes, and handlers that run in threads or inside a chain of middleware."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn, Protocol, TypedDict

import pytest

from arpc import Context, EncodeError, RegistrationError, RpcError
from arpc.handler import Handler
from arpc.middleware import Next
from tests.tools import eventually
from tests.unit.handling import answer

# --- results


@dataclass
class Person:
    name: str


class Adult(Person):
    pass


class Fields(TypedDict):
    a: int


class Pair(NamedTuple):
    a: int
    b: int


class Named(Protocol):
    name: str


def returning(kind: Any, value: Any) -> Callable[[], Any]:
    """A handler with this return annotation that returns this value."""

    def handler() -> Any:
        return value

    handler.__annotations__["return"] = kind
    return handler


@pytest.mark.parametrize(
    ("kind", "value", "body"),
    [
        (bytes, b"\xff", b"\xff"),
        (bytes, bytearray(b"x"), b"x"),
        pytest.param(bytes, memoryview(b"x"), b"x", id="memoryview"),
        (str, "é", "é".encode()),
        (None, None, b""),
        (int, 1, b"1"),
        (float, 1, b"1"),
        (float, 1.5, b"1.5"),
        (Decimal, Decimal("1.5"), b'"1.5"'),
        (Person, Person("Ann"), b'{"name":"Ann"}'),
        (Person, Adult("Ann"), b'{"name":"Ann"}'),
        (Fields, {"a": 1}, b'{"a":1}'),
        (Pair, Pair(1, 2), b"[1,2]"),
        (Named, Person("Ann"), b'{"name":"Ann"}'),
        (object, [1], b"[1]"),
        (Any, [1], b"[1]"),
        (Any, b"raw", b"raw"),
        (Any, None, b""),
        (list[int], [1], b"[1]"),
        (int | None, None, b""),
        (Person | str, "text", b"text"),
        (NoReturn, 1, b"1"),
    ],
    ids=str,
)
async def test_a_result_becomes_a_body(kind: Any, value: Any, body: bytes) -> None:
    assert await answer(returning(kind, value)) == body


async def test_without_a_return_annotation_anything_goes() -> None:
    assert await answer(lambda: [1, "a"]) == b'[1,"a"]'
    assert await answer(lambda: None) == b""
    assert await answer(lambda: b"\xff") == b"\xff"


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (bytes, "text", "returned a str, and its annotation says bytes"),
        (str, b"bytes", "returned a bytes, and its annotation says str"),
        (None, 0, "returned a int, and its annotation says None"),
        (Person, {"name": "Ann"}, "returned a dict, and its annotation says Person"),
        (Adult, Person("Ann"), "returned a Person, and its annotation says Adult"),
        (int, None, "returned a NoneType, and its annotation says int"),
        (Any, object(), "json cannot encode a object"),
        (object, object(), "json cannot encode a object"),
        (str, "\ud800", "cannot be written as UTF-8"),
    ],
)
async def test_a_result_that_is_not_what_was_announced(kind: Any, value: Any, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        await answer(returning(kind, value))


# --- in a thread


def where() -> str:
    return "main" if threading.current_thread() is threading.main_thread() else "thread"


async def test_a_threaded_handler_runs_in_a_thread() -> None:
    def here(body: str, ctx: Context) -> str:
        return f"{body} {ctx.method} {where()}"

    assert await answer(here, b"x") == b"x /test main"
    assert await answer(here, b"x", threaded=True) == b"x /test thread"


async def test_a_threaded_handler_has_the_context_variables_of_its_message() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")

    def read() -> str:
        before = variable.get()
        variable.set("from the thread")
        return before

    variable.set("from the task")
    assert await answer(read, threaded=True) == b"from the task"
    assert variable.get() == "from the task"


async def test_what_a_threaded_handler_raises_comes_through() -> None:
    def wrong(body: int) -> None:
        raise RpcError("no")

    def stop() -> None:
        raise StopIteration

    with pytest.raises(RpcError, match=r"^no$"):
        await answer(wrong, b"1", threaded=True)
    with pytest.raises(RpcError, match=r"^invalid body: "):
        await answer(wrong, b'"1"', threaded=True)
    with pytest.raises(RuntimeError, match="a handler raised StopIteration"):
        await answer(stop, threaded=True)


async def test_a_cancelled_threaded_handler_has_not_ended_before_its_thread() -> None:
    """However often it is cancelled: a thread cannot be stopped, and keeps its place until it is done."""
    entered, leave = threading.Event(), threading.Event()
    ended: list[str] = []

    def block() -> None:
        entered.set()
        leave.wait(10)
        ended.append("thread")
        raise ValueError("which nobody asks for any more")

    task = asyncio.create_task(answer(block, threaded=True))
    try:
        await eventually(entered.is_set)
        for _ in range(3):
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=0.01)
            assert not done
    finally:
        leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["thread"]


# --- inside a chain


async def test_middleware_stands_around_a_handler() -> None:
    seen: list[str] = []

    async def outer(ctx: Context, call_next: Next) -> Any:
        seen.append(f"outer {ctx.method}")
        return f"<{await call_next(ctx)}>"

    class Inner:
        async def __call__(self, ctx: Context, call_next: Next) -> Any:
            seen.append("inner")
            return await call_next(ctx)

    async def later(body: str, ctx: Context) -> str:
        return f"{body} {ctx.method}"

    def plain(body: str) -> str:
        return body

    chain = (outer, Inner())
    assert await answer(later, b"x", middleware=chain) == b"<x /test>"
    assert await answer(plain, b"x", middleware=chain) == b"<x>"
    assert await answer(plain, b"x", middleware=chain, threaded=True) == b"<x>"
    assert seen == ["outer /test", "inner"] * 3


async def test_a_chain_may_refuse_a_body_unread() -> None:
    async def refuse(ctx: Context, call_next: Next) -> Any:
        raise RpcError("not for you")

    async def take(body: int) -> None:
        raise AssertionError("this does not run")

    with pytest.raises(RpcError, match=r"^not for you$"):
        await answer(take, b"no number", middleware=[refuse])


async def test_one_context_is_shared_by_the_chain_and_the_handler() -> None:
    async def remember(ctx: Context, call_next: Next) -> Any:
        ctx.state.user = "Ann"
        return await call_next(ctx)

    async def greet(ctx: Context) -> str:
        return str(ctx.state.user)

    assert await answer(greet, middleware=[remember]) == b"Ann"


def test_what_is_no_middleware_is_refused() -> None:
    def plain(ctx: Context, call_next: Next) -> Any: ...

    wrong: Any = [plain]
    with pytest.raises(RegistrationError, match=r"a middleware is an async def \(ctx, call_next\)"):
        Handler("/it", returning(None, None), middleware=wrong)
