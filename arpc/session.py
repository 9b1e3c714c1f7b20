"""The protocol machine of one connection: bytes in, calls to hooks out, bytes to send collected. No I/O, no asyncio.

One class serves both sides; only who dialled differs, for the Hello. Pending calls and pings are opaque tokens here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from .answers import take_answers
from .errors import OVERLOADED, DuplicateRequest, RemoteProtocolError
from .flow import LATE, Flow, Flows
from .frame import (
    CANCEL,
    COMMAND_MASK,
    CREDIT,
    FLAG_ASYNC,
    FLAG_ERROR,
    GOAWAY,
    HEADER,
    MAX_METHOD,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESERVED_META,
    RESET,
    RESPONSE,
    STREAM,
    STREAM_LOCAL,
    Frame,
    encode,
)
from .handshake import Handshake
from .hello import Capability
from .hooks import Hooks, Message, StreamOwner
from .items import take_items
from .options import Options
from .output import BATCH
from .trailer import split_trailer

next_seq = count(1).__next__
"""One counter for the process, never restarted: a Go peer may answer an old connection's request on a new one."""

_BARE: Final = frozenset({PING, PONG, CANCEL, GOAWAY, RESET, RESET | STREAM_LOCAL, CREDIT, CREDIT | STREAM_LOCAL})
"""What never has metadata."""

_pack = HEADER.pack


