"""The protocol machine of one connection: bytes in, calls to hooks out, bytes to send collected. No I/O, no asyncio.

One class serves both sides; only who dialled differs, for the Hello. Pending calls and pings are opaque tokens here.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any, Final

from .answers import take_answers
from .errors import ConnectionClosed, DuplicateRequest, LimitExceeded
from .frame import (
    FLAG_ASYNC,
    FLAG_ERROR,
    HEADER,
    LARGE,
    MAX_METHOD,
    NOTIFY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    STREAM_EOF,
    STREAM_LOCAL,
    Frame,
    Splitter,
    encode,
)
from .hello import BASE, Capabilities, Capability, decode_hello, encode_hello
from .hooks import Hooks
from .options import Options

_next_seq = count(1).__next__
"""One counter for the process, never restarted: a Go peer may answer an old connection's request on a new one."""

NONE: Final = Capability(0)
OFFERED: Final = NONE
"""The extensions that this implementation switches on when the other side has them, too."""

_HELLO: Final = object()
_GONE: Final = object()
_REMEMBERED: Final = 1024

SMALL: Final = 4096
"""Bytes up to which requests and answers are only counted, not measured."""

BATCH: Final = 512
"""Parts, two of most frames, that may be collected before the owner is asked again to send them."""

_EMPTY_PONG: Final = encode(PONG, 0, 0)
_pack = HEADER.pack


