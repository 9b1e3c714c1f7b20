"""Bounds how many messages are under way at a time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import CallTimeout
from arpc.middleware import Layer, Next, Target
from arpc.options import is_time

from .refusing import check_count, refused
from .slots import Slots

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["ConcurrencyLimit"]


class ConcurrencyLimit(Layer):
    """At most ``limit`` messages (1 or more) at a time: of each method, of each peer, or (``"server"``) of all that
    pass this object, whatever endpoints share it. Around what goes out it bounds what this side has under way.

    Up to ``queue`` more wait in order, each at most ``wait`` seconds (None: as long as its caller does). What is beyond
    is refused with the code ``overloaded`` and, once that can be estimated, ``retry_after``. A message keeps its slot
    until its handler has ended, a stream until its end.

    A handler keeps its slot while it calls back: where that leads to this very limit again, it may wait for itself. Its
    deadline ends that, or ``wait``.
    """

    def __init__(
        self,
        limit: int,
        *,
        per: Literal["method", "peer", "server"] = "method",
        queue: int = 0,
        wait: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        check_count("limit", limit, 1)
        check_count("queue", queue, 0)
        if per not in ("method", "peer", "server"):
            raise ValueError(f'per is "method", "peer" or "server", not {per!r}')
        if wait is not None and not is_time(wait):
            raise ValueError(f"wait is seconds above 0, or None, not {wait!r}")
        if wait is not None and not queue:
            raise ValueError("wait= says how long a message may stand in the queue: give queue=, too")
        self.limit = limit
        self.per = per
        self.queue = queue
        self.wait = wait
        self._clock = clock
        self._all = Slots(limit, clock)
        self._methods: WeakValueDictionary[str, Slots] = WeakValueDictionary()
        """Kept alive by the chains of their methods, and by what runs in them."""
        self._peers: dict[Peer, Slots] = {}
        """Only of those who have something under way."""

    def wrap(self, call_next: Next, target: Target) -> Next:
        if self.per == "peer":
            return self._for_each_peer(call_next)
        if self.per == "server":
            slots, scope = self._all, "in all"
        else:
            slots, scope = self._methods.setdefault(target.method, Slots(self.limit, self._clock)), "of its method"

        async def limited(ctx: Context) -> Any:
            if not slots.take():
                await self._wait(slots, ctx, scope)
            try:
                return await call_next(ctx)
            finally:
                slots.free()

        return limited

    def _for_each_peer(self, call_next: Next) -> Next:
        peers = self._peers

        async def limited(ctx: Context) -> Any:
            peer = ctx.peer
            slots = peers.get(peer)
            if slots is None:
                slots = peers[peer] = Slots(self.limit, self._clock)
            try:
                if not slots.take():
                    await self._wait(slots, ctx, "to this peer" if ctx.outgoing else "of this peer")
                try:
                    return await call_next(ctx)
                finally:
                    slots.free()
            finally:
                if not slots.taken and peers.get(peer) is slots:
                    del peers[peer]

        return limited

    async def _wait(self, slots: Slots, ctx: Context, scope: str) -> None:
        """Returns with a slot, or raises."""
        if slots.waiting >= self.queue:
            queued = f" and {slots.waiting} wait" if slots.waiting else ""
            raise self._refused(slots, ctx, f"{slots.taken} {scope} are under way{queued}")
        # A handler is cancelled at its deadline; nothing does that for what goes out.
        left = ctx.remaining() if ctx.outgoing else None
        hurried = left is not None and (self.wait is None or left < self.wait)
        if await slots.wait(left if hurried else self.wait):
            return
        if hurried:
            raise CallTimeout(f"{ctx.method} waited until its timeout: {self.limit} {scope} were under way")
        raise self._refused(slots, ctx, f"none of {self.limit} {scope} ended within {self.wait:g} s")

    def _refused(self, slots: Slots, ctx: Context, text: str) -> Exception:
        return refused(
            ctx,
            f"too many at a time, {ctx.method} was refused: {text}",
            Code.OVERLOADED,
            retry_after=slots.expected(),
            limit=self.limit,
            per=self.per,
        )