class Session(Handshake):
    """One connection's state. After :attr:`closed` is set nothing goes in or out."""

    __slots__ = ("flows", "going_away", "pending", "refused", "serving")

    def __init__(self, hooks: Hooks, options: Options) -> None:
        super().__init__(hooks, options)
        self.pending: dict[int, tuple[bytes, Any]] = {}
        """Requests that wait for their answer: seq to method and token."""
        self.serving: dict[int, Any] | None = None
        """Requests of the other side whose handlers are suspended: seq to handler. None when there is none."""
        self.flows: Flows | None = None
        """The streams of this connection, once there was one."""
        self.going_away: str | None = None
        """The other side wants no new work, for this reason."""
        self.refused = 0
        """Answers that were too large for the other side: it got an error in their place."""

    def make_flows(self) -> Flows:
        """The streams of this connection."""
        if self.flows is None:
            self.flows = Flows(self, self.options.stream_window)
        return self.flows

    # --- sending

    def request(self, method: bytes, data: bytes, token: Any, flag: int = 0) -> int:
        """Sends a request and returns its sequence number; its answer comes with ``token``."""
        size = len(method)
        length = size + len(data)
        small = self.small
        if length > small:
            self.check(length)
        self._last_seq = seq = next_seq()
        self.pending[seq] = (method, token)
        head = _pack(length, 0, REQUEST, flag, size, seq) + method
        out = self.out
        if length > small or len(out) > BATCH:
            self._ask(seq, head, data)
        else:
            out.append(head)
            out.append(data)
            if len(out) < 5:
                self.hooks.on_output()
        return seq

    def request_with(self, method: bytes, data: bytes, token: Any, trailer: bytes) -> int:
        """As :meth:`request`, with metadata."""
        if trailer == b"" and trailer.__class__ is bytes:
            return self.request(method, data, token)
        length = len(method) + len(data) + len(trailer)
        self.check(length)
        self._last_seq = seq = next_seq()
        self.pending[seq] = (method, token)
        reserved = RESERVED_META if trailer else 0
        self._ask(seq, _pack(length, reserved, REQUEST, 0, len(method), seq) + method, data, trailer)
        return seq

    def _ask(self, seq: int, head: bytes, data: bytes, trailer: bytes = b"") -> None:
        """Sends a request that is pending, or it is not: a coder may refuse it."""
        try:
            self.append(head, data, trailer)
        except BaseException:
            self.pending.pop(seq, None)
            raise

    def notify(self, method: bytes, data: bytes, flag: int = FLAG_ASYNC, trailer: bytes = b"") -> None:
        """Sends a notify."""
        size = len(method)
        length = size + len(data) + len(trailer)
        if length > self.small:
            self.check(length)
        self._last_seq = seq = next_seq()
        self.append(_pack(length, RESERVED_META if trailer else 0, NOTIFY, flag, size, seq) + method, data, trailer)

    @property
    def shared(self) -> tuple[str, ...]:
        """Coders that make the same of a frame on every connection of an endpoint."""
        return ()

    def prepare(self, method: bytes, data: bytes, trailer: bytes) -> bytes:
        """A notify for many: for every connection with the same coders in :attr:`shared`, and the same trailer."""
        return encode(NOTIFY, 0, next_seq(), method, data + trailer, RESERVED_META if trailer else 0)

    def send_prepared(self, frame: bytes, length: int, trailer: bytes) -> None:
        """Sends what :meth:`prepare` has made; ``length``: its body before coders. Raises as :meth:`check`."""
        self.check(length)
        self.put(frame)

    def open_stream(self, method: bytes, owner: StreamOwner, data: bytes, *, end: bool, trailer: bytes) -> Flow:
        """Opens a stream: see :meth:`Flows.open`."""
        self._last_seq = seq = next_seq()
        return self.make_flows().open(method, owner, seq, data, end=end, trailer=trailer)

    def respond(self, request: Message, data: bytes) -> None:
        """Answers a request: method, sequence number and async flag are echoed (PROTOCOL part 1).

        An answer that is too large for the other side becomes an error answer. After the end nothing is sent.
        """
        _, asked, _, seq, method, _ = request
        size = len(method)
        length = size + len(data)
        head = _pack(length, 0, RESPONSE, asked & FLAG_ASYNC, size, seq) + method
        if length > self.small:
            if self.closed is not None:
                return
            if length > self.send_limit:
                self._refuse_answer(request, length)
            else:
                self.append(head, data)
            return
        out = self.out
        out.append(head)
        out.append(data)
        if len(out) < 5:
            self.hooks.on_output()

    def respond_with(self, request: Message, data: bytes, trailer: bytes) -> None:
        """As :meth:`respond`, with metadata."""
        _, asked, _, seq, method, _ = request
        length = len(method) + len(data) + len(trailer)
        if self.closed is not None:
            return
        if length > self.send_limit:
            self._refuse_answer(request, length)
            return
        reserved = RESERVED_META if trailer else 0
        head = _pack(length, reserved, RESPONSE, asked & FLAG_ASYNC, len(method), seq) + method
        self.append(head, data, trailer)

    def _refuse_answer(self, request: Message, length: int) -> None:
        self.refused += 1
        self.respond_error(request, f"the answer is too large: {self.too_large(length)}", "resource_exhausted")

    def respond_error(self, request: Message, text: str, code: str | None = None, details: Any = None) -> None:
        """Answers a request with an error; a text that is too long for the other side is cut, after ``details``.

        ``code`` and ``details`` travel to a peer with META only, and only as far as they have room.
        """
        if self.closed is not None:
            return
        _, asked, _, seq, method, _ = request
        method = method[:MAX_METHOD]
        data = text.encode("utf-8", "replace")
        trailer = self.hooks.write_error(code, details) if self.meta and (code or details is not None) else b""
        room = self.send_limit - len(method)
        if details is not None and len(data) + len(trailer) > room:
            trailer = self.hooks.write_error(code, None)
        if len(trailer) > room:
            trailer = b""
        data = data[: max(room - len(trailer), 0)]
        reserved = RESERVED_META if trailer else 0
        flag = FLAG_ERROR | asked & FLAG_ASYNC
        self.tell(encode(RESPONSE, flag, seq, method, data + trailer, reserved))

    def refuse(self, request: Message) -> None:
        """Answers a request unread: not executed, safe to retry."""
        self.respond_error(request, OVERLOADED, OVERLOADED)

    def go_away(self, reason: str) -> None:
        """Tells the other side, if it understands that, to start nothing new here."""
        if Capability.GOAWAY in self.capabilities:
            self.tell(encode(GOAWAY, 0, 0, b"", reason.encode("utf-8", "replace")[: self.send_limit]))

    def cancel(self, seq: int) -> None:
        """Drops a pending request, and tells the other side, if it understands that, that nobody waits any more."""
        if self.pending.pop(seq, None) is not None and self.can_cancel:
            self.tell(encode(CANCEL, 0, seq))

    # --- receiving

    @property
    def waits(self) -> bool:
        """Somebody waits for an answer to what was sent."""
        if self.pending or (self._negotiating and self.initiator):
            return True
        return bool(self._pings) and bool(self.waiting_pings())

    def receive(self, data: bytes) -> None:
        """Takes bytes in, in any chunks. :class:`RemoteProtocolError` asks the owner to close the connection."""
        if self._negotiating:
            data = self._negotiate(data)
        if self.closed is not None or not data:
            return
        splitter = self.splitter
        at = 0
        if splitter.unfinished:
            frames: list[Frame] = []
            data, at = splitter.finish(data, frames)
            if frames:
                self._serve(frames)
        if (self.pending or self.flows is not None) and splitter.error is None:
            at = self._take(data, at)
            if at == len(data):
                return
        frames = splitter.feed(data, at)
        if frames:
            self._serve(frames)
        if splitter.error is not None:
            raise splitter.error

    def _negotiate(self, data: bytes) -> bytes:
        """Reads one frame after the other, since each may decide how the next is read; returns what is left then."""
        splitter = self.splitter
        at = 0
        while self._negotiating and at < len(data) and self.closed is None:
            step = splitter.needs
            frames = splitter.feed(data[at : at + step])
            at += step
            if frames:
                self._serve(frames)
            if splitter.error is not None:
                raise splitter.error
        return data[at:]

    def _take(self, data: bytes, at: int) -> int:
        """Hands out what goes the short way, and returns where that ends."""
        limit = self.splitter.limit
        flows = self.flows
        while True:
            start = at
            if self.pending:
                at, dropped = take_answers(data, at, limit, self.pending, self.hooks.resolve)
                self.dropped += dropped
            if flows is None or at == len(data):
                return at
            at = take_items(data, at, limit, flows)
            if at == start or at == len(data):
                return at

    def _serve(self, frames: Sequence[Message]) -> None:
        if self._negotiating:
            self._decide(frames[0])
        messages: list[Message] = []
        pending = self.pending
        resolve = self.hooks.resolve
        try:
            for frame in frames:
                command, flag, reserved, seq, method, body = frame
                if reserved and reserved & self.extras and command not in _BARE:
                    frame = self._with_metadata(frame)
                    body = frame[5]
                if command == REQUEST:
                    if self.serving is not None and seq in self.serving:
                        raise DuplicateRequest(seq)
                    messages.append(frame)
                elif command == RESPONSE:
                    entry = pending.get(seq)
                    if entry is None or entry[0] != method:
                        self.dropped += 1
                    else:
                        del pending[seq]
                        if messages:  # what came before an answer is begun before it is seen
                            self.hooks.on_messages(messages)
                            messages = []
                        metadata = frame[2] if reserved and frame[2] is not reserved else None
                        if flag & FLAG_ERROR:
                            self.hooks.on_error(entry[1], body, metadata)
                        elif metadata is not None:
                            self.hooks.on_answer(entry[1], body, metadata)
                        else:
                            try:
                                resolve(entry[1], body)
                            except Exception:  # whatever its owner's tokens raise: nobody waits any more
                                self.dropped += 1
                elif command == NOTIFY:
                    messages.append(frame)
                elif command & COMMAND_MASK == STREAM:
                    self.make_flows().receive(frame, reserved)
                elif command == PING:
                    self._on_ping(body)
                elif command == PONG:
                    self._on_pong(body)
                else:
                    if messages:  # a request is begun, or queued, before it is cancelled
                        self.hooks.on_messages(messages)
                        messages = []
                    self._receive_extension(frame)
        finally:
            if messages:
                self.hooks.on_messages(messages)

    def _on_pong(self, data: bytes) -> None:
        super()._on_pong(data)
        if self.late and self.flows is not None and len(self.flows):
            raise RemoteProtocolError(f"a stream is open, and {LATE}")

    def _with_metadata(self, frame: Frame) -> Message:
        """Takes the trailer off a frame."""
        command, flag, _, seq, method, body = frame
        data, value = split_trailer(body)
        return command, flag, self.hooks.read_metadata(frame, value), seq, method, data

    def _receive_extension(self, frame: Frame) -> None:
        command, _, _, seq, method, data = frame
        bare = command & COMMAND_MASK
        if method:
            raise RemoteProtocolError(f"command {bare} has no method, and carries one of {len(method)} bytes")
        if bare == RESET:
            self.make_flows().receive_reset(command, seq, data)
        elif bare == CREDIT:
            self.make_flows().receive_credit(command, seq, data)
        elif bare == CANCEL:
            self.hooks.on_cancel(seq, self.serving.get(seq) if self.serving is not None else None)
        elif self.going_away is None:
            self.going_away = data.decode("utf-8", "replace")
            self.hooks.on_goaway(self.going_away)

    # --- handlers that are suspended, and the end

    def begin(self, seq: int, handler: Any) -> None:
        """Notes that the handler of a request is suspended."""
        if self.serving is None:
            self.serving = {}
        elif seq in self.serving:
            raise DuplicateRequest(seq)
        self.serving[seq] = handler

    def finish(self, seq: int) -> None:
        """The handler of this request has ended."""
        if self.serving is not None:
            self.serving.pop(seq, None)
            if not self.serving:
                self.serving = None

    def close(self, cause: BaseException) -> list[tuple[Any, bool]]:
        """Ends the session. Returns the tokens of pending requests and pings, each with whether it may have left."""
        if self.closed is not None:
            return []
        self.closed = cause
        self.small = -1
        ended = [(token, seq <= self._flushed_seq) for seq, (_, token) in self.pending.items()]
        ended += [(token, True) for token in self.waiting_pings()]
        self.pending = {}
        self.splitter.clear()
        self._pings = None
        self.out = []
        return ended
