"""grpclib: gRPC in Python alone, on asyncio and the package h2."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import messages
from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import Setup

ECHO = "/hello.Hello/Echo"
SAY = "/hello.Hello/Say"
TIMEOUT = 30.0


class Grpclib(PythonOpponent):
    """On uvloop, as its own benchmark can be run.

    Its servers take 100 calls at a time from a connection (no option changes that); the client holds the others back.
    """

    name = "grpclib"
    title = "grpclib"
    bodies = frozenset({"bytes", "say"})
    packages = ("grpclib", "protobuf", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        from grpclib.server import Server

        # Server tells nobody which port it got. With no protocol number, it and asyncio would leave Nagle's delay on.
        with socket.socket(proto=socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            server = Server([Hello(setup.delay)], codec=_codec(setup))
            await server.start(sock=listener, backlog=4096)
            yield "{}:{}".format(*listener.getsockname())
            server.close()

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        from grpclib.client import Channel, UnaryUnaryMethod

        host, port = address.rsplit(":", 1)
        message = messages.message_class()
        async with Channel(host, int(port), codec=_codec(setup)) as channel:
            echo: Any = UnaryUnaryMethod(channel, ECHO, bytes, bytes)
            say: Any = UnaryUnaryMethod(channel, SAY, message, message)
            await channel.__connect__()  # otherwise the first call connects
            yield {"bytes": lambda body: echo(body, timeout=TIMEOUT), "say": lambda body: say(body, timeout=TIMEOUT)}


class Hello:
    """The service, as a subclass of the class that protoc makes for it would look."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    async def echo(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def say(self, stream: Any) -> None:
        message = await stream.recv_message()
        if self._delay:
            await asyncio.sleep(self._delay)
        await stream.send_message(messages.say(message))

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        message = messages.message_class()
        return {
            ECHO: Handler(self.echo, Cardinality.UNARY_UNARY, bytes, bytes),
            SAY: Handler(self.say, Cardinality.UNARY_UNARY, message, message),
        }


class BytesCodec:
    """Takes bytes as they are, which spares grpclib a message around them."""

    __content_subtype__ = "bytes"

    def encode(self, body: bytes, _type: object) -> bytes:
        return body

    decode = encode


def _codec(setup: Setup) -> Any:
    """The codec option of both sides; protobuf is the default."""
    return BytesCodec() if setup.body == "bytes" else None
