"""Registering, including, and the routes that a router is compiled to for an endpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest

import arpc
from arpc import Context, RegistrationError, Router, RpcError
from arpc.codecs import MsgpackCodec, RawCodec
from arpc.handler import INLINE, ORDERED
from arpc.routes import Routes
from tests.unit.handling import JSON, in_thread, run


@dataclass
class Person:
    name: str


class Greeter:
    """A service, as its interface."""

    @arpc.rpc
    async def greet(self, name: str) -> str:
        return f"hello {name}"

    @arpc.rpc
    async def count(self) -> int:
        return 1

    async def not_marked(self) -> None: ...


class Polite(Greeter):
    """... and an implementation, which marks nothing anew but one method of its own."""

    async def greet(self, name: str) -> str:
        return f"good day {name}"

    @arpc.rpc
    async def leave(self) -> str:
        return "good bye"


def saying(*methods: str, what: str = "here") -> Router:
    router = Router()
    for method in methods:
        router.handle(method)(lambda: what)
    return router


def routes_of(router: Router) -> Routes:
    return Routes(router, JSON, in_thread)


async def say(routes: Routes, method: str, body: bytes = b"") -> str:
    """What is answered when this method is called; the text of the error, if it is one."""
    try:
        return (await run(routes[method.encode()], body, method.encode())).decode()
    except RpcError as error:
        return error.message


# --- registering


async def test_a_handler_is_served_by_its_name() -> None:
    router = Router()

    @router.handle("/greet")
    async def greet(person: Person) -> str:
        return f"hello {person.name}"

    @router.handle("/ü", ordered=True)
    def other() -> None: ...

    routes = routes_of(router)
    assert await say(routes, "/greet", b'{"name":"Ann"}') == "hello Ann"
    assert routes["/ü".encode()][2] == INLINE + ORDERED
    assert await say(routes, "/nope") == "method not found"
    assert router.handlers().keys() == {"/greet", "/ü"}
    assert (await greet(Person("Bob")), other()) == ("hello Bob", None), "the functions are what they were"


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("", "a method has 1 to 127 bytes, this one has 0"),
        ("m" * 128, "a method has 1 to 127 bytes, this one has 128"),
        ("ü" * 64, "a method has 1 to 127 bytes, this one has 128"),
        ("/\ud800", "cannot be written as UTF-8"),
    ],
)
def test_a_method_that_cannot_be_called_is_refused(method: str, why: str) -> None:
    router = Router()
    with pytest.raises(RegistrationError, match=why):
        router.handle(method)(lambda: None)
    assert router.handlers() == {}
    assert router.version == 0


def test_the_longest_method() -> None:
    assert saying("m" * 127, "ü" * 63).handlers().keys() == {"m" * 127, "ü" * 63}


def test_the_name_is_not_forgotten_unnoticed() -> None:
    def handler() -> None: ...

    with pytest.raises(
        RegistrationError, match=r'write @router.handle\("/name"\): a method is a string, not <function'
    ):
        Router().handle(handler)  # type: ignore[arg-type]


def test_a_name_is_taken_once() -> None:
    router = saying("/a")
    with pytest.raises(RegistrationError, match=r"^registered already: /a$"):
        router.handle("/a")(lambda: None)
    router.include(saying("/b"), prefix="/v1")
    with pytest.raises(RegistrationError, match=r"^registered already: /v1/b$"):
        router.handle("/v1/b")(lambda: None)


def test_a_bad_handler_leaves_nothing_behind() -> None:
    router = Router()
    with pytest.raises(RegistrationError, match="handler '/a'"):
        router.handle("/a")(lambda body: None)
    assert router.handlers() == {}
    router.handle("/a")(lambda: None)


async def test_annotations_are_looked_up_where_the_decorator_stands() -> None:
    @dataclass
    class Local:
        number: int

    router = Router()

    @router.handle("/local")
    def take(body: Local) -> Local:
        return Local(body.number + 1)

    @router.fallback
    def rest(body: Local) -> int:
        return body.number

    class Service:
        @arpc.rpc
        async def take(self, body: Local) -> int:
            return body.number

    router.register(Service())
    routes = routes_of(router)
    assert await say(routes, "/local", b'{"number":1}') == '{"number":2}'
    assert await say(routes, "/other", b'{"number":1}') == "1"
    assert await say(routes, "Service.take", b'{"number":1}') == "1"


# --- services


async def test_a_service_is_served_under_the_name_of_its_interface() -> None:
    router = Router()
    router.register(Polite())
    assert router.handlers().keys() == {"Greeter.greet", "Greeter.count", "Polite.leave"}
    routes = routes_of(router)
    assert await say(routes, "Greeter.greet", b"Ann") == "good day Ann"
    assert await say(routes, "Greeter.count") == "1"
    assert await say(routes, "Polite.leave") == "good bye"


def test_a_service_may_have_another_name() -> None:
    router = Router()
    router.register(Greeter())
    router.register(Greeter(), name="Second")
    assert router.handlers().keys() == {"Greeter.greet", "Greeter.count", "Second.greet", "Second.count"}


def test_services_that_cannot_be_registered() -> None:
    router = saying("Greeter.count")
    with pytest.raises(RegistrationError, match=r"^registered already: Greeter.count$"):
        router.register(Greeter())
    assert router.handlers().keys() == {"Greeter.count"}, "nothing of it is registered when one is taken"
    with pytest.raises(RegistrationError, match=r"1 to 127 bytes"):
        router.register(Greeter(), name="G" * 127)
    with pytest.raises(RegistrationError, match=r"^object has no method that is marked @arpc.rpc$"):
        router.register(object())

    class Loose:
        @arpc.rpc
        async def take(self, *args: int) -> None: ...

    with pytest.raises(RegistrationError, match=r"handler 'Loose.take' .*takes \*args"):
        router.register(Loose())


# --- fallbacks


async def test_a_fallback_serves_what_has_no_handler() -> None:
    router = saying("/a")

    @router.fallback
    async def rest(body: bytes, ctx: Context) -> str:
        return f"{ctx.method} {body.decode()}"

    routes = routes_of(router)
    assert await say(routes, "/a") == "here"
    assert await say(routes, "/b", b"x") == "/b x"
    assert await say(routes, "") == "a method has 1 to 127 bytes, this one has 0 or is cut off"
    assert await say(routes, "m" * 128) == "a method has 1 to 127 bytes, this one has 128 or is cut off"
    assert (await run(routes[b"\xff"], b"x", b"\xff")).decode() == "\ufffd x", "a method need not be UTF-8 here"


def test_there_is_one_fallback() -> None:
    router = Router()

    @router.fallback()
    def first(body: bytes) -> None: ...

    with pytest.raises(RegistrationError, match=r"there is a fallback already: .*first"):
        router.fallback(lambda: None)
    with pytest.raises(RegistrationError, match=r"handler '\(fallback\)' .*no annotation on 'body'"):
        Router().fallback(lambda body: None)


async def test_of_several_fallbacks_the_one_with_the_longest_prefix_serves() -> None:
    def falling(text: str) -> Router:
        router = Router()
        router.fallback(lambda: text)
        return router

    root, one, two, deep = Router(), falling("one"), saying("/known"), falling("deep")
    one.include(deep, prefix="/deep")
    root.include(one, prefix="/v1")
    root.include(two, prefix="/v2")
    routes = routes_of(root)
    assert await say(routes, "/other") == "method not found"
    root.fallback(lambda: "root")
    assert await say(routes, "/other") == "root"
    assert await say(routes, "/v1/x") == "one"
    assert await say(routes, "/v1/deep/x") == "deep"
    assert await say(routes, "/v2/known") == "here"
    assert await say(routes, "/v2/x") == "root"
    assert [prefix for prefix, _ in root.fallbacks()] == ["/v1/deep", "/v1", ""]


# --- including


async def test_included_routers_are_served_with_their_prefixes() -> None:
    root, middle, inner = saying("/a"), saying("/a", what="middle"), saying("/a", what="inner")
    middle.include(inner, prefix="/inner")
    root.include(middle, "/v1")
    root.include(inner, prefix="/v2")
    routes = routes_of(root)
    assert root.handlers().keys() == {"/a", "/v1/a", "/v1/inner/a", "/v2/a"}
    assert await say(routes, "/v1/a") == "middle"
    assert await say(routes, "/v1/inner/a") == await say(routes, "/v2/a") == "inner"


def test_a_router_may_be_included_without_a_prefix() -> None:
    root = saying("/a")
    root.include(saying("/b"))
    assert root.handlers().keys() == {"/a", "/b"}


@pytest.mark.parametrize("other", [None, "router", Greeter()])
def test_only_routers_are_included(other: Any) -> None:
    with pytest.raises(RegistrationError, match="a router includes routers, not "):
        Router().include(other)


def test_a_router_does_not_include_itself() -> None:
    one, two, three = Router(), Router(), Router()
    one.include(two, "/2")
    two.include(three, "/3")
    for router, other in ((one, one), (two, one), (three, one), (three, two)):
        with pytest.raises(RegistrationError, match="a router cannot include itself"):
            router.include(other, "/again")
    assert one.handlers() == {}


def test_names_that_are_taken_are_not_included() -> None:
    root = saying("/v1/a", "/v1/b")
    with pytest.raises(RegistrationError, match=r"^registered already: /v1/a, /v1/b$"):
        root.include(saying("/a", "/b", "/c"), "/v1")
    assert root.handlers().keys() == {"/v1/a", "/v1/b"}


@pytest.mark.parametrize("prefix", ["p" * 126, "\ud800"])
def test_a_prefix_that_makes_a_method_impossible_is_refused(prefix: str) -> None:
    root = Router()
    with pytest.raises(RegistrationError, match=r"1 to 127 bytes|UTF-8"):
        root.include(saying("/a"), prefix)
    assert root.handlers() == {}
    with pytest.raises(RegistrationError, match=r"1 to 127 bytes|UTF-8"):
        root.include(Router(), prefix + "pp")


# --- routes


async def test_what_is_registered_later_is_served() -> None:
    root, inner = Router(), Router()
    root.include(inner, "/v1")
    routes = routes_of(root)
    assert await say(routes, "/v1/late") == "method not found"
    inner.handle("/late")(lambda: "late")
    assert await say(routes, "/v1/late") == "late"
    root.include(saying("/a"), "/v2")
    assert await say(routes, "/v2/a") == "here"
    root.register(Greeter())
    assert await say(routes, "Greeter.count") == "1"
    inner.fallback(lambda: "rest")
    assert await say(routes, "/v1/more") == "rest"


def test_a_router_serves_several_endpoints() -> None:
    router = Router()

    @router.handle("/a")
    def take(body: Person) -> Person:
        return body

    assert routes_of(router)[b"/a"][3] is Routes(router, MsgpackCodec(), in_thread)[b"/a"][3]
    with pytest.raises(RegistrationError, match=r"handler '/a' .*cannot be served with the raw codec"):
        Routes(router, RawCodec(), in_thread)
    fallback = Router()
    fallback.fallback(take)
    with pytest.raises(RegistrationError, match=r"handler '\(fallback\)' .*cannot be served with the raw codec"):
        Routes(fallback, RawCodec(), in_thread)


async def test_what_cannot_be_served_later_is_logged_and_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    router, inner = saying("/a"), Router()
    router.include(inner, "/" + "i" * 100)
    routes = routes_of(router)

    def take(body: complex) -> None: ...

    router.handle("/bad")(take)
    router.fallback(take)
    inner.handle("/" + "x" * 50)(lambda: None)
    router.handle("/good")(lambda: "good")
    with caplog.at_level(logging.ERROR, "arpc"):
        assert await say(routes, "/bad") == "method not found"
        assert await say(routes, "/good") == "good"
        assert await say(routes, "/a") == "here"
        assert await say(routes, "/i") == "method not found"
    assert len(caplog.messages) == 3, "each once, however many calls come"
    assert any("/bad is not served: handler '/bad'" in message for message in caplog.messages)
    assert any("the fallback is not served" in message for message in caplog.messages)
    assert any("1 to 127 bytes, this one has 152" in message for message in caplog.messages)


async def test_of_two_with_one_name_the_nearer_one_serves() -> None:
    """They can only meet when one comes later than the include; then neither router sees the other's."""
    root, first, second = Router(), Router(), Router()
    root.include(first)
    root.include(second)
    routes = routes_of(root)
    second.handle("/a")(lambda: "second")
    assert await say(routes, "/a") == "second"
    first.handle("/a")(lambda: "first")
    assert await say(routes_of(root), "/a") == "first"
    with pytest.raises(RegistrationError, match="registered already: /a"):
        root.handle("/a")(lambda: "root")


# --- what cannot be registered as a service


def test_a_class_is_no_service() -> None:
    with pytest.raises(RegistrationError, match=r"register an object, not its class: Polite\(\.\.\.\)"):
        Router().register(Polite)


class Asking:
    @arpc.rpc
    async def ask(self, ctx: Context, number: int) -> int:
        return number


def test_a_service_takes_no_context() -> None:
    with pytest.raises(RegistrationError, match=r"Asking\.ask takes a Context: in a service arpc\.current\(\)"):
        Router().register(Asking())


def test_a_prefix_is_a_string() -> None:
    prefix: Any = 5
    with pytest.raises(RegistrationError, match="a prefix is a string, not 5"):
        Router().include(Router(), prefix)
