"""One notify to many peers: its body is encoded once, and its frame once for all whose coders make the same of it."""

# pyright: reportPrivateUsage=false
# Servers make peers: what of them is nobody else's business is theirs, and of what servers do for them.

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from .coded import CodedSession
from .connection import Connection
from .errors import ArpcError, ConnectionClosed, Overstock

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Broadcast", "Full", "Report"]

Full = Literal["drop", "wait", "close"]
"""What happens with a peer whose socket is full: see :meth:`Server.broadcast`."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a broadcast. That a peer has served it is never known: it is a notify."""

    sent: int
    """To so many peers."""
    missed: Mapping[Peer, ArpcError]
    """Those who did not get it, and why: Overstock (the socket was full, or nothing had come from there yet),
    ConnectionClosed, LimitExceeded, LocalProtocolError (metadata that it would not see), EncodeError of a coder."""


class Broadcast:
    """One message on its way to many."""

    def __init__(self, method: bytes, data: bytes, metadata: Mapping[str, Any] | None, full: Full) -> None:
        self._method = method
        self._data = data
        self._metadata = metadata
        self._full = full
        self._frames: dict[tuple[tuple[str, ...], bool, frozenset[str] | None], tuple[bytes, int, bytes]] = {}
        """What goes out, the length of its body before coders and its trailer, by what differs between peers."""
        self._sent = 0
        self._missed: dict[Peer, ArpcError] = {}

    async def send(self, peers: Iterable[Peer]) -> Report:
        """Sends to those who have room, then waits for the others where that is wanted, for all at the same time."""
        slow = [peer for peer in peers if not self._sent_at_once(peer)]
        if slow:
            async with asyncio.TaskGroup() as tasks:
                for peer in slow:
                    tasks.create_task(self._send_later(peer))
        return Report(self._sent, MappingProxyType(self._missed))

    def _sent_at_once(self, peer: Peer) -> bool:
        """Whether nothing is left to do for this peer."""
        connection = peer._connection
        try:
            if connection.blocked:
                connection.check_welcome()
                if not connection.writable:
                    if self._full == "wait":
                        return False
                    raise self._refused(connection)
            self._send(connection)
        except ArpcError as error:
            self._missed[peer] = error
        return True

    async def _send_later(self, peer: Peer) -> None:
        connection = peer._connection
        try:
            gated = await connection.notice(len(self._data))
            try:
                self._send(connection)
            finally:
                if gated:
                    connection.passed()
        except ArpcError as error:
            self._missed[peer] = error

    def _refused(self, connection: Connection) -> ArpcError:
        address = connection.peer.address
        if not connection.session.ready:
            connection.endpoint.decide_soon(connection)
            return Overstock(f"{address} has not sent anything yet, so it is not decided how to speak to it")
        if self._full == "drop":
            return Overstock(f"the socket to {address} is full")
        error = ConnectionClosed(f"the socket to {address} is full: it is too slow for what is broadcast")
        connection.abort(error)
        return error

    def _send(self, connection: Connection) -> None:
        session = connection.session
        carries = session.carries if isinstance(session, CodedSession) else None
        key = session.shared, session.meta, carries
        made = self._frames.get(key)
        if made is None:
            trailer = connection.trailer(self._metadata, None)
            length = len(self._method) + len(self._data) + len(trailer)
            session.check(length)
            made = self._frames[key] = session.prepare(self._method, self._data, trailer), length, trailer
        session.send_prepared(*made)
        self._sent += 1
