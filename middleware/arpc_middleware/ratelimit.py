"""Bounds how many messages pass in a time."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Hashable
from time import monotonic
from typing import Any, Literal
from weakref import ref

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import ArpcError
from arpc.middleware import Layer, Next, Target, refusal
from arpc.options import is_time

from .buckets import Buckets
from .refusing import refused

__all__ = ["RateLimit"]

log = logging.getLogger("arpc")


class _Queue:
    """Those who wait for tokens of one key; the one that has the lock sleeps until there is one."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class RateLimit(Layer):
    """``rate`` messages a second in the long run, ``burst`` at once (default: as many as in a second, or 1).

    ``per``: each peer, each method, or (``"server"``) all that pass this object have a token bucket of their own; or
    each key that a function finds in the context, such as ``lambda ctx: ctx.peer.identity.name``. A call, a notify and
    the opening of a stream take a token each.

    What finds no token waits for one in order, at most ``wait`` seconds and no longer than its caller; where that would
    not do, it is refused at once with the code ``resource_exhausted`` and the exact ``retry_after``.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float | None = None,
        per: Literal["peer", "method", "server"] | Callable[[Context], Hashable] = "peer",
        wait: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not is_time(rate):
            raise ValueError(f"rate is messages a second, above 0, not {rate!r}")
        burst = max(rate, 1.0) if burst is None else burst
        if not is_time(burst) or burst < 1:
            raise ValueError(f"burst is a number of messages, 1 or more, not {burst!r}")
        if wait != 0 and not is_time(wait):
            raise ValueError(f"wait is seconds, 0 or more, not {wait!r}")
        _check_per(per)
        self.rate = rate
        self.burst = burst
        self.per = per
        self.wait = wait
        self._buckets = Buckets(rate, burst, clock)
        self._queues: dict[Hashable, _Queue] = {}
        """Of keys for which somebody waits."""

    def wrap(self, call_next: Next, target: Target) -> Next:
        key_of = self._key_of(target.method)
        take, queues = self._buckets.take, self._queues

        def limited(ctx: Context) -> Coroutine[Any, Any, Any]:
            key = key_of(ctx)
            if (not queues or key not in queues) and not take(key):
                return call_next(ctx)
            return self._later(ctx, call_next, key)

        return limited

    def _key_of(self, method: str) -> Callable[[Context], Hashable]:
        if self.per == "peer":
            return lambda ctx: ref(ctx.peer)  # a bucket keeps no peer alive, and a new one is not taken for it
        if self.per == "method":
            return lambda ctx: method
        if self.per == "server":
            return lambda ctx: None
        return self._own_key

    def _own_key(self, ctx: Context) -> Hashable:
        assert callable(self.per)
        try:
            key = self.per(ctx)
            hash(key)
        except ArpcError:
            raise  # it refuses the message itself
        except Exception as error:
            log.exception("the key function of the RateLimit of %s failed", ctx.method)
            text = f"{ctx.method} was refused: the key function of its RateLimit failed"
            raise refusal(ctx, text, Code.INTERNAL) from error
        return key

    async def _later(self, ctx: Context, call_next: Next, key: Hashable) -> Any:
        queue = self._queues.get(key)
        delay = self._buckets.delay(key)
        if queue is not None:
            delay += queue.waiting * self._buckets.interval
        left = ctx.remaining()
        if delay > (self.wait if left is None else min(self.wait, left)):
            raise self._refused(ctx, delay)
        if queue is None:
            queue = self._queues[key] = _Queue()
        queue.waiting += 1
        try:
            async with queue.lock:
                delay = self._buckets.take(key)
                while delay:
                    await asyncio.sleep(delay)
                    delay = self._buckets.take(key)
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[key]
        return await call_next(ctx)

    def _refused(self, ctx: Context, delay: float) -> Exception:
        scopes = {"peer": "to this peer" if ctx.outgoing else "of this peer", "method": "of its method"}
        scope = "key" if callable(self.per) else self.per
        return refused(
            ctx,
            f"too many messages, {ctx.method} was refused: {self.rate:g} a second, and {self.burst:g} at once, are the"
            f" limit {scopes.get(scope, 'in all' if scope == 'server' else 'of its key')}",
            Code.RESOURCE_EXHAUSTED,
            retry_after=delay,
            limit=self.rate,
            burst=self.burst,
            per=scope,
        )


def _check_per(per: object) -> None:
    if callable(per):
        if inspect.iscoroutinefunction(per) or inspect.iscoroutinefunction(type(per).__call__):
            raise ValueError("per is called, not awaited: make the key function a plain def")
    elif per not in ("peer", "method", "server"):
        raise ValueError(f'per is "peer", "method", "server", or a function from a context to a key, not {per!r}')
