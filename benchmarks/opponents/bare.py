"""The platform's limit: the least that a frame server and a client with callers can do on uvloop, and nothing more.

No limits, no deadlines, no backpressure, no errors: what a real peer adds to this is its price.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import cast

from benchmarks.closedloop import announce, closed_loop, until_stdin_closes
from benchmarks.opponents.base import Opponent, Unavailable
from benchmarks.workload import ECHO, Load, echo_body

HEADER = struct.Struct("<IBBBBQ")
"""body_len, reserved, cmd, flag, method_len, seq"""
REQUEST, RESPONSE = 1, 2


class Bare(Opponent):
    name = "bare"
    title = "bare uvloop loop"
    cases = frozenset({"bytes"})

    def prepare(self) -> str:
        if importlib.util.find_spec("uvloop") is None:
            raise Unavailable("uvloop is not installed")
        return f"uvloop {importlib.metadata.version('uvloop')}"

    def server_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "server"]

    def client_command(self) -> list[str]:
        return [sys.executable, "-m", __name__, "client"]


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


async def serve() -> None:
    handlers: dict[bytes, Callable[[bytes], bytes]] = {ECHO.encode(): lambda body: body}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ServerFrames(handlers), "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    announce(f"tcp://{host}:{port}")
    await until_stdin_closes()
    server.close()


async def drive(address: str, load: Load) -> None:
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(ClientFrames, host, int(port)))[1] for _ in range(load.connections)]
    method = ECHO.encode()

    def caller(number: int) -> tuple[Callable[[], Awaitable[object]], object]:
        call, body = connections[number % load.connections].call, echo_body(number)
        return lambda: call(method, body), body

    print((await closed_loop([caller(number) for number in range(load.callers)], load)).to_json())


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve() if sys.argv[1] == "server" else drive(*Load.parse(sys.argv[2:])))
