"""One connection: a transport's protocol, the session that speaks on it, and what keeps it within its bounds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from .errors import CallTimeout, ConnectionClosed, RemoteProtocolError, remote_error
from .frame import LARGE, Frame
from .gate import Gate
from .inbox import Inbox
from .options import Event
from .session import BATCH, Session
from .stats import Stats
from .wheel import Slot

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .peer import Peer

UNREAD = 16_384
"""Frames (pongs, refusals, answers) that may wait for a socket that is full, beyond one for each running handler."""


class Connection(asyncio.Protocol):
    """Everything that ends with one connection. Its transport calls the methods of :class:`asyncio.Protocol`."""

    __slots__ = (
        "_alone",
        "_cut_off",
        "_ended",
        "_flush_at",
        "_gate",
        "_stats",
        "_transport",
        "blocked",
        "charged",
        "corked",
        "endpoint",
        "inbox",
        "paused",
        "peer",
        "session",
    )

    def __init__(self, endpoint: Endpoint, peer: Peer) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.session = Session(self, endpoint.options)
        self.inbox: Inbox | None = None
        self.paused = False
        """The socket is full."""
        self.blocked = True
        """``call`` and ``notify`` have to look before they write: see :meth:`clearance`."""
        self.corked = False
        """A runner collects answers here, and will :meth:`push` them out."""
        self.charged = 0
        """Bytes counted against ``max_buffered``."""
        self._transport: asyncio.Transport | None = None
        self._gate: Gate | None = None
        self._stats: Stats | None = None
        self._ended: asyncio.Future[None] | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._flush_at = False
        self._alone = True
        """The last write carried one frame: a single caller's next one is not held back to the end of the turn."""

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it
        endpoint = self.endpoint
        if endpoint.stopped:
            self._transport = None
            self._end(ConnectionClosed("the server was stopped"), send=False)
            made.abort()
            return
        made.set_write_buffer_limits(high=endpoint.options.write_buffer)
        endpoint.connections.add(self)
        if endpoint.dials:
            made.write(self.session.dial())
        elif not endpoint.options.extensions:
            self.session.settle()
        self.emit("open")

    def data_received(self, data: bytes) -> None:
        session = self.session
        try:
            session.receive(data)
        except RemoteProtocolError as error:
            self.close(error)
            return
        if self.inbox is not None:
            self.inbox.received(len(data))
        unfinished = session.splitter.unfinished
        if unfinished or self.charged or self.inbox is not None:
            if unfinished or self.charged:
                self.endpoint.stalls.reading(self, unfinished, len(data))
            self.account()
        if self.paused and len(session.out) > 2 * (UNREAD + self.endpoint.options.max_inflight):
            self.abort(RemoteProtocolError("the other side sends, and does not read what it gets"))

    def eof_received(self) -> None:
        """The other side sends no more: the connection ends."""
        self.close(ConnectionClosed("the other side closed the connection"))

    def pause_writing(self) -> None:
        self.paused = self.blocked = True
        self.endpoint.stalls.writing(self)
        if self.inbox is not None:
            self.inbox.resume_reading()

    def resume_writing(self) -> None:
        self.paused = False
        self.endpoint.stalls.written(self)
        self.flush()
        if self._gate is not None and not self.paused:
            self._gate.open()
        if self.inbox is not None:
            self.inbox.admit()
        self._unblock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionClosed("the other side closed the connection"), send=False)
        self._transport = None
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None
        self.endpoint.lost(self)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # --- the session's hooks

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

    def on_messages(self, frames: list[Frame]) -> None:
        inbox = self.inbox
        if inbox is None:
            inbox = self.inbox = Inbox(self)
        inbox.add(frames)

    # Tokens are futures; this raises for one whose caller has been cancelled in this very turn.
    resolve = staticmethod(asyncio.Future[Any].set_result)

    def on_error(self, token: asyncio.Future[Any], data: bytes) -> None:
        if not token.done():
            token.set_result(remote_error(data.decode("utf-8", "replace")))

    def on_pong(self, token: asyncio.Future[Any]) -> None:
        if not token.done():
            token.set_result(b"")

    def on_ready(self) -> None:
        self._unblock()
        self.endpoint.ready(self)
        if self.session.out:
            self.flush()

    # --- writing

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

    async def clearance(self, size: int, slot: Slot) -> bool:
        """Waits until a frame of ``size`` bytes may be written; then the caller writes at once.

        True asks the caller to say :meth:`passed` afterwards. Raises :class:`~arpc.ConnectionClosed`, and
        :class:`~arpc.CallTimeout` when ``slot`` expires first.
        """
        self.check_open()
        if not self.session.ready:
            await self.endpoint.until_ready(self, slot)
            self.check_open()
            if slot.over:
                raise CallTimeout(f"nothing could be sent to {self.peer.address} in time")
        if self.inbox is not None:
            self.inbox.resume_reading()
        if not self.paused and (self._gate is None or self._gate.idle):
            self._unblock()
            return False
        if self._gate is None:
            self._gate = Gate(self.endpoint.loop, self.endpoint.options.write_buffer)
        try:
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
        self.blocked = self.paused or gate is not None or self.reading_paused or not self.session.ready or not self.open

    # --- reading

    def pause_reading(self) -> bool:
        """Stops reading, unless something of ours waits on this connection: then both sides might wait for ever."""
        if self.session.waits or self.paused or self._gate is not None or self._transport is None:
            return False
        self._transport.pause_reading()
        self.blocked = True
        self.endpoint.stalls.blind(self)
        return True

    def resume_reading(self) -> None:
        if self._transport is not None and self.open:
            self._transport.resume_reading()
            self.endpoint.stalls.sees(self)
        self._unblock()

    def recount(self) -> None:
        """As :meth:`account`, exactly."""
        if self.inbox is not None:
            self.inbox.true_up()
        self.account()

    def account(self) -> None:
        """Counts what is held here against the endpoint's ``max_buffered``."""
        held = self.session.splitter.unfinished
        if self.inbox is not None:
            held += self.inbox.waiting_bytes
        if held != self.charged:
            self.endpoint.charge(self, held)

    # --- the end

    @property
    def open(self) -> bool:
        return self.session.closed is None

    @property
    def writable(self) -> bool:
        """A frame may be written now, without waiting for the socket or for those who wait already."""
        return self.session.ready and not self.paused and self._gate is None

    @property
    def reading_paused(self) -> bool:
        return self.inbox is not None and self.inbox.reading_paused

    @property
    def unwritten(self) -> int:
        """Bytes that the transport could not write yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def stats(self) -> Stats:
        if self._stats is None:
            self._stats = Stats()
        return self._stats

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    def check_open(self) -> None:
        """Raises :class:`~arpc.ConnectionClosed` with the cause, for something that was not sent."""
        if self.session.closed is not None:
            raise self._closed_error(self.session.closed, sent=False)

    def close(self, cause: BaseException) -> None:
        """Sends what is under way, then closes; a peer that does not take it in time is cut off."""
        if self._end(cause, send=True) and self._transport is not None:
            transport = self._transport
            transport.close()
            self._cut_off = self.endpoint.loop.call_later(self.endpoint.options.send_timeout, transport.abort)

    def abort(self, cause: BaseException) -> None:
        """Closes at once; what was not written is lost."""
        self._end(cause, send=False)
        if self._transport is not None:
            self._transport.abort()

    async def wait_ended(self) -> None:
        """Returns when the transport has closed."""
        if self._transport is None:
            return
        if self._ended is None:
            self._ended = self.endpoint.loop.create_future()
        await asyncio.shield(self._ended)

    def _end(self, cause: BaseException, *, send: bool) -> bool:
        """Fails what waits for this connection, once, having sent what is under way; whether this was that once."""
        session = self.session
        if session.closed is not None:
            return False
        _ = self.peer.address  # the transport forgets it
        self.paused = False
        if send and self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(session.take())
        self.blocked = True
        for token, sent in session.close(cause):
            if not token.done():
                token.set_result(self._closed_error(cause, sent=sent))
        self.endpoint.ready(self)
        if self._gate is not None:
            self._gate.open_for_all()
        if self.inbox is not None:
            self.inbox.close()
        self.endpoint.stalls.forget(self)
        self.account()
        if self._transport is not None:
            self.emit("close", str(cause))
        return True

    def _closed_error(self, cause: BaseException, *, sent: bool) -> ConnectionClosed:
        error = ConnectionClosed(f"the connection with {self.peer.address} has ended: {cause}", sent=sent)
        error.__cause__ = cause
        return error

    def emit(self, name: str, detail: str = "") -> None:
        """Tells ``on_event``, if there is one."""
        if self.endpoint.options.on_event is not None:
            self.endpoint.tell(Event(name, self.peer, detail))
