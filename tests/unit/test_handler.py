"""Functions that cannot be handlers, and what those that can are compiled to."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from arpc import Context, RegistrationError, Router, RpcError
from arpc.codecs import RawCodec
from arpc.handler import ASYNC, INLINE, ORDERED, Handler, MissingHandler
from arpc.streaming import StreamingHandler
from tests.unit.handling import JSON, Counter, LaterCounter, in_thread, run


@dataclass
class Person:
    name: str
    age: int


# --- what is refused


class Generator:
    def __call__(self, number: int) -> Iterator[int]:
        yield number


class AsyncCounter:
    async def __call__(self, number: int) -> AsyncIterator[int]:
        yield number


def generator(number: int) -> Iterator[int]:
    yield number


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number


def returns_iterator(number: int) -> AsyncIterator[int]:
    return async_generator(number)


async def returns_generator(number: int) -> AsyncGenerator[int]:
    raise AssertionError


def takes_args(*numbers: int) -> None: ...


def takes_keywords(**numbers: int) -> None: ...


def takes_two_contexts(one: Context, two: Context) -> None: ...


def takes_several_by_position(a: int, b: int, /) -> None: ...


def takes_context_by_position(ctx: Context, /) -> None: ...


def takes_body_by_position_and_context_by_name(body: int, /, *, ctx: Context) -> None: ...


def takes_unknown(body: Nobody) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def returns_unknown() -> Nobody: ...  # type: ignore[name-defined]  # noqa: F821


def of_no_type(body: Any) -> None: ...


of_no_type.__annotations__["body"] = "1 +"

REFUSED: list[tuple[Any, str]] = [
    (
        lambda body: None,
        "has no annotation on 'body': write its type, or Any for the codec's plain value",
    ),
    (len, "has no annotation on 'obj'"),
    (takes_args, r"takes \*numbers: name its parameters one by one"),
    (takes_keywords, r"takes \*numbers: name its parameters one by one"),
    (takes_two_contexts, "takes two Contexts; one is enough"),
    (takes_several_by_position, "positional-only"),
    (takes_context_by_position, "positional-only"),
    (takes_body_by_position_and_context_by_name, "positional-only"),
    (generator, "is a generator; a handler returns its one answer"),
    (partial(generator, 1), "is a generator"),
    (Generator(), "is a generator"),
    (returns_iterator, "returns an async iterator; yield the items, and it serves a stream of them"),
    (returns_generator, "returns an async iterator"),
    (takes_unknown, "has annotations that cannot be evaluated: name 'Nobody' is not defined"),
    (returns_unknown, "has annotations that cannot be evaluated: name 'Nobody' is not defined"),
    (of_no_type, "has annotations that cannot be evaluated"),
    (3, "has no signature that can be read: 3 is not a callable object"),
    (None, "has no signature that can be read"),
]


@pytest.mark.parametrize(("function", "why"), REFUSED, ids=[getattr(f, "__name__", repr(f)[:20]) for f, _ in REFUSED])
def test_what_cannot_be_a_handler_is_told_so(function: Any, why: str) -> None:
    with pytest.raises(RegistrationError, match=rf"^handler '/it' \(.+\) .*{why}"):
        Handler("/it", function)


@pytest.mark.parametrize("function", [async_generator, partial(async_generator), AsyncCounter()])
def test_an_async_generator_serves_streams(function: Any) -> None:
    """A router sees what it is; it never answers a call."""
    router = Router()
    router.handle("/it")(function)
    served = router.handlers()["/it"].handler
    assert isinstance(served, StreamingHandler)
    assert served.generates
    with pytest.raises(RegistrationError, match=r"^handler '/it' \(.+\) returns an async iterator; yield the items"):
        Handler("/it", function)


@pytest.mark.parametrize("function", [Counter().later, Counter.named, LaterCounter(), partial(Counter().later)])
def test_an_async_handler_cannot_be_threaded(function: Callable[..., Any]) -> None:
    with pytest.raises(RegistrationError, match=r"is async and cannot be threaded=True: make it a plain def, or leave"):
        Handler("/it", function, threaded=True)


def test_a_type_that_the_codec_cannot_serve_is_refused_when_compiled() -> None:
    def takes(body: Person) -> None: ...

    handler = Handler("/it", takes)
    handler.compile(JSON, in_thread)
    with pytest.raises(RegistrationError, match=r"handler '/it' \(.*takes\) cannot be served with the raw codec: "):
        handler.compile(RawCodec(), in_thread)


# --- what it is compiled to


def test_the_mode_tells_how_it_runs() -> None:
    def plain() -> None: ...

    async def later() -> None: ...

    def mode(function: Callable[..., Any], *, threaded: bool = False, ordered: bool = False) -> int:
        return Handler("/it", function, threaded=threaded, ordered=ordered).compile(JSON, in_thread)[2]

    assert mode(plain) == INLINE
    assert mode(later) == ASYNC
    assert mode(plain, threaded=True) == ASYNC
    assert mode(plain, ordered=True) == INLINE + ORDERED
    assert mode(later, ordered=True) == ASYNC + ORDERED
    assert mode(plain, threaded=True, ordered=True) == ASYNC + ORDERED


def test_the_route_names_its_handler() -> None:
    handler = Handler("/it", Counter())
    assert handler.compile(JSON, in_thread)[3] is handler
    assert handler.name == "/it"


def test_blocking_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    for function, advice in ((Counter(), "register it with threaded=True"), (LaterCounter(), "await something in it")):
        handler = Handler("/it", function)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "arpc"):
            handler.warn_blocking(0.25)
            handler.warn_blocking(0.5)
        assert caplog.messages == [f"handler /it blocked the event loop for 250 ms: {advice}"]


async def test_the_stand_in_for_missing_handlers() -> None:
    missing = MissingHandler()
    route = missing.compile(JSON, in_thread)
    with pytest.raises(RpcError, match=r"^method not found$"):
        await run(route)
    assert route[1](None) == b""
    assert route[2:] == (INLINE, missing)
    with pytest.raises(RpcError, match=r"^a method has 1 to 127 bytes, this one has 128 or is cut off$"):
        await run(missing.route_invalid(b"m" * 128))
