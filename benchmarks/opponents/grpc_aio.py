"""grpc.aio: the asyncio side of gRPC's own Python package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import messages
from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import Setup

SERVICE = "hello.Hello"
TIMEOUT = 30.0
UNLIMITED = -1
CHANNEL = (
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.use_local_subchannel_pool", 1),  # otherwise all channels to an address share one connection
    ("grpc.enable_http_proxy", 0),
)
SERVER = (
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.server.max_pending_requests", 100_000),  # by default it begins to refuse calls when 1000 wait
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
)


class GrpcAio(PythonOpponent):
    """On uvloop, as its own benchmark can be run; with many callers it takes less CPU than on plain asyncio.

    Bytes go without a message around them, which spares it that work.
    """

    name = "grpc-aio"
    title = "grpc.aio"
    bodies = frozenset({"bytes", "say"})
    patterns = frozenset({"closed", "open", "connect", "items", "hold"})
    packages = ("grpcio", "protobuf", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        import grpc.aio

        async def echo(body: bytes, _context: object) -> bytes:
            return body

        async def say(message: Any, _context: object) -> Any:
            if setup.delay:
                await asyncio.sleep(setup.delay)
            return messages.say(message)

        async def items(received: AsyncIterator[bytes], _context: object) -> bytes:
            read = 0
            async for _ in received:
                read += 1
            return b"%d" % read

        message = messages.message_class()
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "Say": grpc.unary_unary_rpc_method_handler(say, message.FromString, message.SerializeToString),
            "Items": grpc.stream_unary_rpc_method_handler(items),
        }
        server = grpc.aio.server(options=SERVER)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        import grpc.aio

        message = messages.message_class()
        async with grpc.aio.insecure_channel(address, options=CHANNEL) as channel:
            echo: Any = channel.unary_unary(f"/{SERVICE}/Echo")
            say: Any = channel.unary_unary(f"/{SERVICE}/Say", message.SerializeToString, message.FromString)
            items: Any = channel.stream_unary(f"/{SERVICE}/Items")

            async def stream(_body: object) -> Items:
                return Items(items())

            async with asyncio.timeout(TIMEOUT):  # it would wait for a server that has gone as long as it is gone
                await channel.channel_ready()  # otherwise the first call connects
            yield {
                "bytes": lambda body: echo(body, timeout=TIMEOUT),
                "say": lambda body: say(body, timeout=TIMEOUT),
                "stream": stream,
            }


class Items:
    """A stream of items that the client has opened."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.send = call.write

    async def total(self) -> int:
        await self._call.done_writing()
        return int(await self._call)
