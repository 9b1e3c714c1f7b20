"""The sending half of a stream: items go in order, as the other side and the socket have room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .bodies import encode_body
from .codecs import Codec
from .errors import CallTimeout, ConnectionClosed, EncodeError, LocalProtocolError, Overstock
from .receiving import Receiving, again
from .wheel import EXPIRED, Slot

if TYPE_CHECKING:
    from .connection import Connection

R = TypeVar("R")
S = TypeVar("S")


class Sending(Receiving[R], Generic[R, S]):
    """What goes out on a stream, beside what comes in."""

    __slots__ = ("_codec", "_credited", "_senders", "_sends", "_slot", "_takes_bytes", "_turn")

    def __init__(
        self,
        connection: Connection,
        decode: Callable[[bytes], R] | None,
        sends: tuple[type, ...] | None,
        codec: Codec,
    ) -> None:
        super().__init__(connection, decode)
        self._codec = codec
        self._sends = sends
        """What an item must be one of, if that can be checked."""
        self._takes_bytes = sends is None or bytes in sends
        self._turn: asyncio.Lock | None = None
        """Held by the one that sends next, while somebody waits to send."""
        self._senders = 0
        """Those who wait to send."""
        self._credited: asyncio.Future[None] | None = None
        self._slot: Slot | None = None
        """What to expire when the stream ends while a sender waits for the socket."""

    async def send(self, item: S) -> None:
        """Sends an item. Waits while the other side has no room for it, or the socket is full; items go in order.

        Raises StreamReset when the other side has left the stream or ended it by an error; LocalProtocolError after
        :meth:`end`, and for an empty item to a peer that cannot see it; ConnectionClosed; CallTimeout for the stream's
        own timeout; EncodeError; LimitExceeded; LoopError. What is cancelled while it waits was not sent.
        """
        data: Any = item if item.__class__ is bytes and self._takes_bytes else self._encoded(item)
        connection = self._connection
        flow = self._flow
        endpoint = connection.endpoint
        if endpoint.thread != get_ident() or not endpoint.loop.is_running():
            raise endpoint.misused()
        if self._senders or flow.credit <= 0 or not flow.sending or connection.blocked:
            await self._send_in_turn(data)
        else:
            self._active = True
            self._flows.send(flow, data)

    def try_send(self, item: S) -> None:
        """As :meth:`send`, without ever waiting: raises :class:`~arpc.Overstock` where that would have to wait."""
        data = self._encoded(item)
        self._connection.endpoint.check()
        self._check_sending()
        if self._senders or self._flow.credit <= 0:
            raise Overstock(f"the other side has no room for another item of {self.method}: it was not sent")
        if self._connection.blocked and not self._connection.writable:
            raise Overstock(
                f"the socket to {self._connection.peer.address} is full: an item of {self.method} was not sent"
            )
        self._active = True
        self._flows.send(self._flow, data)

    async def end(self) -> None:
        """Ends this side's half, after what waits to be sent: the other side gets all items, then no more.

        The other half goes on. Once is enough; after the stream has ended it does nothing.
        """
        self._connection.endpoint.check()
        if self._turn is not None:
            async with self._turn:
                pass
        self._flows.end(self._flow)

    def _encoded(self, item: Any) -> bytes:
        if self._sends is not None and not isinstance(item, self._sends):
            wanted = " or ".join(kind.__name__ for kind in self._sends)
            raise EncodeError(f"{self.method} sends {wanted}, not {type(item).__name__}")
        data: bytes = item if item.__class__ is bytes else encode_body(self._codec, item)
        return data

    def _check_sending(self) -> None:
        if self._flow.sending:
            return
        if self._left:
            raise LocalProtocolError(f"the stream {self.method} was left by this side: nothing can be sent any more")
        if self._error is not None:
            raise again(self._error)
        raise LocalProtocolError(f"this side's half of {self.method} was ended: nothing can be sent after end()")

    async def _send_in_turn(self, data: bytes) -> None:
        self._check_sending()
        if self._turn is None:
            self._turn = asyncio.Lock()
        self._senders += 1
        try:
            async with self._turn:
                await self._credit()
                gated = self._connection.blocked and await self._clearance(len(data))
                try:
                    self._check_sending()
                    self._active = True
                    self._flows.send(self._flow, data)
                finally:
                    if gated:
                        self._connection.passed()
        finally:
            self._senders -= 1
            if not self._senders:
                self._turn = None

    async def _credit(self) -> None:
        """Returns when the other side has room; raises when nothing can be sent any more."""
        while self._flow.credit <= 0 and self._flow.sending:
            self._connection.stream_waits(1)
            self._credited = self._connection.endpoint.loop.create_future()
            lender = self._lend()
            try:
                await self._credited
            finally:
                self._credited = None
                self._connection.stream_waits(-1)
                if lender is not None:
                    await lender.take_back()
        self._check_sending()

    async def _clearance(self, size: int) -> bool:
        """Returns when the socket has room; what ends the stream ends this, too."""
        self._slot = Slot()
        try:
            return await self._connection.clearance(size, self._slot)
        except (CallTimeout, ConnectionClosed):
            self._check_sending()
            raise
        finally:
            self._slot = None

    def on_credit(self) -> None:
        if self._credited is not None and not self._credited.done():
            self._credited.set_result(None)

    def _wake(self) -> None:
        """Whoever waits here looks again."""
        self._wake_readers()
        self.on_credit()
        if self._slot is not None:
            self._slot.over = True
            for waiter in list(self._slot):
                if not waiter.done():
                    waiter.set_result(EXPIRED)
