"""This library, as its users run it: default options, `async def` handlers, typed bodies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import arpc
from benchmarks import messages
from benchmarks.loads.calls import Call, Calls
from benchmarks.loads.closed import closed_loop
from benchmarks.opponents.python import PythonOpponent, until_stdin_closes
from benchmarks.workload import ECHO, PERSON, SAY, Load, Person, Result, Setup

NOTE, RECEIVED, REVERSE, ITEMS = "/note", "/received", "/reverse", "/items"


def _router(setup: Setup) -> arpc.Router:
    """The handlers of the server; protobuf ones if that is its codec."""
    return _hello(setup.delay) if setup.body == "say" else echoes()


def _hello(delay: float) -> arpc.Router:
    router = arpc.Router()
    message = messages.message_class()

    @router.handle(SAY)
    async def say(body: message) -> message:  # type: ignore[valid-type]
        if delay:
            await asyncio.sleep(delay)
        answer: message = messages.say(body)  # type: ignore[valid-type]
        return answer

    return router


def echoes() -> arpc.Router:
    router = arpc.Router()
    received = 0

    @router.handle(ECHO)
    async def echo(body: bytes) -> bytes:
        return body

    @router.handle(PERSON)
    async def person(body: Person) -> Person:
        body.age += 1
        return body

    @router.handle(NOTE)
    async def note(body: bytes) -> None:
        nonlocal received
        received += 1

    @router.handle(RECEIVED)
    async def count() -> int:
        return received

    @router.handle(REVERSE)
    async def reverse(load: Load, ctx: arpc.Context) -> Result:
        call = ctx.peer.call
        return await closed_loop([lambda body: call(ECHO, body, returns=bytes)] * load.callers, load)

    @router.stream(ITEMS)
    async def items(stream: arpc.Stream[bytes, int]) -> None:
        read = 0
        async for _ in stream:
            read += 1
        await stream.send(read)

    return router


class Items:
    """A stream of `ITEMS` that the client has opened."""

    def __init__(self, stream: arpc.Stream[int, bytes]) -> None:
        self._stream = stream
        self.send = stream.send

    async def total(self) -> int:
        await self._stream.end()
        return await self._stream.recv()


_client = arpc.Router()
"""What the client answers when the server calls."""


@_client.handle(ECHO)
async def _echo(body: bytes) -> bytes:
    return body


def _codec(setup: Setup) -> dict[str, Any]:
    """The option that both sides need for this body; JSON is the default."""
    if setup.body != "say":
        return {}
    from arpc_codecs import ProtobufCodec

    return {"codec": ProtobufCodec()}


class Ours(PythonOpponent):
    """Server and client on uvloop."""

    name = "ours"
    title = "arpc (ours)"
    wire = hello = True
    bodies = frozenset({"bytes", "json", "say"})
    patterns = frozenset({"closed", "open", "notify", "reverse", "connect", "items", "fan-in", "hold", "extras"})
    packages: tuple[str, ...] = ("arpc", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        async with arpc.serve("tcp://127.0.0.1:0", _router(setup), **_codec(setup)) as server:
            yield server.address

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        async with arpc.connect(address, _client, **_codec(setup)) as peer:
            call = peer.call

            async def stream(_body: object) -> Items:
                return Items(await peer.open_stream(ITEMS, returns=int))

            calls: dict[str, Call] = {
                "bytes": lambda body: call(ECHO, body, returns=bytes),
                "json": lambda body: call(PERSON, body, returns=Person),
                "notify": lambda body: peer.notify(NOTE, body),
                "received": lambda body: call(RECEIVED, body, returns=int),
                "reverse": lambda load: call(REVERSE, load, returns=Result, timeout=load.warmup + load.seconds + 10),
                "stream": stream,
            }
            if setup.body == "say":
                message = messages.message_class()
                calls["say"] = lambda body: call(SAY, body, returns=message)
            yield calls


class OursAsyncio(Ours):
    """The same without uvloop."""

    name = "ours-asyncio"
    title = "arpc on asyncio"
    packages = ("arpc", "msgspec")
    patterns = Ours.patterns - {"extras"}

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        asyncio.run(main)


class OursTwo(Ours):
    """Two server processes that share the port (SO_REUSEPORT): the kernel deals the connections out to them."""

    name = "ours-2"
    title = "arpc, 2 servers"
    processes = 2
    patterns = frozenset({"closed", "open", "connect", "items"})

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        async with arpc.serve("tcp://127.0.0.1:0", _router(setup), reuse_port=True, **_codec(setup)) as server:
            command = [sys.executable, "-m", __name__, server.address, *setup.arguments()]
            pipe = asyncio.subprocess.PIPE
            other = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            assert other.stdin is not None
            assert other.stdout is not None
            await other.stdout.readline()  # it listens
            try:
                yield server.address
            finally:
                other.stdin.close()
                await other.wait()


async def _second(address: str, setup: Setup) -> None:
    """The other process of `OursTwo`."""
    async with arpc.serve(address, _router(setup), reuse_port=True, **_codec(setup)):
        print("listening", flush=True)
        await until_stdin_closes()


if __name__ == "__main__":
    arpc.run(_second(sys.argv[1], Setup.parse(sys.argv[2:])))
