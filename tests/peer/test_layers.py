"""Where middleware may stand around handlers, in which order, and what a layer is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

import arpc
from arpc.middleware import Encoded, Layer, Middleware, Next, Target, refusal
from tests.tools import eventually


class Named(Layer):
    """Notes its name on the way in, and what it was composed for."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen
        self.targets: list[Target] = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        self.targets.append(target)

        def note(ctx: arpc.Context) -> Coroutine[Any, Any, Any]:
            self.seen.append(f"{self.name} {ctx.method}")
            return call_next(ctx)

        return note


class Greeter:
    @arpc.rpc
    async def hello(self) -> str:
        return "hello"


async def test_the_order_is_endpoint_routers_from_outside_in_handler() -> None:
    seen: list[str] = []
    endpoint, outer, inner, own = (Named(name, seen) for name in ("endpoint", "outer", "inner", "own"))

    async def function(ctx: arpc.Context, call_next: Next) -> Any:
        seen.append(f"function {ctx.method}")
        return await call_next(ctx)

    below = arpc.Router(middleware=[inner])

    @below.handle("/call", middleware=[own, function])
    async def call() -> str:
        return "done"

    @below.stream("/stream", middleware=[own])
    async def stream() -> AsyncIterator[str]:
        yield "item"

    @below.fallback
    async def fallback() -> str:
        return "fallen"

    above = arpc.Router(middleware=[outer])
    above.include(below, "/v1")
    async with arpc.serve("mem://0", above, middleware=[endpoint]) as server, arpc.connect(server.address) as peer:
        assert await peer.call("/v1/call", returns=str) == "done"
        assert seen == [f"{name} /v1/call" for name in ("endpoint", "outer", "inner", "own", "function")]
        seen.clear()
        async with peer.stream("/v1/stream", returns=str) as items:
            assert [item async for item in items] == ["item"]
        assert seen == [f"{name} /v1/stream" for name in ("endpoint", "outer", "inner", "own")]
        seen.clear()
        assert await peer.call("/v1/else", returns=str) == "fallen"
        assert seen == [f"{name} /v1/else" for name in ("endpoint", "outer", "inner")]
    told = {(target.method, target.kind, target.outgoing) for target in inner.targets}
    assert {("/v1/call", "message", False), ("/v1/stream", "stream", False), ("(fallback)", "message", False)} <= told


async def test_services_and_their_methods_have_their_own() -> None:
    seen: list[str] = []

    class Desk(Greeter):
        @arpc.rpc(middleware=[Named("method", seen)])
        async def bye(self) -> str:
            return "bye"

        async def hello(self) -> str:
            return "hi"

    router = arpc.Router()
    router.register(Desk(), middleware=[Named("service", seen)])
    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address) as peer:
        assert await peer.service(Greeter).hello() == "hi"
        assert seen == ["service Greeter.hello"]
        seen.clear()
        assert await peer.service(Desk).bye() == "bye"
        assert seen == ["service Desk.bye", "method Desk.bye"]


async def test_a_layer_is_asked_once_for_each_method_and_counts_its_endpoint() -> None:
    layer = Named("one", [])
    router = arpc.Router()
    for name in ("/a", "/b"):
        router.handle(name)(lambda: None)
    async with arpc.serve("mem://0", router, middleware=[layer]) as server:
        async with arpc.connect(server.address) as peer:
            for _ in range(3):
                await peer.call("/a")
            assert [target.method for target in layer.targets] == ["/a", "/b"]
            endpoint = layer.targets[0].endpoint
            assert (len(endpoint.connections), endpoint.streams) == (1, 0)
        await eventually(lambda: len(endpoint.connections) == 0)
        assert layer.targets[0].encode([1]) == b"[1]"


async def test_a_result_may_be_encoded_already() -> None:
    router = arpc.Router()

    @router.handle("/typed")
    async def typed() -> dict[str, int]:
        return {"a": 1}

    class Encodes(Layer):
        def wrap(self, call_next: Next, target: Target) -> Next:
            async def encode(ctx: arpc.Context) -> Any:
                return Encoded(target.encode(await call_next(ctx)) + b" ")

            return encode

    async with arpc.serve("mem://0", router, middleware=[Encodes()]) as server, arpc.connect(server.address) as peer:
        assert await peer.call("/typed", returns=bytes) == b'{"a":1} '
        assert await peer.call("/typed") == {"a": 1}


