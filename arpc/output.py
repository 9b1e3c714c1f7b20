"""What a session has to send: frames in order, until their owner takes them."""

from __future__ import annotations

from typing import Final

from .errors import ConnectionClosed, LimitExceeded
from .frame import LARGE
from .hello import BASE, Capabilities
from .hooks import Hooks
from .options import Options

SMALL: Final = 4096
"""Bytes up to which requests and answers are only counted, not measured."""

BATCH: Final = 512
"""Parts, two of most frames, that may be collected before the owner is asked again to send them."""


class Output:
    """The sending side of one connection."""

    __slots__ = (
        "_flushed_seq",
        "_last_seq",
        "_negotiating",
        "bulky",
        "closed",
        "held",
        "hooks",
        "options",
        "out",
        "remote",
        "send_limit",
        "small",
    )

    def __init__(self, hooks: Hooks, options: Options) -> None:
        self.hooks = hooks
        self.options = options
        self._negotiating = True
        self._last_seq = 0
        self._flushed_seq = 0
        self.small = min(SMALL, options.max_body)
        """Bodies up to this size need no look at the limits; below 0 after the end."""
        self.out: list[bytes] = []
        """Frames to send, in order, each in one to three parts; :meth:`take` hands them out."""
        self.held = 0
        """Bytes of those of them that were measured: see ``SMALL``."""
        self.bulky = False
        """Some of them are large; the owner sets it back when all are sent."""
        self.remote: Capabilities = BASE
        self.send_limit: int = options.max_body
        """The largest body that the other side takes: method, data and trailer together."""
        self.closed: BaseException | None = None

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

    def append(self, head: bytes, data: bytes = b"", trailer: bytes = b"") -> None:
        """One more frame, in up to three parts."""
        if self.closed is not None:
            return
        out = self.out
        self.held += len(data)
        out.append(head)
        if data:
            out.append(data)
            if len(data) > LARGE:
                self.bulky = True
        if trailer:
            out.append(trailer)
        parts = len(out)
        if parts < 5 or parts > BATCH or self.held > LARGE:
            self.hooks.on_output()

    def put(self, frame: bytes) -> None:
        """One more frame, in one part."""
        if self.closed is not None:
            return
        out = self.out
        self.held += len(frame)
        out.append(frame)
        if len(frame) > LARGE:
            self.bulky = True
        parts = len(out)
        if parts < 5 or parts > BATCH or self.held > LARGE:
            self.hooks.on_output()

    def tell(self, frame: bytes) -> None:
        """One more frame, of which nobody waits to hear that it cannot be sent."""
        self.append(frame)

    def check(self, length: int) -> None:
        """Raises for a body of ``length`` bytes that cannot be sent."""
        if self.closed is not None:
            raise ConnectionClosed("the connection has ended")
        if length > self.send_limit:
            raise self.too_large(length)

    def too_large(self, length: int) -> LimitExceeded:
        who = "this side sends" if self.remote.max_body is None else "the other side accepts"
        return LimitExceeded(
            f"a body of {length} bytes (method and metadata included): {who} at most {self.send_limit} (max_body)"
        )
