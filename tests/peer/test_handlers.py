"""Handlers of every shape, and how routers hold them."""

from __future__ import annotations

import asyncio
import functools
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


# Shapes.


async def test_the_context_may_stand_anywhere_or_nowhere(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("first")
    async def first(ctx: arpc.Context, body: str) -> str:
        return f"{ctx.method} {body}"

    @router.handle("last")
    async def last(body: str, ctx: arpc.Context) -> str:
        return f"{ctx.method} {body}"

    @router.handle("alone")
    def alone(ctx: arpc.Context) -> str:
        return ctx.method

    @router.handle("keyword")
    def keyword(body: str, *, ctx: arpc.Context) -> str:
        return f"{ctx.method} {body}"

    @router.handle("between")
    def between(a: int, ctx: arpc.Context, b: int) -> str:
        return f"{ctx.method} {a} {b}"

    @router.handle("nowhere")
    def nowhere(body: str) -> str:
        return body

    @router.handle("nothing")
    def nothing() -> str:
        return "nothing"

    link = await connect(router)
    call = link.client.call
    for method in ("first", "last", "keyword"):
        assert await call(method, "b", returns=str) == f"{method} b"
    assert await call("alone", returns=str) == "alone"
    assert await call("between", {"a": 1, "b": 2}, returns=str) == "between 1 2"
    assert await call("nowhere", "b", returns=str) == "b"
    assert await call("nothing", returns=str) == "nothing"
    for method in ("alone", "nothing"):
        with pytest.raises(arpc.RemoteError, match="invalid body: expected an empty body, got 1 bytes"):
            await call(method, b"1")


async def test_several_parameters_are_the_fields_of_one_object(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/add")
    async def add(a: int, b: int = 10, *, c: list[int] | None = None) -> int:
        return a + b + sum(c or ())

    link = await connect(router)
    call = link.client.call
    assert await call("/add", {"a": 1, "b": 2}, returns=int) == 3
    assert await call("/add", {"a": 1}, returns=int) == 11
    assert await call("/add", {"a": 1, "b": 2, "c": [3, 4], "unknown": 5}, returns=int) == 10
    for body, says in (
        ({"b": 2}, "missing required field `a`"),
        ({"a": "1"}, r"Expected `int`, got `str` - at `\$.a`"),
        ([1, 2], "Expected `object`, got `array`"),
        (None, "empty body"),
    ):
        with pytest.raises(arpc.RemoteError, match=says):
            await call("/add", body)


async def test_defaults(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/one")
    async def one(name: str = "nobody") -> str:
        return name

    @router.handle("/all")
    async def both(a: int = 1, b: int = 2) -> int:
        return a * 10 + b

    link = await connect(router)
    call = link.client.call
    assert await call("/one", returns=str) == "nobody"
    assert await call("/one", "Ann", returns=str) == "Ann"
    assert await call("/all", returns=int) == 12
    assert await call("/all", {"b": 5}, returns=int) == 15


async def test_callables_of_every_kind(connect: Connect) -> None:
    router = arpc.Router()

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def __call__(self, step: int) -> int:
            self.count += step
            return self.count

        async def method(self, point: Point) -> int:
            return point["x"] + point["y"]

        @staticmethod
        def static(text: str) -> str:
            return text.upper()

    async def scaled(factor: int, value: int) -> int:
        return factor * value

    counter = Counter()
    router.handle("/object")(counter)
    router.handle("/method")(counter.method)
    router.handle("/static")(Counter.static)
    router.handle("/partial")(functools.partial(scaled, 3))
    link = await connect(router)
    call = link.client.call
    assert [await call("/object", 2, returns=int), await call("/object", 3, returns=int)] == [2, 5]
    assert await call("/method", {"x": 1, "y": 2}, returns=int) == 3
    assert await call("/static", "a", returns=str) == "A"
    assert await call("/partial", 5, returns=int) == 15


async def test_registration_leaves_the_function_as_it_is() -> None:
    async def greet(name: str) -> str:
        return name

    assert arpc.Router().handle("/greet")(greet) is greet
    assert arpc.Router().fallback(greet) is greet


# Routers.


async def test_a_fallback_serves_what_nobody_else_does(connect: Connect) -> None:
    router, other = arpc.Router(), arpc.Router()

    @router.handle("/known")
    def known() -> str:
        return "known"

    @router.fallback
    async def fallback(body: bytes, ctx: arpc.Context) -> str:
        return f"{ctx.method} got {body.decode()}"

    @other.fallback()
    def inner(ctx: arpc.Context) -> str:
        return f"inner {ctx.method}"

    router.include(other, prefix="/v1")
    link = await connect(router)
    call = link.client.call
    assert await call("/known", returns=str) == "known"
    assert await call("/unknown", "x", returns=str) == "/unknown got x"
    assert await call("/v1/unknown", returns=str) == "inner /v1/unknown"
    with pytest.raises(arpc.MethodNotFound):
        await link.peer.call("/unknown")


async def test_included_routers_and_late_registration(connect: Connect) -> None:
    router, other, inner = arpc.Router(), arpc.Router(), arpc.Router()
    router.include(other, prefix="/v1")
    other.include(inner, prefix="/in")

    def answering(text: str) -> Callable[[], str]:
        def answer() -> str:
            return text

        return answer

    other.handle("/a")(answering("a"))
    link = await connect(router)
    call = link.client.call
    assert await call("/v1/a", returns=str) == "a"
    with pytest.raises(arpc.MethodNotFound):
        await call("/v1/in/late")
    inner.handle("/late")(answering("late"))
    router.handle("/top")(answering("top"))
    assert await call("/v1/in/late", returns=str) == "late"
    assert await call("/top", returns=str) == "top"
    for wrong in ("/a", "/in/late", "/v1", "/v1/A"):
        with pytest.raises(arpc.MethodNotFound):
            await call(wrong)
    router.fallback(answering("fallback"))
    assert await call("/a", returns=str) == "fallback"


async def test_one_router_serves_endpoints_with_other_codecs(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/point")
    async def point(value: Point) -> Point:
        return {"x": value["y"], "y": value["x"]}

    for codec in ("json", "msgpack"):
        link = await connect(router, router, codec=codec)
        for peer in link.both:
            assert await peer.call("/point", {"x": 1, "y": 2}, returns=Point) == {"x": 2, "y": 1}


async def test_a_late_registration_that_cannot_be_served(connect: Connect, logged: Log) -> None:
    """The method itself answers an error; nothing else is touched, and it is said in the log."""
    router = arpc.Router()

    @router.handle("/good")
    def good() -> str:
        return "good"

    link = await connect(router)

    @router.handle("/bad")
    async def bad(task: asyncio.Event) -> None: ...

    @router.handle("/late")
    def late() -> str:
        return "late"

    async def all_three() -> list[Any]:
        calls = [link.client.call(method, returns=str, timeout=2) for method in ("/good", "/bad", "/late")]
        return await asyncio.gather(*calls, return_exceptions=True)

    for _ in range(2):
        good_answer, bad_answer, late_answer = await all_three()
        assert good_answer == "good"
        assert isinstance(bad_answer, arpc.RemoteError)
        assert late_answer == "late"
    assert "asyncio.locks.Event" in logged()


# The context.


async def test_what_a_context_says(connect: Connect) -> None:
    router = arpc.Router()
    notes: list[Any] = []

    @router.handle("/note")
    async def note(ctx: arpc.Context) -> str:
        assert arpc.current() is ctx
        ctx.state.n = ctx.peer.state["n"] = ctx.peer.state.get("n", 0) + 1
        notes.append((ctx.kind, ctx.method, dict(ctx.state), ctx.peer))
        await asyncio.sleep(0)
        assert arpc.current() is ctx
        return repr(ctx)

    link = await connect(router)
    assert await link.client.call("/note", returns=str) == f"<arpc.Context call '/note' from {link.peer!r}>"
    await link.client.notify("/note")
    await eventually(lambda: len(notes) == 2)
    assert notes == [("call", "/note", {"n": 1}, link.peer), ("notify", "/note", {"n": 2}, link.peer)]
    assert link.client.state == {}


async def test_current_is_known_by_the_handlers_own_task_alone(connect: Connect) -> None:
    router = arpc.Router()
    with pytest.raises(LookupError):
        arpc.current()

    async def elsewhere() -> str:
        with pytest.raises(LookupError):
            arpc.current()
        return "none"

    @router.handle("/async")
    async def handler() -> list[str]:
        deep = await asyncio.gather(elsewhere(), elsewhere())
        return [arpc.current().method, *deep]

    @router.handle("/inline")
    def inline() -> str:
        return arpc.current().method

    link = await connect(router)
    assert await link.client.call("/async") == ["/async", "none", "none"]
    assert await link.client.call("/inline", returns=str) == "/inline"
