"""Mistakes that are easy to make, and orders that look right: each works, or says what is wrong."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

import arpc
from arpc.middleware import (
    Auth,
    BearerToken,
    Cache,
    CircuitBreaker,
    Encoded,
    Graceful,
    Layer,
    Middleware,
    Next,
    RateLimit,
    Require,
    Retry,
    Target,
    Timeout,
    Tokens,
    Validate,
)
from tests.tools import eventually

ANN, BOB = "the token of ann", "the token of bob"


def tokens() -> Tokens:
    roles: Any = ["user"]
    return Tokens({ANN: arpc.Identity("ann", roles), BOB: "bob"})


def make_router(auth: Auth | None = None) -> arpc.Router:
    router = arpc.Router()
    if auth is not None:
        router.include(auth.router)

    @router.handle("/who")
    async def who(ctx: arpc.Context) -> str:
        return "nobody" if ctx.peer.identity is None else ctx.peer.identity.name

    @router.handle("/user", middleware=[Require("user")])
    async def user() -> str:
        return "a user"

    return router


@pytest.mark.parametrize("inside", [True, False])
async def test_a_cache_of_all_methods_does_not_answer_who_authenticates(inside: bool) -> None:
    auth, cache = Auth(tokens()), Cache(60, methods=["*"])
    chain: list[Middleware] = [auth, cache] if inside else [cache, auth]
    async with arpc.serve("mem://0", make_router(auth), middleware=chain) as server:

        async def ask(token: str) -> str:
            async with arpc.connect(server.address, outgoing=[BearerToken(token)]) as peer:
                return await peer.call("/who", returns=str)

        for _ in range(2):
            assert [*await asyncio.gather(ask(ANN), ask(BOB), ask(ANN))] == ["ann", "bob", "ann"]


async def test_a_limit_by_user_inside_does_not_count_who_authenticates() -> None:
    auth = Auth(tokens())
    limit = RateLimit(1, burst=1, per=lambda ctx: "" if ctx.peer.identity is None else ctx.peer.identity.name)
    async with arpc.serve("mem://0", make_router(auth), middleware=[auth, limit]) as server:
        for token, name in ((ANN, "ann"), (BOB, "bob")):
            async with arpc.connect(server.address, outgoing=[BearerToken(token)]) as peer:
                assert await peer.call("/who", returns=str) == name


async def test_roles_may_be_a_list_and_no_text() -> None:
    auth = Auth(tokens())
    async with (
        arpc.serve("mem://0", make_router(auth), middleware=[auth]) as server,
        arpc.connect(server.address, outgoing=[BearerToken(ANN)]) as peer,
    ):
        assert await peer.call("/user", returns=str) == "a user"
    for roles in ("user", 5):
        wrong: Any = roles
        with pytest.raises(TypeError, match="roles are a set of texts"):
            arpc.Identity("ann", wrong)


async def test_auth_that_is_served_and_stands_around_nothing(caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth(tokens())
    async with (
        arpc.serve("mem://0", make_router(auth)) as server,
        arpc.connect(server.address, outgoing=[BearerToken(ANN)]) as peer,
    ):
        with pytest.raises(arpc.RemoteError, match="authentication is not set up here"):
            await peer.call("/who")
    assert "write middleware=[auth], too" in caplog.text


async def test_auth_that_is_not_served() -> None:
    auth = Auth(tokens())
    async with (
        arpc.serve("mem://0", make_router(), middleware=[auth]) as server,
        arpc.connect(server.address, outgoing=[BearerToken(ANN)]) as peer,
    ):
        with pytest.raises(arpc.MethodNotFound, match=r"does not serve /auth, .*: include auth\.router there"):
            await peer.call("/who")


async def test_a_function_that_gives_no_token() -> None:
    nothing: Any = lambda: None  # noqa: E731
    auth = Auth(tokens())
    async with (
        arpc.serve("mem://0", make_router(auth), middleware=[auth]) as server,
        arpc.connect(server.address, outgoing=[BearerToken(nothing)]) as peer,
    ):
        with pytest.raises(TypeError, match="returns a token, a text that is not empty, not None"):
            await peer.call("/who")


async def test_graceful_that_stands_around_nothing() -> None:
    async with arpc.serve("mem://0", make_router()) as server:
        with pytest.raises(RuntimeError, match=r"middleware=\[graceful\]"):
            await Graceful().shutdown(server)


async def test_a_retry_inside_a_timeout_raises_what_went_wrong() -> None:
    router = arpc.Router()

    @router.handle("/down")
    async def down() -> None:
        raise arpc.RpcError("down for now", arpc.Code.UNAVAILABLE)

    around = [Timeout(0.2), Retry(wait_initial=1.0, wait_jitter=0.0)]
    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address, outgoing=around) as peer:
        with pytest.raises(arpc.RemoteError, match="down for now") as caught:
            await peer.call("/down")
    assert "its deadline leaves" in caught.value.__notes__[0]


class Returns(Layer):
    """Answers something else."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def wrap(self, call_next: Next, target: Target) -> Next:
        async def other(ctx: arpc.Context) -> Any:
            await call_next(ctx)
            return self.result

        return other


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (Encoded("text"), "a middleware returned an Encoded of a str, which has bytes"),  # type: ignore[arg-type]
        (None, r"it returned a NoneType, and its annotation says str \(unless a middleware around it did\)"),
    ],
)
async def test_a_middleware_that_returns_what_is_no_answer(
    result: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    router = arpc.Router()
    router.include(make_router())

    @router.handle("/wrong", middleware=[Returns(result)])
    async def wrong() -> str:
        return "right"

    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address) as peer:
        good = [peer.call("/who", returns=str) for _ in range(3)]
        bad = peer.call("/wrong", returns=str)
        *answers, error = await asyncio.gather(*good, bad, return_exceptions=True)
    assert answers == ["nobody"] * 3
    assert isinstance(error, arpc.RemoteError)
    assert any(message for message in caplog.messages if re.search(says, message))


