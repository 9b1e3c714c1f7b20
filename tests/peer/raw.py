"""A client that sends whatever bytes it likes over a real TCP socket, and reads only when it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import NamedTuple, Self

import arpc

HEADER = struct.Struct("<IBBBBQ")
REQUEST, RESPONSE, NOTIFY, PING, PONG, STREAM = range(1, 7)


def frame(
    command: int,
    seq: int = 0,
    method: bytes = b"",
    data: bytes = b"",
    *,
    flag: int = 0,
    reserved: int = 0,
    length: int | None = None,
    method_size: int | None = None,
) -> bytes:
    """A frame; ``length`` and ``method_size`` make its header lie."""
    claimed = len(method) + len(data) if length is None else length
    size = len(method) if method_size is None else method_size
    return HEADER.pack(claimed, reserved, command, flag, size, seq) + method + data


def request(seq: int, method: bytes, data: bytes = b"") -> bytes:
    return frame(REQUEST, seq, method, data)


def hello(
    *, magic: bytes = b"arpc+", version: int = 1, flags: int = 0, max_body: int = 1 << 20, tail: bytes = b""
) -> bytes:
    """The data of a Hello."""
    return magic + struct.pack("<BIIII", version, flags, 1 << 18, max_body, 1 << 16) + tail


class Received(NamedTuple):
    command: int
    flag: int
    seq: int
    method: bytes
    data: bytes

    @property
    def error(self) -> str | None:
        """The text of an error answer."""
        return self.data.decode() if self.flag & 1 else None


class Raw:
    """One socket, used by ``async with`` or ended by :meth:`close` or :meth:`reset`."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, address: str, *, receive_buffer: int | None = None) -> Self:
        """``receive_buffer``: bytes that the kernel takes for a client that does not read."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        return cls(sock)

    @staticmethod
    def listener(backlog: int = 16) -> socket.socket:
        """A listening socket on a free port."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        return sock

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self, size: int) -> bytes:
        """Exactly that many bytes."""
        parts = bytearray()
        while len(parts) < size:
            part = await self._loop.sock_recv(self.socket, size - len(parts))
            if not part:
                raise EOFError(f"the connection ended after {bytes(parts)!r}")
            parts += part
        return bytes(parts)

    async def receive_frame(self) -> Received:
        length, _, command, flag, size, seq = HEADER.unpack(await self.receive(HEADER.size))
        body = await self.receive(length)
        return Received(command, flag, seq, body[:size], body[size:])

    async def ask(self, seq: int, method: bytes, data: bytes = b"") -> Received:
        """The answer of a request."""
        await self.send(request(seq, method, data))
        return await self.receive_frame()

    async def ended(self) -> None:
        """Returns when the other side has closed; what it sent before is thrown away."""
        try:
            while await self._loop.sock_recv(self.socket, 65_536):
                pass
        except ConnectionError:
            pass

    def end(self) -> None:
        """Sends no more, and lives on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Disappears at once, as a crashed machine does to its peer: with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Events:
    """What ``on_event`` was told."""

    def __init__(self) -> None:
        self.seen: list[arpc.Event] = []

    def __call__(self, event: arpc.Event) -> None:
        self.seen.append(event)

    def details(self, name: str) -> list[str]:
        return [event.detail for event in self.seen if event.name == name]
