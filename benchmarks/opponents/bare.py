"""The platform's limit: the least that a frame server and a client with callers can do on uvloop, and nothing more.

No limits, no deadlines, no backpressure, no errors: what a real peer adds to this is its price.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import ECHO, Load, Setup

HEADER = struct.Struct("<IBBBBQ")
"""body_len, reserved, cmd, flag, method_len, seq"""
REQUEST, RESPONSE = 1, 2


class Bare(PythonOpponent):
    """Bodies of up to 64 KiB: it joins each chunk to what was left, which does not pay with more."""

    name = "bare"
    title = "bare uvloop loop"
    wire = True
    packages = ("uvloop",)

    def takes(self, load: Load) -> bool:
        return super().takes(load) and load.size <= 65_536 and not load.delay and not load.background

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        handlers: dict[bytes, Callable[[bytes], bytes]] = {ECHO.encode(): lambda body: body}
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ServerFrames(handlers), "127.0.0.1", 0, backlog=4096)
        host, port = server.sockets[0].getsockname()[:2]
        yield f"tcp://{host}:{port}"
        server.close()

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        loop = asyncio.get_running_loop()
        transport, frames = await loop.create_connection(ClientFrames, host, int(port))
        yield {"bytes": partial(frames.call, ECHO.encode())}
        transport.close()


class Frames(asyncio.Protocol):
    """Collects what goes out: one write a loop turn."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are no subclasses

    def flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()


class ServerFrames(Frames):
    """Calls an inline handler, found by method."""

    def __init__(self, handlers: dict[bytes, Callable[[bytes], bytes]]) -> None:
        super().__init__()
        self._handlers = handlers

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        handlers, send = self._handlers, self._out.append
        offset, length = 0, len(data)
        while length - offset >= 16:
            body_len, _, _, _, method_len, seq = HEADER.unpack_from(data, offset)
            end = offset + 16 + body_len
            if end > length:
                break
            body = offset + 16 + method_len
            method = data[offset + 16 : body]
            answer = handlers[method](data[body:end])
            send(HEADER.pack(method_len + len(answer), 0, RESPONSE, 0, method_len, seq) + method + answer)
            offset = end
        self._rest = data[offset:]
        if self._out:
            self.flush()


class ClientFrames(Frames):
    """Futures by number, for callers that await their answers."""

    def __init__(self) -> None:
        super().__init__()
        self._seq = 0
        self._pending: dict[int, asyncio.Future[bytes]] = {}

    def call(self, method: bytes, body: bytes) -> asyncio.Future[bytes]:
        self._seq = seq = self._seq + 1
        self._pending[seq] = future = self._loop.create_future()
        if not self._out:
            self._loop.call_soon(self.flush)
        method_len = len(method)
        self._out.append(HEADER.pack(method_len + len(body), 0, REQUEST, 0, method_len, seq) + method + body)
        return future

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._pending.values():
            future.set_exception(ConnectionError("the connection ended"))
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        pending = self._pending
        offset, length = 0, len(data)
        while length - offset >= 16:
            body_len, _, _, _, method_len, seq = HEADER.unpack_from(data, offset)
            end = offset + 16 + body_len
            if end > length:
                break
            pending.pop(seq).set_result(data[offset + 16 + method_len : end])
            offset = end
        self._rest = data[offset:]
