"""One connection: a transport's protocol, the session that speaks on it, and what keeps it within its bounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .acceptor import Acceptor
from .coded import Carried, CodedSession
from .errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError, remote_error
from .flow import Flow
from .frame import LARGE
from .hooks import Message
from .inbox import INBOX, Inbox
from .metadata import NOTHING, Metadata, add_values, error_trailer, read_metadata, split_values, trailer
from .options import Event
from .outlet import Outlet
from .session import Session
from .stats import Stats

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .peer import Peer
    from .stream import Stream

log = logging.getLogger("arpc")

UNREAD = 16_384
"""Frames (pongs, refusals, answers) that may wait for a socket that is full, beyond one for each running handler."""


STREAMS = 2
"""The bit of ``holds`` that says: a stream is full."""


class Answer(NamedTuple):
    """An answer that came with metadata."""

    data: bytes
    metadata: Metadata


class Connection(Outlet):
    """Everything that ends with one connection. Its transport calls the methods of :class:`asyncio.Protocol`."""

    __slots__ = ("_cut_off", "_ended", "_stats", "acceptor", "certificate", "charged", "inbox", "stream_waiters")

    def __init__(self, endpoint: Endpoint, peer: Peer) -> None:
        super().__init__(endpoint, peer)
        self.session = make_session(self, endpoint)
        self.inbox: Inbox | None = None
        self.acceptor: Acceptor | None = None
        self.stream_waiters = 0
        """Those who wait for an item, or to send one."""
        self.charged = 0
        """Bytes counted against ``max_buffered``."""
        self.certificate: dict[str, Any] | None = None
        """The other side's, where TLS has verified one."""
        self._stats: Stats | None = None
        self._ended: asyncio.Future[None] | None = None
        self._cut_off: asyncio.TimerHandle | None = None

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it
        endpoint = self.endpoint
        if endpoint.stopped:
            self._transport = None
            self._end(ConnectionClosed("the server was stopped"), send=False)
            made.abort()
            return
        if made.get_extra_info("sslcontext") is not None:
            _ = self.peer.address  # a TLS transport forgets it when the connection breaks
            self.certificate = made.get_extra_info("peercert") or None
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
            log.info("the connection with %s is closed: %s", self.peer.address, error)
            self.close(error)
            return
        if self.inbox is not None:
            self.inbox.received(len(data))
        unfinished = session.splitter.unfinished
        flows = session.flows
        if unfinished or self.charged or self.inbox is not None or (flows is not None and flows.queued > LARGE):
            if unfinished or self.charged:
                self.endpoint.stalls.reading(self, unfinished, len(data))
            self.account()
        if self.paused:
            options = self.endpoint.options
            unread = UNREAD + options.max_inflight + (0 if flows is None else options.max_streams)
            if len(session.out) > 2 * unread:
                self.abort(RemoteProtocolError("the other side sends, and does not read what it gets"))

    def eof_received(self) -> None:
        """The other side sends no more: the connection ends."""
        why = self.session.going_away
        self.close(ConnectionClosed("the other side closed the connection" + (f": {why}" if why else "")))

    def pause_writing(self) -> None:
        self.paused = self.blocked = True
        self.endpoint.stalls.writing(self)
        if self.holds:
            self.resume_reading()

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

    def on_messages(self, frames: list[Message]) -> None:
        if not self.open:  # ended by an event of this very chunk
            return
        inbox = self.inbox
        if inbox is None:
            inbox = self.inbox = Inbox(self)
        inbox.add(frames)

    # Tokens are futures; this raises for one whose caller has been cancelled in this very turn.
    resolve = staticmethod(asyncio.Future[Any].set_result)

    def on_answer(self, token: asyncio.Future[Any], data: bytes, metadata: Metadata) -> None:
        if not token.done():
            token.set_result(Answer(data, metadata))

    def on_error(self, token: asyncio.Future[Any], data: bytes, metadata: Metadata | None) -> None:
        if not token.done():
            text = data.decode("utf-8", "replace")
            if metadata is None:
                token.set_result(remote_error(text))
            else:
                token.set_result(remote_error(text, metadata.code, metadata.details))

    def on_cancel(self, seq: int, handler: Any) -> None:
        if handler is not None:
            handler.withdraw()
        elif self.inbox is not None:
            self.inbox.withdraw(seq)

    def on_stream(self, flow: Flow, opening: Message) -> None:
        if not self.open:  # ended by an event of this very chunk
            self.session.make_flows().reset(flow)
            return
        if self.acceptor is None:
            self.acceptor = Acceptor(self)
        self.acceptor.accept(flow, opening)
        if not self.acceptor.tasks:
            self.acceptor = None

    def on_room(self) -> None:
        flows = self.session.flows
        if self.charged:
            self.account()
        if self.holds & STREAMS and not (flows is not None and flows.full):
            self.release_reading(STREAMS)

    def on_goaway(self, reason: str) -> None:
        self._unblock()
        self.emit("goaway", reason)

    def on_pong(self, token: asyncio.Future[Any]) -> None:
        if not token.done():
            token.set_result(b"")

    def on_ready(self) -> None:
        self._unblock()
        self.endpoint.ready(self)
        if self.session.out:
            self.flush()

    def on_failure(self, error: Exception) -> None:
        self.close(error)

    def on_grown(self, size: int) -> None:
        if self.inbox is not None:
            self.inbox.received(size)
        self.account()

    def settle(self) -> None:
        """``hello_timeout`` is over: the base protocol, unless that cannot be spoken here."""
        try:
            self.session.settle()
        except RemoteProtocolError as error:
            self.close(error)

    read_metadata = staticmethod(read_metadata)
    add_values = staticmethod(add_values)
    write_error = staticmethod(error_trailer)

    def trailer(self, metadata: Mapping[str, Any] | None, timeout: float | None) -> bytes:
        """What travels beside a body; what arpc adds by itself is left out where the other side would not know it."""
        if metadata and isinstance(self.session, CodedSession):
            values, metadata = split_values(metadata, self.session.carries)
            if values:
                return Carried(self._trailer(metadata, timeout), values)
        return self._trailer(metadata, timeout)

    def _trailer(self, metadata: Mapping[str, Any] | None, timeout: float | None) -> bytes:
        if self.session.meta:
            return trailer(metadata, timeout)
        if not metadata:
            return b""
        raise LocalProtocolError(
            f"{self.peer.address} takes no metadata: it does not speak META (docs/protocol.md),"
            f" and no coder carries {', '.join(map(repr, metadata))}"
        )

    def answer_trailer(self, values: Mapping[str, Any]) -> bytes:
        """As :meth:`trailer`, beside an answer: what the other side would not know is left out."""
        carried: Mapping[str, Any] = NOTHING
        if isinstance(self.session, CodedSession):
            carried, values = split_values(values, self.session.carries)
        made = trailer(values, None) if self.session.meta else b""
        return Carried(made, carried) if carried else made

    def takes_metadata(self, name: str) -> bool:
        """Whether something of this name travels beside a body here."""
        session = self.session
        if session.meta or not isinstance(session, CodedSession):
            return session.meta
        return session.carries is None or name in session.carries

    # --- reading

    def pause_reading(self, why: int) -> bool:
        """Stops reading, unless something of ours waits on this connection: then both sides might wait for ever."""
        if why == INBOX and self.stream_waiters:
            return False
        if self.holds == 0:
            if self.session.waits or self.paused or self._gate is not None or self._transport is None:
                return False
            self._transport.pause_reading()
            self.blocked = True
            self.endpoint.stalls.blind(self)
        self.holds |= why
        return True

    def stream_waits(self, more: int) -> None:
        """One more waits for a stream, or one less. What it waits for has to be read, unless a stream is full."""
        self.stream_waiters += more
        if self.holds & INBOX and more > 0:
            self.release_reading(INBOX)

    def release_reading(self, why: int) -> None:
        """One of those who had reading paused is content."""
        self.holds &= ~why
        if self.holds == 0:
            self.resume_reading()

    def overflowed(self, stream: Stream[Any, Any]) -> bool:
        """A peer without flow control sends more than a stream's window: whether to keep one more item of it."""
        flows = self.session.make_flows()
        options = self.endpoint.options
        if options.overflow == "pause" and flows.queued <= options.max_queued_bytes:
            self.pause_reading(STREAMS)
            return True
        self.emit("stream_overflow", f"{stream.method}: items came faster than they were read, its rest is dropped")
        self.stats.streams_overflowed += 1
        return False

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
        flows = self.session.flows
        if flows is not None and flows.queued > LARGE and self.open:
            held += flows.queued
        if held != self.charged:
            self.endpoint.charge(self, held)

    # --- the end

    @property
    def reading_paused(self) -> bool:
        return self.holds != 0

    @property
    def stats(self) -> Stats:
        if self._stats is None:
            self._stats = Stats()
        return self._stats

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
        for owner in [] if session.flows is None else session.flows.close():
            owner.on_lost(self._closed_error(cause, sent=True))
        if self.acceptor is not None:
            self.acceptor.close()
        self.holds = 0
        self.endpoint.stalls.forget(self)
        self.account()
        if self._transport is not None:
            self.emit("close", str(cause))
        return True

    def streams_ended(self) -> None:
        """No handler of a stream runs here any more."""
        self.acceptor = None
        if self.inbox is None:
            self.endpoint.lingering.discard(self)

    def emit(self, name: str, detail: str = "") -> None:
        """Tells ``on_event``, if there is one."""
        if self.endpoint.options.on_event is not None:
            self.endpoint.tell(Event(name, self.peer, detail))


def make_session(connection: Connection, endpoint: Endpoint) -> Session:
    """Speaks on a connection; frames go through coders where the endpoint has any."""
    if endpoint.coders:
        return CodedSession(connection, endpoint.options, endpoint.coders)
    return Session(connection, endpoint.options)
