"""Lets what runs end before a server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from arpc.codes import Code
from arpc.context import Context
from arpc.hello import Capability
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time

from .refusing import refused

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["Graceful", "Stoppable"]


class Stoppable(Protocol):
    """A server, as far as a shutdown needs to know it."""

    @property
    def peers(self) -> Iterable[Peer]: ...

    async def stop(self) -> None: ...


class Graceful(Layer):
    """``await graceful.shutdown(server)``: handlers that run go on to their end, nothing new is begun, then the server
    is stopped. It counts what is inside of it, so it stands outermost; servers that end together may share it.

    New calls and streams are answered ``message`` with the code ``unavailable``: not executed, safe to retry. Notifies
    are dropped and counted. Let in are calls from peers that know of the shutdown (GOAWAY) while a call of ours to them
    waits: the handlers that serve it may need them.
    """

    outgoing = False

    def __init__(self, message: str = "shutting down") -> None:
        if not message:
            raise ValueError("message is what callers are told, and cannot be empty")
        self.message = message
        self.running = 0
        """Handlers that have not ended, of calls, notifies and streams."""
        self.draining = False
        """Nothing new is begun."""
        self.refused = 0
        """Messages that came too late."""
        self._stands = False
        self._idle = asyncio.Event()
        self._told: WeakSet[Peer] = WeakSet()
        self._shutdowns: dict[Stoppable, asyncio.Task[bool]] = {}

    def wrap(self, call_next: Next, target: Target) -> Next:
        self._stands = True

        async def counted(ctx: Context) -> Any:
            if self.draining and not _may_be_needed(ctx.peer):
                raise self._refusal(ctx)
            self.running += 1
            try:
                return await call_next(ctx)
            finally:
                self.running -= 1
                if self.draining and not self.running:
                    self._idle.set()

        return counted

    def _refusal(self, ctx: Context) -> Exception:
        self.refused += 1
        self._tell(ctx.peer)  # it may have connected since the others were told
        return refused(ctx, self.message, Code.UNAVAILABLE)

    def _tell(self, peer: Peer) -> None:
        if peer not in self._told:
            self._told.add(peer)
            peer.go_away(self.message)

    async def drain(self, *, timeout: float | None = 30.0) -> bool:
        """Begins nothing new from now on, and returns when nothing runs any more: True. False after ``timeout`` seconds
        (None: never), while something still does.
        """
        _check_timeout(timeout)
        self.draining = True
        try:
            async with asyncio.timeout(timeout):
                await self._refuse_the_rest()
                while self.running:
                    self._idle.clear()
                    await self._idle.wait()
                    await self._refuse_the_rest()
        except TimeoutError:
            pass
        return not self.running

    async def _refuse_the_rest(self) -> None:
        """What had come before waits for its answer, too: there is more of it as long as some of it is refused."""
        before = -1
        while before != self.refused:
            before = self.refused
            await asyncio.sleep(0)

    async def shutdown(self, server: Stoppable, *, timeout: float | None = 30.0) -> bool:
        """Tells the peers of ``server`` (GOAWAY), drains, and stops it; returns whether all handlers ended by
        themselves. Those that run after ``timeout`` seconds (None: never) are cancelled.

        Called again for the same server it waits for the same end. It goes on when who waits for it is cancelled. A
        handler that is counted here must not await it, or it waits for itself: it makes a task of it. RuntimeError
        where this stands around nothing.
        """
        _check_timeout(timeout)
        if not self._stands:
            raise RuntimeError(
                "Graceful stands around no handler, and knows of none: serve(..., middleware=[graceful])"
            )
        shutdown = self._shutdowns.get(server)
        if shutdown is None:
            shutdown = self._shutdowns[server] = asyncio.create_task(self._shut_down(server, timeout))
        return await asyncio.shield(shutdown)

    async def _shut_down(self, server: Stoppable, timeout: float | None) -> bool:
        self.draining = True
        for peer in server.peers:
            self._tell(peer)
        ended = await self.drain(timeout=timeout)
        await server.stop()
        return ended


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not is_time(timeout):
        raise ValueError(f"timeout is seconds above 0, or None, not {timeout!r}")


def _may_be_needed(peer: Peer) -> bool:
    return Capability.GOAWAY in peer.remote_capabilities.flags and peer.stats.pending > 0