async def test_a_wrap_that_returns_nothing() -> None:
    class Forgets(Layer):
        def wrap(self, call_next: Next, target: Target) -> Next:
            return cast(Next, None)

    with pytest.raises(arpc.RegistrationError, match=r"Forgets\.wrap\(\) returns a function or call_next, not None"):
        await arpc.serve("mem://0", make_router(), middleware=[Forgets()])


async def test_a_notify_with_a_wrong_body_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "arpc")
    router = arpc.Router()

    @router.handle("/n")
    async def takes(number: int) -> None: ...

    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address) as peer:
        await peer.notify("/n", {"a": 2})
        (accepted,) = server.peers
        await eventually(lambda: accepted.stats.notifies_dropped == 1)
    assert "a notify of /n from" in caplog.text


async def test_an_answer_that_is_too_large_is_no_success() -> None:
    ends: list[tuple[str | None, int]] = []

    class Watch(Layer):
        def wrap(self, call_next: Next, target: Target) -> Next:
            def watch(ctx: arpc.Context) -> Coroutine[Any, Any, Any]:
                ctx.on_end(lambda ctx, error, size: ends.append((error and ctx.code_of(error), size)))
                return call_next(ctx)

            return watch

    router = arpc.Router()

    @router.handle("/large")
    async def large(ctx: arpc.Context) -> bytes:
        return bytes(200_000)

    async with (
        arpc.serve("mem://0", router, middleware=[Watch()]) as server,
        arpc.connect(server.address, max_body=100_000) as peer,
    ):
        with pytest.raises(arpc.RemoteError, match="the answer is too large"):
            await peer.call("/large", returns=bytes)
    assert ends == [("resource_exhausted", 0)]


async def test_a_function_may_say_that_it_stands_around_what_goes_out() -> None:
    async def say(ctx: arpc.Outgoing, call_next: Next) -> Any:
        ctx.attach("k", "v")
        return await call_next(ctx)

    async with arpc.serve("mem://0", make_router()) as server, arpc.connect(server.address, outgoing=[say]) as peer:
        assert await peer.call("/who", returns=str) == "nobody"


def test_what_there_is_can_be_listed() -> None:
    import arpc.middleware

    assert {"Auth", "Retry", "Layer"} <= set(dir(arpc.middleware))


WRONG: Any = ["/x"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Validate(methods=WRONG), "methods maps methods, or patterns, to their limits, and is no list"),
        (lambda: Cache(1, methods=["/x"], errors=WRONG), "errors maps codes to seconds, and is no list"),
        (lambda: CircuitBreaker(counts=WRONG), r"counts is a function, not \['/x'\]"),
        (lambda: CircuitBreaker(on_change=WRONG), "on_change is a function"),
    ],
)
def test_options_of_another_kind(make: Callable[[], object], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()