class Session:
    """One connection's state. After :attr:`closed` is set nothing goes in or out."""

    __slots__ = (
        "_flushed_seq",
        "_hooks",
        "_last_seq",
        "_negotiating",
        "_options",
        "_pings",
        "_refused",
        "_small",
        "bulky",
        "capabilities",
        "closed",
        "dropped",
        "held",
        "initiator",
        "out",
        "pending",
        "remote",
        "send_limit",
        "serving",
        "splitter",
    )

    def __init__(self, hooks: Hooks, options: Options) -> None:
        self._hooks = hooks
        self._options = options
        self.splitter = Splitter(options.max_body)
        self._negotiating = True
        self.initiator = False
        """This side has dialled: it says Hello, and decides by the Pong."""
        self._pings: deque[Any] | None = None
        self._refused: dict[int, None] | None = None
        self._last_seq = 0
        self._flushed_seq = 0
        self.out: list[bytes] = []
        """Frames to send, in order, each in one or two parts; :meth:`take` hands them out."""
        self.held = 0
        """Bytes of those of them that were measured: see ``SMALL``."""
        self.bulky = False
        """Some of them are large; the owner sets it back when all are sent."""
        self.pending: dict[int, tuple[bytes, Any]] = {}
        """Requests that wait for their answer: seq to method and token."""
        self.serving: dict[int, Any] | None = None
        """Requests of the other side whose handlers are suspended: seq to handler. None when there is none."""
        self.remote: Capabilities = BASE
        self.capabilities = NONE
        self.send_limit = options.max_body
        self._small = min(SMALL, options.max_body)
        self.dropped = 0
        """Frames that were for nobody: late or duplicate responses and pongs, notifies to nothing, stream frames."""
        self.closed: BaseException | None = None

    # --- the Hello

    @property
    def ready(self) -> bool:
        """Whether it is decided how this connection is spoken; until then nothing but the Hello may be sent."""
        return not self._negotiating

    def dial(self) -> bytes:
        """The dialling side's first bytes; without extensions there are none and the session is ready."""
        if not self._options.extensions:
            self.settle()
            return b""
        self.initiator = True
        self._pings = deque((_HELLO,))
        return encode(PING, 0, 0, data=self._hello(OFFERED))

    def settle(self) -> None:
        """Stops waiting for a Hello or its Pong: the base protocol, for good."""
        if self._negotiating:
            self._negotiating = False
            self._hooks.on_ready()

    def _hello(self, flags: Capability) -> bytes:
        options = self._options
        return encode_hello(flags, options.stream_window, options.max_body, options.max_streams)

    def _adopt(self, remote: Capabilities) -> None:
        self.remote = remote
        self.capabilities = remote.flags & OFFERED
        if remote.max_body is not None:
            self.send_limit = remote.max_body
            self._small = min(SMALL, remote.max_body)
        self.settle()

    # --- sending

    def request(self, method: bytes, data: bytes, token: Any, flag: int = 0) -> int:
        """Sends a request and returns its sequence number; its answer comes with ``token``."""
        size = len(method)
        length = size + len(data)
        if length > self._small:
            self._check(length)
        self._last_seq = seq = _next_seq()
        self.pending[seq] = (method, token)
        head = _pack(length, 0, REQUEST, flag, size, seq) + method
        out = self.out
        if length > SMALL or len(out) > BATCH:
            self._send(head, data)
        else:
            out.append(head)
            out.append(data)
            if len(out) < 5:
                self._hooks.on_output()
        return seq

    def notify(self, method: bytes, data: bytes, flag: int = FLAG_ASYNC) -> None:
        """Sends a notify."""
        size = len(method)
        length = size + len(data)
        if length > self._small:
            self._check(length)
        self._last_seq = seq = _next_seq()
        self._send(_pack(length, 0, NOTIFY, flag, size, seq) + method, data)

    def respond(self, request: Frame, data: bytes) -> None:
        """Answers a request: method, sequence number and async flag are echoed (PROTOCOL part 1).

        An answer that is too large for the other side becomes an error answer. After the end nothing is sent.
        """
        _, asked, _, seq, method, _ = request
        size = len(method)
        length = size + len(data)
        head = _pack(length, 0, RESPONSE, asked & FLAG_ASYNC, size, seq) + method
        if length > self._small:
            if self.closed is not None:
                return
            if length > self.send_limit:
                self.respond_error(request, f"the answer is too large: {self._too_large(length)}")
            else:
                self._send(head, data)
            return
        out = self.out
        out.append(head)
        out.append(data)
        if len(out) < 5:
            self._hooks.on_output()

    def respond_error(self, request: Frame, text: str) -> None:
        """Answers a request with an error; a text that is too long for the other side is cut."""
        _, asked, _, seq, method, _ = request
        method = method[:MAX_METHOD]
        room = max(self.send_limit - len(method), 0)
        if self.closed is None:
            data = text.encode("utf-8", "replace")[:room]
            self._send(encode(RESPONSE, FLAG_ERROR | asked & FLAG_ASYNC, seq, method, data))

    def ping(self, token: Any) -> None:
        """Sends a ping; pongs carry no number and answer pings in order."""
        if self._pings is None:
            self._pings = deque()
        self._pings.append(token)
        self._send(encode(PING, 0, 0))

    def forget_ping(self, token: Any) -> None:
        """Nobody waits for this ping's pong any more; it keeps its place, since pongs carry no number."""
        if self._pings is not None and token in self._pings:
            self._pings[self._pings.index(token)] = _GONE

    def forget(self, seq: int) -> None:
        """Drops a pending request, whose answer is now for nobody."""
        self.pending.pop(seq, None)

    def take(self) -> list[bytes]:
        """Hands out what there is to send, in order: nothing while the Hello is under way."""
        if self._negotiating:
            return []
        out, self.out = self.out, []
        self.held = 0
        self._flushed_seq = self._last_seq
        return out

    def put_back(self, rest: list[bytes]) -> None:
        """Takes back what could not be sent yet of what :meth:`take` has handed out."""
        self.out[:0] = rest

    def _send(self, head: bytes, data: bytes = b"") -> None:
        if self.closed is not None:
            return
        out = self.out
        self.held += len(data)
        out.append(head)
        if data:
            out.append(data)
            if len(data) > LARGE:
                self.bulky = True
        parts = len(out)
        if parts < 5 or parts > BATCH or self.held > LARGE:
            self._hooks.on_output()

    def _check(self, length: int) -> None:
        if self.closed is not None:
            raise ConnectionClosed("the connection has ended")
        if length > self.send_limit:
            raise self._too_large(length)

    def _too_large(self, length: int) -> LimitExceeded:
        who = "this side sends" if self.remote.max_body is None else "the other side accepts"
        return LimitExceeded(f"a body of {length} bytes (method included): {who} at most {self.send_limit} (max_body)")

    # --- receiving

    @property
    def waits(self) -> bool:
        """Somebody waits for an answer to what was sent."""
        if self.pending or (self._negotiating and self.initiator):
            return True
        return any(token is not _HELLO and token is not _GONE for token in self._pings or ())

    def receive(self, data: bytes) -> None:
        """Takes bytes in, in any chunks. :class:`RemoteProtocolError` asks the owner to close the connection."""
        if self.closed is not None:
            return
        splitter = self.splitter
        if self.pending and splitter.idle and not self._negotiating:
            at, dropped = take_answers(data, splitter.limit, self.pending, self._hooks.resolve)
            self.dropped += dropped
            if at:
                data = data[at:]
                if not data:
                    return
        frames = splitter.feed(data)
        if self._negotiating and frames:
            self._decide(frames[0])
        messages: list[Frame] = []
        pending = self.pending
        resolve = self._hooks.resolve
        try:
            for frame in frames:
                command, flag, _, seq, method, body = frame
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
                            self._hooks.on_messages(messages)
                            messages = []
                        if flag & FLAG_ERROR:
                            self._hooks.on_error(entry[1], body)
                        else:
                            try:
                                resolve(entry[1], body)
                            except Exception:  # whatever its owner's tokens raise: nobody waits any more
                                self.dropped += 1
                elif command == NOTIFY:
                    messages.append(frame)
                elif command == PING:
                    self._on_ping(body)
                elif command == PONG:
                    self._on_pong(body)
                else:
                    self._refuse_stream(frame)
        finally:
            if messages:
                self._hooks.on_messages(messages)
        if splitter.error is not None:
            raise splitter.error

    def _decide(self, first: Frame) -> None:
        """The acceptor decides at its first frame, unless that is a Hello; the dialler waits for its Pong."""
        if not self.initiator and (first[0] != PING or self._hello_of(first[5]) is None):
            self.settle()

    def _hello_of(self, data: bytes) -> Capabilities | None:
        return decode_hello(data) if self._options.extensions else None

    def _on_ping(self, data: bytes) -> None:
        hello = self._hello_of(data)
        if hello is None:
            self._send(_EMPTY_PONG)
            return
        adopt = self._negotiating and not self.initiator
        # The Pong enters the queue before anything that on_ready() may cause to be sent.
        self._send(encode(PONG, 0, 0, data=self._hello(OFFERED if adopt else NONE)))
        if adopt:
            self._adopt(hello)

    def _on_pong(self, data: bytes) -> None:
        if not self._pings:
            self.dropped += 1
            return
        token = self._pings.popleft()
        if token is not _HELLO:
            if token is not _GONE:
                self._hooks.on_pong(token)
        elif self._negotiating:
            self._adopt(decode_hello(data) or BASE)

    def _refuse_stream(self, frame: Frame) -> None:
        """Ends a stream that the other side opens here with an EOF, as PROTOCOL part 1 has it for a peer like Go."""
        command, _, _, seq, method, _ = frame
        if not command & STREAM_LOCAL or not 0 < len(method) <= MAX_METHOD:
            self.dropped += 1
            return
        refused = self._refused
        if refused is None:
            refused = self._refused = {}
        if seq not in refused:
            if len(refused) >= _REMEMBERED:
                del refused[next(iter(refused))]
            refused[seq] = None
            self._send(encode(STREAM | STREAM_EOF, 0, seq, method))

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
        self._small = -1
        ended = [(token, seq <= self._flushed_seq) for seq, (_, token) in self.pending.items()]
        ended += [(token, True) for token in self._pings or () if token is not _HELLO and token is not _GONE]
        self.pending = {}
        self.splitter.clear()
        self._pings = None
        self.out = []
        return ended