async def test_a_refusal_has_a_code_and_says_when_to_come_back() -> None:
    router = arpc.Router()
    router.handle("/x")(lambda: None)

    @router.stream("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "item"

    class Refuses(Layer):
        def wrap(self, call_next: Next, target: Target) -> Next:
            def refuse(ctx: arpc.Context) -> Coroutine[Any, Any, Any]:
                raise refusal(ctx, "not now", arpc.Code.OVERLOADED, retry_after=1.25, limit=3)

            return refuse

    async with arpc.serve("mem://0", router, middleware=[Refuses()]) as server, arpc.connect(server.address) as peer:
        with pytest.raises(arpc.RemoteError, match=r"^not now$") as caught:
            await peer.call("/x")
        assert (caught.value.code, caught.value.retry_after) == ("overloaded", 1.25)
        assert caught.value.details == {"limit": 3, "retry_after": 1.25}
        async with peer.stream("/stream", returns=str) as items:
            with pytest.raises(arpc.StreamReset, match=r"^not now$"):
                await items.recv()
        await peer.notify("/x")
        assert await peer.ping() < 5  # it goes on


@pytest.mark.parametrize("details", [None, 5, "soon", {}, {"retry_after": "soon"}, {"retry_after": -1}])
def test_details_that_do_not_say_when_to_come_back(details: Any) -> None:
    assert arpc.RemoteError("no", "overloaded", details).retry_after is None
    assert arpc.CallRefused("no", "overloaded", details).retry_after is None
    assert arpc.CallRefused("no", "overloaded", {"retry_after": 2}).retry_after == 2.0


class OnlyIn(Layer):
    outgoing = False


class OnlyOut(Layer):
    incoming = False


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([OnlyOut()], r"OnlyOut stands around what goes out: write outgoing=\[OnlyOut\(\.\.\.\)\]"),
        ([OnlyIn], r"make an object of it, OnlyIn\(\.\.\.\)"),
        ([lambda ctx, call_next: call_next(ctx)], "a middleware is an async def"),
        (OnlyIn(), "middleware is a list"),
        ("OnlyIn", "middleware is a list"),
        ([5], "a middleware is an async def"),
    ],
    ids=["other side", "class", "plain function", "no list", "text", "number"],
)
async def test_what_may_not_stand_around_handlers(wrong: Any, says: str) -> None:
    router = arpc.Router()
    for place in (
        lambda: router.handle("/x", middleware=wrong)(lambda: None),
        lambda: arpc.Router(middleware=wrong),
        lambda: router.register(Greeter(), middleware=wrong),
        lambda: arpc.rpc(middleware=wrong),
    ):
        with pytest.raises(arpc.RegistrationError, match=says):
            place()
    with pytest.raises(arpc.RegistrationError, match=says):
        await arpc.serve("mem://0", router, middleware=wrong)
    assert router.handlers() == {}


async def test_what_may_not_stand_around_what_goes_out() -> None:
    wrong: list[Middleware] = [OnlyIn()]
    with pytest.raises(arpc.RegistrationError, match=r"OnlyIn stands around handlers: write middleware=\[OnlyIn"):
        await arpc.serve("mem://0", arpc.Router(), outgoing=wrong)
    async with arpc.serve("mem://0", arpc.Router()) as server:
        with pytest.raises(arpc.RegistrationError, match="OnlyIn stands around handlers"):
            await arpc.connect(server.address, outgoing=wrong)


async def test_a_layer_without_wrap_says_so() -> None:
    router = arpc.Router()
    router.handle("/x")(lambda: None)
    with pytest.raises(NotImplementedError, match=r"OnlyIn has no wrap\(\)"):
        await arpc.serve("mem://0", router, middleware=[OnlyIn()])
