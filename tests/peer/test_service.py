"""Services: one class is the interface, the implementation and the typed client."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

import arpc
from tests.peer.conftest import Connect
from tests.tools import eventually


@dataclass
class Person:
    name: str
    age: int = 0


class Greeter:
    """Written once: served by one side, called by the other."""

    def __init__(self, greeting: str = "Hello") -> None:
        self.greeting = greeting
        self.heard: list[str] = []

    @arpc.rpc
    async def greet(self, person: Person) -> str:
        """Greets somebody."""
        return f"{self.greeting}, {person.name} ({person.age})"

    @arpc.rpc
    async def count(self) -> int:
        return len(self.heard)

    @arpc.rpc
    async def add(self, a: int, b: int = 10, *, c: int = 100) -> int:
        return a + b + c

    @arpc.rpc
    async def hear(self, text: str) -> None:
        self.heard.append(text)

    @arpc.rpc
    async def twins(self, person: Person) -> list[Person]:
        return [person, Person(person.name + "'s twin", person.age)]

    @arpc.rpc
    async def find(self, name: str) -> Person | None:
        return Person(name) if name else None

    @arpc.rpc
    async def anything(self, body: Any) -> Any:
        return body

    @arpc.rpc
    async def default(self, name: str = "nobody") -> str:
        return name

    @arpc.rpc
    async def who(self) -> str:
        return f"asked by {arpc.current().peer!r}"

    async def hidden(self) -> str:
        return "never served"


class Store(ABC):
    """An interface alone."""

    @arpc.rpc
    @abstractmethod
    async def get(self, key: str) -> bytes | None: ...

    @arpc.rpc
    @abstractmethod
    async def put(self, key: str, value: int) -> None: ...


class Memory(Store):
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    async def get(self, key: str) -> bytes | None:
        return b"%d" % self.values[key] if key in self.values else None

    async def put(self, key: str, value: int) -> None:
        self.values[key] = value

    @arpc.rpc
    async def clear(self) -> None:
        self.values.clear()


def serving(*services: object, **names: object) -> arpc.Router:
    router = arpc.Router()
    for service in services:
        router.register(service)
    for name, service in names.items():
        router.register(service, name=name)
    return router


async def test_a_service_from_both_sides(connect: Connect) -> None:
    link = await connect(serving(Greeter("Hello")), serving(Greeter("Grüezi")))
    for peer, greeting in ((link.client, "Hello"), (link.peer, "Grüezi")):
        greeter = peer.service(Greeter)
        assert isinstance(greeter, Greeter)
        assert await greeter.greet(Person("Ann", 3)) == f"{greeting}, Ann (3)"
        assert await greeter.count() == 0
    assert await link.client.service(Greeter).who() == f"asked by {link.peer!r}"


async def test_parameters_and_answers(connect: Connect) -> None:
    link = await connect(serving(Greeter()))
    greeter = link.client.service(Greeter)
    assert await greeter.add(1) == 111
    assert await greeter.add(1, 2) == 103
    assert await greeter.add(b=2, a=1, c=3) == 6
    assert await greeter.twins(Person("Ann")) == [Person("Ann"), Person("Ann's twin")]
    assert await greeter.find("Ann") == Person("Ann")
    assert await greeter.find("") is None
    assert await greeter.anything({"a": [1, None]}) == {"a": [1, None]}
    assert await greeter.anything(None) is None
    assert await greeter.default() == "nobody"
    assert await greeter.default("Ann") == "Ann"
    answer: Any = await greeter.hear("x")  # type: ignore[func-returns-value]
    assert answer is None
    assert await greeter.count() == 1


async def test_what_travels_is_what_a_handler_would_get(connect: Connect) -> None:
    link = await connect(serving(Greeter()))
    call = link.client.call
    assert await call("Greeter.greet", {"name": "Bob"}, returns=str) == "Hello, Bob (0)"
    assert await call("Greeter.add", {"a": 1, "b": 2}, returns=int) == 103
    assert await call("Greeter.count", returns=int) == 0
    with pytest.raises(arpc.RemoteError, match=r"invalid body: .*\$.age"):
        await call("Greeter.greet", {"name": "Bob", "age": "old"})
    for hidden in ("Greeter.hidden", "Greeter.__init__", "greet", "Greeter"):
        with pytest.raises(arpc.MethodNotFound):
            await call(hidden)


async def test_a_notifier_sends_and_does_not_wait(connect: Connect) -> None:
    greeter = Greeter()
    link = await connect(serving(greeter))
    notifier = link.client.notifier(Greeter)
    answer: Any = await notifier.hear("one")  # type: ignore[func-returns-value]
    assert answer is None
    assert cast(object, await notifier.add(1)) is None
    await notifier.hear("two")
    await eventually(lambda: greeter.heard == ["one", "two"])
    assert link.client._connection.session.pending == {}


async def test_an_abstract_interface_and_its_implementation(connect: Connect) -> None:
    memory = Memory()
    link = await connect(serving(memory))
    store = link.client.service(Store)  # type: ignore[type-abstract,unused-ignore]
    await store.put("a", 5)
    assert await store.get("a") == b"5"
    assert await store.get("b") is None
    await link.client.service(Memory).clear()
    assert memory.values == {}
    assert await link.client.call("Memory.clear") is None
    await link.client.call("Store.put", {"key": "k", "value": 1})
    assert memory.values == {"k": 1}
    with pytest.raises(arpc.MethodNotFound):
        await link.client.call("Memory.put", {"key": "k", "value": 1})


async def test_a_name_of_its_own(connect: Connect) -> None:
    one, two = Greeter("One"), Greeter("Two")
    link = await connect(serving(one, second=two))
    assert await link.client.service(Greeter).greet(Person("A")) == "One, A (0)"
    assert await link.client.service(Greeter, name="second").greet(Person("A")) == "Two, A (0)"
    await link.client.notifier(Greeter, name="second").hear("x")
    await eventually(lambda: two.heard == ["x"])
    with pytest.raises(arpc.MethodNotFound):
        await link.client.service(Greeter, name="third").count()


async def test_included_services_have_the_prefix(connect: Connect) -> None:
    router = arpc.Router()
    router.include(serving(Greeter()), prefix="v1.")
    link = await connect(router)
    assert await link.client.service(Greeter, name="v1.Greeter").count() == 0


async def test_the_timeout_is_each_calls(connect: Connect) -> None:
    never = asyncio.Event()

    class Slow:
        @arpc.rpc
        async def wait(self) -> str:
            await never.wait()
            return "ended"

    link = await connect(serving(Slow()), options={"extensions": False})  # the other side knows of no deadline
    with pytest.raises(arpc.CallTimeout, match=r"Slow.wait has not answered within 0.01 s"):
        await link.client.service(Slow, timeout=0.01).wait()
    with pytest.raises(ValueError, match="timeout"):
        await link.client.service(Slow, timeout=0).wait()
    patient = asyncio.ensure_future(link.client.service(Slow, timeout=None).wait())
    never.set()
    assert await patient == "ended"


async def test_local_types_are_resolved_where_they_are_used(connect: Connect) -> None:
    @dataclass
    class Local:
        n: int

    class Maker:
        @arpc.rpc
        async def make(self, n: int) -> Local:
            return Local(n)

        @arpc.rpc
        async def take(self, local: Local) -> int:
            return local.n

    router = arpc.Router()
    router.register(Maker())
    link = await connect(router)
    maker = link.client.service(Maker)
    assert await maker.make(3) == Local(3)
    assert await maker.take(Local(4)) == 4


async def test_inherited_methods_keep_the_name_of_the_class_that_marked_them(connect: Connect) -> None:
    class Loud(Greeter):
        @arpc.rpc
        async def greet(self, person: Person) -> str:
            return (await super().greet(person)).upper()

        @arpc.rpc
        async def shout(self) -> str:
            return "!"

    link = await connect(serving(Loud()))
    assert await link.client.service(Greeter).greet(Person("Ann")) == "HELLO, ANN (0)"
    loud = link.client.service(Loud)
    assert await loud.greet(Person("Ann")) == "HELLO, ANN (0)"
    assert await loud.shout() == "!"
    assert await link.client.call("Loud.shout", returns=str) == "!"


async def test_a_wrong_answer_names_the_method(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("Greeter.count")
    async def count() -> str:
        return "many"

    link = await connect(router)
    with pytest.raises(arpc.DecodeError, match=r"the answer of Greeter.count"):
        await link.client.service(Greeter).count()


async def test_wrong_arguments_raise_here_as_in_any_python_call(connect: Connect) -> None:
    link = await connect(serving(Greeter()))
    greeter: Any = link.client.service(Greeter)
    wrong: list[tuple[list[int], dict[str, int]]] = [([], {}), ([1, 2, 3], {}), ([1], {"d": 4}), ([1], {"a": 1})]
    for positional, named in wrong:
        with pytest.raises(TypeError):
            await greeter.add(*positional, **named)
    with pytest.raises(TypeError):
        await greeter.count(1)
    with pytest.raises(arpc.EncodeError):
        await greeter.anything(object())


async def test_a_proxy_looks_like_its_service(connect: Connect) -> None:
    link = await connect()
    greeter = link.client.service(Greeter)
    assert "Greeter" in repr(greeter)
    assert greeter.greet.__name__ == "greet"
    assert greeter.greet.__doc__ == "Greets somebody."
    assert type(link.client.service(Greeter)) is type(greeter)


# Wrong use.


async def test_what_is_no_service() -> None:
    router = arpc.Router()

    class Plain:
        async def method(self) -> None: ...

    with pytest.raises(arpc.RegistrationError, match=r"Plain has no method that is marked @arpc\.rpc"):
        router.register(Plain())
    with pytest.raises(arpc.RegistrationError):
        router.register(Greeter)  # the class, not an object


async def test_what_rpc_refuses_to_mark() -> None:
    mark: Any = arpc.rpc

    def plain(self: object) -> None: ...

    def generator(self: object) -> Iterator[int]:
        yield 1

    for wrong in (plain, generator, 5, Greeter):
        with pytest.raises(arpc.RegistrationError, match=r"@arpc\.rpc"):
            mark(wrong)


async def test_rpc_marks_what_yields_items() -> None:
    async def stream(self: object) -> AsyncIterator[int]:
        yield 1

    def interface(self: object) -> AsyncIterator[int]:
        raise NotImplementedError

    for function in (stream, interface):
        assert arpc.rpc(function) is function


async def test_what_register_refuses() -> None:
    class Starred:
        @arpc.rpc
        async def method(self, *args: int) -> None: ...

    class Bare:
        @arpc.rpc
        async def method(self, body) -> None: ...  # type: ignore[no-untyped-def]

    router = serving(Greeter())
    with pytest.raises(arpc.RegistrationError, match=r"takes \*args"):
        router.register(Starred())
    with pytest.raises(arpc.RegistrationError, match="no annotation on 'body'"):
        router.register(Bare())
    with pytest.raises(arpc.RegistrationError, match="registered already: Greeter"):
        router.register(Greeter())
    with pytest.raises(arpc.RegistrationError, match="method"):
        router.register(Greeter(), name="x" * 128)
    assert {name.partition(".")[0] for name in router.handlers()} == {"Greeter"}


async def test_what_service_refuses(connect: Connect) -> None:
    class Plain: ...

    class Half(ABC):
        @arpc.rpc
        async def method(self) -> int:
            return 5

        @abstractmethod
        def other(self) -> None: ...

    class Starred:
        @arpc.rpc
        async def method(self, **args: int) -> None: ...

    link = await connect()
    for make in (link.client.service, link.client.notifier):
        with pytest.raises(arpc.RegistrationError, match="Plain has no method that is marked"):
            make(Plain)
        with pytest.raises(arpc.RegistrationError, match=r"abstract methods without @arpc\.rpc: other"):
            make(Half)  # type: ignore[type-abstract,unused-ignore]
        with pytest.raises(arpc.RegistrationError, match=r"takes \*args"):
            make(Starred)


async def test_a_proxy_says_whose_it_is_and_refuses_a_context() -> None:
    class Asking:
        @arpc.rpc
        async def ask(self, ctx: arpc.Context) -> int:
            return 1

    class Plain:
        @arpc.rpc
        async def ping(self) -> int:
            return 1

    router = arpc.Router()
    router.register(Plain())
    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address) as peer:
        assert repr(peer.service(Plain)) == f"<Plain of {peer!r}>"
        with pytest.raises(arpc.RegistrationError, match=r"Asking\.ask takes a Context"):
            peer.service(Asking)
        wrong: Any = "Plain"
        with pytest.raises(arpc.RegistrationError, match="a service is a class"):
            peer.service(wrong)
