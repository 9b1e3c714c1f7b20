"""The writing half of a connection: frames are collected, and written at the end of a turn if the socket has room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from .context import serving
from .errors import CallTimeout, ConnectionClosed
from .frame import LARGE
from .gate import Gate
from .output import BATCH
from .wheel import NEVER, Slot

if TYPE_CHECKING:
    from .connection import Connection
    from .endpoint import Endpoint
    from .peer import Peer
    from .session import Session


class Outlet(asyncio.Protocol):
    """What a connection sends, and who waits for that."""

    __slots__ = (
        "_alone",
        "_flush_at",
        "_gate",
        "_transport",
        "blocked",
        "corked",
        "endpoint",
        "holds",
        "paused",
        "peer",
        "session",
    )

    def __init__(self, endpoint: Endpoint, peer: Peer) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.session: Session
        self.paused = False
        """The socket is full."""
        self.blocked = True
        """Who sends has to look before: see :meth:`clearance`."""
        self.corked = False
        """A runner collects answers here, and will :meth:`push` them out."""
        self.holds: int = 0
        """Why reading is paused, if it is: bits of those who asked for it."""
        self._transport: asyncio.Transport | None = None
        self._gate: Gate | None = None
        self._flush_at = False
        self._alone = True
        """The last write carried one frame: a single caller's next one is not held back to the end of the turn."""

    @property
    def open(self) -> bool:
        return self.session.closed is None

    @property
    def writable(self) -> bool:
        """A frame may be written now, without waiting for the socket or for those who wait already."""
        return self.session.ready and not self.paused and self._gate is None

    @property
    def unwritten(self) -> int:
        """Bytes that the transport could not write yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    def check_open(self) -> None:
        """Raises :class:`~arpc.ConnectionClosed` with the cause, for something that was not sent."""
        if self.session.closed is not None:
            raise self._closed_error(self.session.closed, sent=False)

    def _closed_error(self, cause: BaseException, *, sent: bool) -> ConnectionClosed:
        error = ConnectionClosed(f"the connection with {self.peer.address} has ended: {cause}", sent=sent)
        error.__cause__ = cause
        return error

    def on_output(self) -> None:
        if len(self.session.out) > BATCH or self.session.held > LARGE:
            self.flush()
        elif not self.corked and not self._flush_at:
            if self._alone and len(self.session.pending) == 1:
                self.flush()
            else:
                self._flush_at = True
                # Not in the context of whoever caused this: a runner looks for what its handler has left in there.
                self.endpoint.loop.call_soon(self._flush_now, context=self.endpoint.variables)

    def flush(self) -> None:
        """Hands what there is to send to the transport; while the socket is full it waits in the session."""
        if self.paused or self._transport is None or self._transport.is_closing():
            return
        out = self.session.take()
        if not out:
            return
        self._alone = len(out) < 3
        if self.session.bulky or len(out) > 2 * BATCH:
            self._write_in_pieces(self._transport, out)
        else:
            self._transport.write(b"".join(out))

    def _write_in_pieces(self, transport: asyncio.Transport, out: list[bytes]) -> None:
        """Large bodies go as they are, small frames joined; what a full socket leaves over stays in the session."""
        small: list[bytes] = []
        size = 0
        for index, data in enumerate(out):
            size += len(data)
            if len(data) <= LARGE:
                small.append(data)
                if size < LARGE:
                    continue
                data = b""
            if small:
                transport.write(b"".join(small))
                small.clear()
            if data:
                transport.write(data)
            size = 0
            if self.paused:
                self.session.put_back(out[index + 1 :])
                return
        if small:
            transport.write(b"".join(small))
        self.session.bulky = False

    def push(self) -> None:
        """A runner sends what it has collected."""
        self.corked = False
        self.flush()

    def uncork(self) -> None:
        """The runner stops collecting; what it has goes out at the end of the turn."""
        self.corked = False
        if self.session.out:
            self.on_output()

    def _flush_now(self) -> None:
        self._flush_at = False
        self.flush()

    def check_welcome(self) -> None:
        """Raises :class:`~arpc.ConnectionClosed` where the other side wants nothing new (PROTOCOL part 2, GoAway).

        Handlers that serve it may still call it.
        """
        self.check_open()
        why = self.session.going_away
        handler = serving.get()
        if why is not None and (handler is None or not handler.serves(self)):
            raise ConnectionClosed(f"{self.peer.address} is going away and takes nothing new: {why}")

    async def admission(self, size: int, slot: Slot) -> bool:
        """As :meth:`clearance`, for what is new and answered: a call, a stream."""
        self.check_welcome()
        return await self.answered(size, slot)

    async def answered(self, size: int, slot: Slot) -> bool:
        """As :meth:`clearance`, for what has an answer, which has to be read."""
        if self.holds:
            self.resume_reading()
        return await self.clearance(size, slot)

    async def notice(self, size: int) -> bool:
        """As :meth:`clearance`, for a notify."""
        self.check_welcome()
        return await self.clearance(size, NEVER)

    async def clearance(self, size: int, slot: Slot) -> bool:
        """Waits until a frame of ``size`` bytes may be written; then the caller writes at once.

        True asks the caller to say :meth:`passed` afterwards. Raises :class:`~arpc.ConnectionClosed`, and
        :class:`~arpc.CallTimeout` when ``slot`` expires first.
        """
        self.check_open()
        if not self.session.ready:
            await self.endpoint.until_ready(cast("Connection", self), slot)
            self.check_open()
            if slot.over:
                raise CallTimeout(f"nothing could be sent to {self.peer.address} in time")
        if not self.paused and (self._gate is None or self._gate.idle):
            self._unblock()
            return False
        if self._gate is None:
            self._gate = Gate(self.endpoint.loop, self.endpoint.options.write_buffer)
        try:
            if self.holds:  # or both sides might wait for the other to read
                self.resume_reading()
            let_through = await self._gate.wait(size, slot)
        except BaseException:
            self._after_gate()
            raise
        if let_through and slot.over:  # both in the same turn of the loop
            self.passed()
            let_through = False
        if not let_through:
            self._after_gate()
            raise CallTimeout(f"nothing could be sent to {self.peer.address} in time: the socket is full")
        if self.session.closed is not None:
            self.passed()
            self.check_open()
        return True

    def passed(self) -> None:
        """One that waited for the socket has written; the last of a batch lets the next one through."""
        assert self._gate is not None
        self._gate.passed()
        self._after_gate()

    def _after_gate(self) -> None:
        gate = self._gate
        if gate is not None and not gate.passing:
            self.flush()
            if not self.paused:
                gate.open()
                self._unblock()

    def _unblock(self) -> None:
        gate = self._gate
        if gate is not None and gate.idle and not self.paused:
            gate = self._gate = None
        session = self.session
        self.blocked = (
            self.paused
            or gate is not None
            or self.holds != 0
            or not session.ready
            or not self.open
            or session.going_away is not None
        )

    # --- reading, which goes on when something of ours waits here

    def resume_reading(self) -> None:
        """Reading goes on, whoever had it paused: else both sides might wait for ever."""
        self.holds = 0
        if self._transport is not None and self.open:
            self._transport.resume_reading()
            self.endpoint.stalls.sees(cast("Connection", self))
        self._unblock()
