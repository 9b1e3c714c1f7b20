"""Pings, and the Hello that travels in the first of them (PROTOCOL part 2): how a connection is to be spoken."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from .errors import RemoteProtocolError
from .frame import CANCEL, CREDIT, GOAWAY, PING, PONG, RESERVED_META, RESET, Splitter, encode, known_commands
from .hello import MAX_CREDIT, Capabilities, Capability, Offer, decode_hello, decode_offers, encode_hello
from .hooks import Hooks, Message
from .options import Options
from .output import SMALL, Output

NONE: Final = Capability(0)

_COMMANDS: Final = (
    (Capability.CANCEL, (CANCEL, RESET)),
    (Capability.CREDIT, (CREDIT,)),
    (Capability.GOAWAY, (GOAWAY,)),
)
_HELLO: Final = object()
_GONE: Final = object()
_EMPTY_PONG: Final = encode(PONG, 0, 0)


class Handshake(Output):
    """Decides what is used on a connection: before that nothing but the Hello is sent."""

    __slots__ = (
        "_pings",
        "can_cancel",
        "capabilities",
        "credits",
        "dropped",
        "empties",
        "extras",
        "initiator",
        "late",
        "meta",
        "splitter",
    )

    def __init__(self, hooks: Hooks, options: Options) -> None:
        super().__init__(hooks, options)
        self.splitter = Splitter(options.max_body)
        self.initiator = False
        """This side has dialled: it says Hello, and decides by the Pong."""
        self._pings: deque[Any] | None = None
        self.capabilities = NONE
        """What is used; the flags below say the same, since an enum is slow to ask."""
        self.meta = self.can_cancel = self.credits = self.empties = False
        self.extras: int = 0
        """Reserved bits of frames that carry something beside their data."""
        self.late = False
        """The answer to this side's Hello came after ``hello_timeout``."""
        self.dropped: int = 0
        """Frames for nobody: late or duplicate answers and pongs, notifies to nothing, items of streams that ended."""

    @property
    def ready(self) -> bool:
        """Whether it is decided how this connection is spoken; until then nothing but the Hello may be sent."""
        return not self._negotiating

    def dial(self) -> bytes:
        """The dialling side's first bytes; without extensions there are none and the session is ready."""
        if not self.options.extensions:
            self.settle()
            return b""
        self.initiator = True
        if self.options.metadata_appender:
            self.extras = RESERVED_META  # a Go peer may send before it answers
        self._pings = deque((_HELLO,))
        return encode(PING, 0, 0, data=self._hello(self.options.capabilities))

    def settle(self) -> None:
        """Stops waiting for a Hello or its Pong: the base protocol, for good."""
        if self._negotiating:
            self._use(Capability.META if self.options.metadata_appender else NONE)

    def _use(self, capabilities: Capability) -> None:
        self.capabilities = capabilities
        self.meta = Capability.META in capabilities
        self.extras = RESERVED_META if self.meta else 0
        self.can_cancel = Capability.CANCEL in capabilities
        self.credits = Capability.CREDIT in capabilities
        self.empties = Capability.EMPTY in capabilities
        self.splitter.commands = known_commands(
            tuple(command for flag, commands in _COMMANDS if flag in capabilities for command in commands)
        )
        self._negotiating = False
        self.hooks.on_ready()

    def _hello(self, flags: Capability) -> bytes:
        options = self.options
        return encode_hello(flags, options.stream_window, options.max_body, options.max_streams, self._offers())

    def _offers(self) -> Sequence[Offer]:
        """The coders that this side has registered."""
        return ()

    def _adopt(self, remote: Capabilities, data: bytes) -> None:
        capabilities = remote.flags & self.options.capabilities
        if Capability.CREDIT in capabilities and (remote.stream_window or 0) > MAX_CREDIT:
            raise RemoteProtocolError(f"the Hello announces a window of {remote.stream_window}: over {MAX_CREDIT}")
        self.remote = remote
        try:
            self._agree(decode_offers(data))
        except RemoteProtocolError:
            self._negotiating = False  # the Pong is sent all the same: from it the other side learns what is wrong
            raise
        if remote.max_body is not None:
            self.send_limit = remote.max_body
            self.small = min(SMALL, remote.max_body)
        self._use(capabilities)

    def _agree(self, offers: Sequence[Offer]) -> None:
        """The other side has these coders. Raises where the two sides cannot speak with each other."""
        for offer in offers:
            if offer.required:
                raise lacking(offer.name)

    # --- pings

    def ping(self, token: Any) -> None:
        """Sends a ping; pongs carry no number and answer pings in order."""
        if self._pings is None:
            self._pings = deque()
        self._pings.append(token)
        self.append(encode(PING, 0, 0))

    def forget_ping(self, token: Any) -> None:
        """Nobody waits for this ping's pong any more; it keeps its place, since pongs carry no number."""
        if self._pings is not None and token in self._pings:
            self._pings[self._pings.index(token)] = _GONE

    def waiting_pings(self) -> list[Any]:
        """The tokens of pings whose pongs have not come."""
        return [token for token in self._pings or () if token is not _HELLO and token is not _GONE]

    # --- receiving

    def _decide(self, first: Message) -> None:
        """The acceptor decides at its first frame, unless that is a Hello; the dialler waits for its Pong."""
        if not self.initiator and (first[0] != PING or self._hello_of(first[5]) is None):
            self.settle()

    def _hello_of(self, data: bytes) -> Capabilities | None:
        return decode_hello(data) if self.options.extensions else None

    def _on_ping(self, data: bytes) -> None:
        hello = self._hello_of(data)
        if hello is None:
            self.append(_EMPTY_PONG)
            return
        adopt = self._negotiating and not self.initiator
        # The Pong enters the queue before anything that on_ready() may cause to be sent.
        self.append(encode(PONG, 0, 0, data=self._hello(self.options.capabilities if adopt else NONE)))
        if adopt:
            self._adopt(hello, data)

    def _on_pong(self, data: bytes) -> None:
        if not self._pings:
            self.dropped += 1
            return
        token = self._pings.popleft()
        if token is not _HELLO:
            if token is not _GONE:
                self.hooks.on_pong(token)
        elif self._negotiating:
            hello = decode_hello(data)
            if hello is None:
                self.settle()
            else:
                self._adopt(hello, data)
        elif decode_hello(data) is not None:
            # The base protocol is used for good. But the other side does not know: it sends what it may, and on streams
            # it would wait for credit.
            self.late = True
            self.extras |= RESERVED_META


def lacking(name: str) -> RemoteProtocolError:
    """The error of a coder that the other side requires."""
    return RemoteProtocolError(f"the other side requires the coder {name!r}: register it here, too, in coders=[...]")
