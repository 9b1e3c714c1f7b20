"""websockets: calls as one writes them by hand on top of a WebSocket connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import Person, Setup, older

NUMBER = 8
"""Bytes of a call's number, which is in front of every body."""
OPTIONS: dict[str, Any] = {"compression": None, "max_size": 64 << 20}


class Websockets(PythonOpponent):
    """Its asyncio server and client, without compression; binary frames, JSON by msgspec, as ours has it.

    The server answers where it reads. No timeouts of calls: the library's pings find a dead connection. Larger queues
    and write buffers than the library's are not faster.
    """

    name = "websockets"
    title = "websockets"
    bodies = frozenset({"bytes", "json"})
    packages = ("websockets", "msgspec", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        from websockets.asyncio.server import serve

        decode, encode = msgspec.json.Decoder(Person).decode, msgspec.json.Encoder().encode
        handlers: dict[str, Callable[[bytes], bytes]] = {
            "bytes": lambda body: body,
            "json": lambda body: encode(older(decode(body))),
        }
        handle = handlers[setup.body]

        async def serve_one(connection: Any) -> None:
            async for message in connection:
                await connection.send(message[:NUMBER] + handle(message[NUMBER:]))

        async with serve(serve_one, "127.0.0.1", 0, backlog=4096, **OPTIONS) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            yield f"ws://{host}:{port}"

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        from websockets.asyncio.client import connect

        decode, encode = msgspec.json.Decoder(Person).decode, msgspec.json.Encoder().encode
        loop = asyncio.get_running_loop()
        pending: dict[bytes, asyncio.Future[bytes]] = {}
        last = 0

        connecting: Any = connect(address, proxy=None, **OPTIONS)
        async with connecting as connection:

            async def call(body: bytes) -> bytes:
                nonlocal last
                last += 1
                number = last.to_bytes(NUMBER)
                future: asyncio.Future[bytes] = loop.create_future()
                pending[number] = future
                await connection.send(number + body)
                return await future

            async def person(body: Any) -> Person:
                return decode(await call(encode(body)))

            async def read() -> None:
                try:
                    async for message in connection:
                        future = pending.pop(message[:NUMBER])
                        if not future.done():
                            future.set_result(message[NUMBER:])
                finally:
                    for future in pending.values():
                        if not future.done():
                            future.set_exception(ConnectionError("the connection ended"))

            reader = asyncio.create_task(read())
            try:
                yield {"bytes": call, "json": person}
            finally:
                reader.cancel()
