"""``mem://name``: connections within one event loop, for tests, with the chunks and backpressure of a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import ConnectError
from ..options import KIB, Options
from ..transport import Address, Listener, ProtocolFactory, Transport

PIPE = 256 * KIB
"""Bytes that one direction holds, as a socket's buffer in the kernel does, before its writer has to keep the rest."""


class MemTransport(asyncio.Transport):
    """One end of a pair. What is written arrives at the other end in a later turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, address: str) -> None:
        super().__init__({"peername": address, "sockname": address})
        self._loop = loop
        self._protocol = protocol
        self._other: MemTransport | None = None
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_bytes = 0
        self._pipe: deque[bytes | memoryview] = deque()
        self._pipe_bytes = 0
        self._high = 64 * KIB
        self._low = 16 * KIB
        self._writing_paused = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._eof = False
        self._delivery = False

    def pair(self, other: MemTransport) -> None:
        self._other = other

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ended":
            return self._eof
        return super().get_extra_info(name, default)

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        self._pump()
        if self._unsent_bytes > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _pump(self) -> None:
        """Moves what fits into the other end's pipe."""
        other = self._other
        if other is None:
            return
        if other._lost:  # nobody takes it any more
            self._unsent.clear()
            self._unsent_bytes = 0
            if self._closing:
                self._finish(None)
            return
        while self._unsent and other._pipe_bytes < PIPE:
            data = self._unsent.popleft()
            self._unsent_bytes -= len(data)
            room = PIPE - other._pipe_bytes
            if len(data) > room:
                whole = memoryview(data)
                self._unsent.appendleft(whole[room:])
                self._unsent_bytes += len(data) - room
                data = whole[:room]
            other._pipe.append(data)
            other._pipe_bytes += len(data)
        other._deliver_soon()
        if self._closing and not self._unsent:
            self._finish(None)
        elif self._writing_paused and self._unsent_bytes <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * KIB if high is None else high
        self._low = self._high // 4 if low is None else low

    # --- reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._deliver_soon()

    def is_reading(self) -> bool:
        return self._reading

    def _deliver_soon(self) -> None:
        if not self._delivery and (self._pipe or self._eof) and not self._lost:
            self._delivery = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivery = False
        if self._lost or not self._reading:
            return
        if self._pipe:
            data = b"".join(self._pipe)
            self._pipe.clear()
            self._pipe_bytes = 0
            if self._other is not None and not self._other._lost:
                self._loop.call_soon(self._other._pump)
            if not self._closing:
                self._protocol.data_received(data)
        elif self._eof:
            if not self._closing:
                self._protocol.eof_received()
            self._finish(None)
            return
        if self._eof:
            self._deliver_soon()

    # --- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._unsent:
            self._finish(None)

    def abort(self) -> None:
        self._closing = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._loop.call_soon(self._protocol.connection_lost, error)
        if self._other is not None and not self._other._lost:
            self._other._eof = True
            self._other._deliver_soon()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol


class MemListener:
    """A name in the event loop's own name space."""

    def __init__(self, names: dict[str, Any], name: str, factory: ProtocolFactory) -> None:
        self._names = names
        self._name = name
        self.factory = factory
        self.address = f"mem://{name}"
        names[name] = self

    async def close(self) -> None:
        self._names.pop(self._name, None)


class Mem:
    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, MemListener]] = WeakKeyDictionary()
        self._numbers = count(1)

    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        names = self._loops.setdefault(asyncio.get_running_loop(), {})
        name = f"{next(self._numbers)}" if address.rest == "0" else address.rest
        if name in names:
            raise ConnectError(f"cannot listen on {address}: another server is listening there")
        return MemListener(names, name, factory)

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        listener = self._loops.get(loop, {}).get(address.rest)
        if listener is None:
            raise ConnectionRefusedError("nobody listens there, in this event loop")
        ours, theirs = factory(), listener.factory()
        here, there = MemTransport(loop, ours, str(address)), MemTransport(loop, theirs, str(address))
        here.pair(there)
        there.pair(here)
        theirs.connection_made(there)
        ours.connection_made(here)
        return ours


transport: Transport = Mem()
