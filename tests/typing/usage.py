"""What users write, as mypy and pyright see it; tests/unit/test_typing.py runs both, and neither may complain."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

import arpc
from arpc.codecs import CborCodec, Codec, JsonCodec, MsgpackCodec, MsgpackPackageCodec, RawCodec


@dataclass
class Person:
    name: str
    age: int = 0


class Point(TypedDict):
    x: int
    y: int


class Account(BaseModel):
    email: str


router = arpc.Router()


# A decorated function is what it was.


@router.handle("/greet")
async def greet(person: Person, ctx: arpc.Context) -> str:
    assert_type(ctx.peer, arpc.Peer)
    assert_type(ctx.method, str)
    assert_type(ctx.kind, str)
    ctx.state.anything = ctx.peer.state["anything"] = 5
    return person.name


@router.handle("/inline", ordered=True)
def inline(body: bytes) -> bytes:
    return body


@router.handle("/account")
async def create_account(account: Account) -> list[Account]:
    return [account]


@router.handle("/scale")
async def scale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values * np.float32(2)


@router.handle("/thread", threaded=True)
def thread(n: int, ctx: arpc.Context) -> int:
    ctx.from_thread.notify("/progress", n)
    ctx.from_thread.call("/back", n, returns=int)
    return n


@router.fallback
async def fallback(body: bytes, ctx: arpc.Context) -> None: ...


@arpc.Router().fallback()
def other_fallback(ctx: arpc.Context) -> str:
    return ctx.method


greeting: Callable[[Person, arpc.Context], Coroutine[Any, Any, str]] = greet
inlining: Callable[[bytes], bytes] = inline
threading: Callable[[int, arpc.Context], int] = thread
falling_back: Callable[[bytes, arpc.Context], Coroutine[Any, Any, None]] = fallback
other_falling_back: Callable[[arpc.Context], str] = other_fallback


# Services.


class Greeter:
    @arpc.rpc
    async def greet(self, person: Person, loud: bool = False) -> str:
        return person.name

    @arpc.rpc
    async def find(self, name: str) -> Person | None:
        return Person(name)

    @arpc.rpc
    async def forget(self) -> None: ...


class Store(ABC):
    @arpc.rpc
    @abstractmethod
    async def get(self, key: str) -> bytes: ...


class Memory(Store):
    async def get(self, key: str) -> bytes:
        return key.encode()


router.register(Greeter())
router.register(Memory(), name="Memory")
router.include(arpc.Router(), prefix="/v1")


async def services(peer: arpc.Peer) -> None:
    greeter = peer.service(Greeter, timeout=5)
    assert_type(greeter, Greeter)
    assert_type(await greeter.greet(Person("Ann"), loud=True), str)
    assert_type(await greeter.find("Ann"), Person | None)
    await greeter.forget()
    assert_type(peer.notifier(Greeter, name="Other"), Greeter)
    store = peer.service(Store)
    assert_type(store, Store)
    assert_type(await store.get("key"), bytes)
    assert_type(peer.notifier(Store), Store)
    assert_type(peer.service(Memory, timeout=None), Memory)


# Calls.


async def calls(peer: arpc.Peer) -> None:
    assert_type(await peer.call("/greet", Person("Ann"), returns=str), str)
    assert_type(await peer.call("/greet", returns=bytes, timeout=5), bytes)
    assert_type(await peer.call("/greet", returns=Person, timeout=None), Person)
    assert_type(await peer.call("/greet", returns=Point), Point)
    assert_type(await peer.call("/greet", returns=list[int]), list[int])
    assert_type(await peer.call("/greet", returns=dict[str, Person]), dict[str, Person])
    assert_type(await peer.call("/account", Account(email="a@b"), returns=list[Account]), list[Account])
    assert_type(await peer.call("/scale", np.zeros(3), returns=NDArray[np.float32]), NDArray[np.float32])
    view: memoryview = await peer.call("/scale", np.zeros(3), returns=memoryview)
    await peer.call("/greet", returns=None)
    plain: Any = await peer.call("/greet", {"name": "Ann"})
    assert_type(await peer.call("/greet"), Any)
    # mypy sees Any in the type of a union, pyright sees the union: both take the annotation.
    union: Person | int = await peer.call("/greet", returns=Person | int)
    optional: Person | None = await peer.call("/greet", returns=Person | None)
    del plain, union, optional, view
    assert_type(await peer.ping(), float)
    assert_type(await peer.ping(timeout=1), float)
    await peer.notify("/greet", Person("Ann"))
    peer.try_notify("/greet")
    one, two = await asyncio.gather(peer.call("/a", returns=int), peer.call("/b", returns=str))
    assert_type(one, int)
    assert_type(two, str)
    assert_type(peer.closed, bool)
    assert_type(peer.address, str)
    assert_type(peer.remote_capabilities, arpc.Capabilities)
    assert_type(peer.stats, arpc.Stats)
    await peer.close()
    await peer.wait_closed()


# Streams, metadata, deadlines.


@router.stream("/chat", idle_timeout=60)
async def chat(stream: arpc.Stream[Person, str], ctx: arpc.Context) -> None:
    async for person in stream:
        assert_type(person, Person)
        await stream.send(person.name)
    assert_type(ctx.deadline, float | None)
    assert_type(ctx.remaining(), float | None)
    assert_type(ctx.metadata, Mapping[str, Any])
    ctx.answer_metadata["rows"] = 5


@router.handle("/ticks")
async def ticks(count: int) -> AsyncIterator[int]:
    for tick in range(count):
        yield tick


@router.handle("/total")
async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


chatting: Callable[[arpc.Stream[Person, str], arpc.Context], Coroutine[Any, Any, None]] = chat
ticking: Callable[[int], AsyncIterator[int]] = ticks


class Numbers(ABC):
    @arpc.rpc
    @abstractmethod
    def count(self, to: int) -> AsyncIterator[int]: ...

    @arpc.rpc
    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])


async def streams(peer: arpc.Peer) -> None:
    async with peer.open_stream("/chat", returns=str, sends=Person) as stream:
        assert_type(stream, arpc.Stream[str, Person])
        await stream.send(Person("Ann"))
        stream.try_send(Person("Bob"))
        await stream.end()
        assert_type(await stream.recv(timeout=5), str)
        async for line in stream:
            assert_type(line, str)
        assert_type(stream.id, int)
        assert_type(stream.peer, arpc.Peer)
        assert_type(stream.closed, bool)
        await stream.reset("no more")
    opened = await peer.open_stream("/chat", timeout=5, idle_timeout=None, metadata={"user": "Ann"})
    assert_type(opened, arpc.Stream[Any, Any])
    async with peer.stream("/ticks", 5, returns=int, timeout=5) as answers:
        async for tick in answers:
            assert_type(tick, int)
    async with peer.stream("/total", items=[1, 2], returns=int) as fed:
        assert_type(await fed.recv(), int)
    numbers = peer.service(Numbers, metadata={"user": "Ann"})
    async for number in numbers.count(5):
        assert_type(number, int)
    assert_type(await numbers.total(numbers.count(5)), int)
    said: dict[str, Any] = {}
    assert_type(await peer.call("/greet", returns=str, metadata={"user": "Ann"}, answer_metadata=said), str)
    await peer.notify("/greet", metadata={"user": "Ann"})


# Servers and clients.


async def ends() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router, codec="json", timeout=None, max_inflight=10) as server:
        assert_type(server, arpc.Server)
        assert_type(server.address, str)
        assert_type(server.addresses, list[str])
        for peer in server.peers:
            assert_type(peer, arpc.Peer)
        async with arpc.connect(server.address, router, codec=MsgpackCodec(), connect_timeout=5) as client:
            assert_type(client, arpc.Client)
    server = await arpc.serve(["tcp://127.0.0.1:0", "unix:///run/arpc.sock"], router, on_event=on_event)
    assert_type(server, arpc.Server)
    client = await arpc.connect(server.address)
    assert_type(client, arpc.Client)
    some_peer: arpc.Peer = client
    del some_peer
    await server.stop()
    await server.wait_closed()


def on_event(event: arpc.Event) -> None:
    assert_type(event.name, str)


async def answer() -> int:
    return 5


assert_type(arpc.run(answer()), int)
assert_type(arpc.current(), arpc.Context)


class Upper(Codec):
    name = "upper"

    def encode(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def decode(self, data: bytes) -> Any:
        return data.decode()


codecs: list[Codec] = [Upper(), JsonCodec(), MsgpackCodec(), CborCodec(), RawCodec()]
hooked = MsgpackPackageCodec(default=str, ext_hook=lambda code, data: (code, data))


# Errors.


async def failures(peer: arpc.Peer) -> None:
    try:
        await peer.call("/greet")
    except arpc.RemoteError as error:
        assert_type(error.message, str)
        assert_type(error.code, str | None)
    except arpc.ConnectionClosed as error:
        assert_type(error.sent, bool)
    raise arpc.RpcError("no", code="denied", details={"a": 1})
