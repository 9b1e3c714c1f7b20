"""Finds what stands still: a frame that begins and does not grow, a socket that is never read, an end unseen."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from .errors import ConnectionClosed, RemoteProtocolError
from .options import KIB, Options
from .transport import End, seen_end

if TYPE_CHECKING:
    from .connection import Connection

PROGRESS = 4 * KIB


class Stalls:
    """Watches the connections of one endpoint with one timer, which runs only while one may be standing still."""

    __slots__ = ("_blind", "_loop", "_options", "_reading", "_timer", "_writing")

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Options) -> None:
        self._loop = loop
        self._options = options
        self._timer: asyncio.TimerHandle | None = None
        self._reading: dict[Connection, tuple[float, int, int]] = {}
        """Since when a frame has grown by less than PROGRESS, its bytes then, its bytes now."""
        self._writing: dict[Connection, tuple[float, int]] = {}
        """Since when nothing has been read from a full socket, and what waited for it then."""
        self._blind: dict[Connection, float] = {}
        """Those whose reading is paused, and since when their end has been seen; 0 if it has not."""

    def reading(self, connection: Connection, unfinished: int, arrived: int) -> None:
        """``arrived`` bytes came, and ``unfinished`` bytes wait for the rest of their frame."""
        if not unfinished:
            self._reading.pop(connection, None)
            return
        mark = self._reading.get(connection)
        same_frame = mark is not None and unfinished == mark[2] + arrived
        if mark is not None and same_frame and unfinished - mark[1] < PROGRESS:
            self._reading[connection] = (mark[0], mark[1], unfinished)
        else:
            self._reading[connection] = (monotonic(), unfinished, unfinished)
            self._watch()

    def writing(self, connection: Connection) -> None:
        """The socket is full."""
        self._writing[connection] = (monotonic(), connection.unwritten)
        self._watch()

    def written(self, connection: Connection) -> None:
        """The socket takes bytes again."""
        self._writing.pop(connection, None)

    def blind(self, connection: Connection) -> None:
        """Reading is paused."""
        self._blind[connection] = 0
        self._watch()

    def sees(self, connection: Connection) -> None:
        """Reading goes on."""
        self._blind.pop(connection, None)
        mark = self._reading.get(connection)
        if mark is not None:  # it could not go on meanwhile
            self._reading[connection] = (monotonic(), mark[2], mark[2])

    def forget(self, connection: Connection) -> None:
        self._blind.pop(connection, None)
        self._reading.pop(connection, None)
        self._writing.pop(connection, None)

    def _watch(self) -> None:
        if self._timer is None:
            period = min(self._options.stall_timeout, self._options.send_timeout, 4.0) / 4
            self._timer = self._loop.call_later(period, self._look)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        limit = self._options.stall_timeout
        for connection, (since, _, size) in list(self._reading.items()):
            if now - since > limit and not connection.reading_paused:
                connection.close(
                    RemoteProtocolError(f"a frame stood still for {limit:g} s after {size} bytes (stall_timeout)")
                )
        limit = self._options.send_timeout
        for connection, (since, waited) in list(self._writing.items()):
            waits = connection.unwritten
            if waits < waited:
                self._writing[connection] = (now, waits)
            elif now - since > limit:
                connection.abort(RemoteProtocolError(f"the other side has read nothing for {limit:g} s (send_timeout)"))
        for connection, since in list(self._blind.items()):
            end = End.NONE if connection.transport is None else seen_end(connection.transport)
            if end is End.GONE or (since and now - since > self._options.notify_grace):
                connection.abort(ConnectionClosed("the other side closed the connection"))
            elif end is End.CLOSED and not since:
                self._blind[connection] = now  # what it had sent is read when what waits here has been served
        if self._reading or self._writing or self._blind:
            self._watch()
