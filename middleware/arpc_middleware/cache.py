"""Answers again what was answered before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from time import monotonic
from typing import Any, cast
from weakref import ref

from arpc.context import Context
from arpc.errors import CallTimeout
from arpc.middleware import Encoded, Layer, Next, Target
from arpc.options import is_time

from .entries import Answer, CacheStats, Entries, Failure, Key, Outcome, failure_of
from .flights import Flight, Flights
from .matching import matching

__all__ = ["Cache"]

PATIENT = 1024
"""Handlers that may lend their slot while they wait for another's answer; further ones keep it."""


class Cache(Layer):
    """Keeps answers for ``ttl`` seconds (above 0), and gives them to whoever asks the same.

    The same is: the method, the body byte for byte, and what ``key`` returns for the context (anything hashable). By
    default that keeps apart what must be: around handlers the ``identity`` of the peer (and this endpoint from others),
    around what goes out the connection. ``key=lambda ctx: None`` lets all share. Metadata of a request do not count
    unless ``key`` says so; those of an answer are kept with it.

    ``methods``: names, or patterns such as ``"/get*"``, of methods that change nothing. At most ``max_entries`` answers
    are kept, and ``max_bytes`` of bodies, metadata and details of errors; the one not asked for longest goes first.
    Errors are not kept, but for those whose code ``errors`` names, for the seconds given there:
    ``errors={"not_found": 5}``.

    While an answer is being made, those who ask the same wait for it, each as long as its own deadline allows. If it
    fails, or is given up, one of them makes it in turn. Around handlers, middleware further out gets the result as
    :class:`~arpc.middleware.Encoded`. Streams and notifies pass.
    """

    def __init__(
        self,
        ttl: float,
        *,
        methods: Iterable[str],
        key: Callable[[Context], Hashable] | None = None,
        max_entries: int = 1024,
        max_bytes: int = 16 * 1024 * 1024,
        errors: Mapping[str, float] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not is_time(ttl):
            raise ValueError(f"ttl is seconds above 0, not {ttl!r}")
        for name, value in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(cast(object, value), int) or value < 1:
                raise ValueError(f"{name} is a whole number of 1 or more, not {value!r}")
        if errors is not None and not isinstance(cast(object, errors), Mapping):
            raise TypeError(f"errors maps codes to seconds, and is no {type(errors).__name__}")
        for code, seconds in (errors or {}).items():
            if not is_time(seconds):
                raise ValueError(f"errors gives the seconds above 0 that a code is kept, not {code}: {seconds!r}")
        if key is not None and not callable(cast(object, key)):
            raise TypeError(f"key is a function of the context, not {key!r}")
        self._ttl = ttl
        self._matches = matching(methods, "methods")
        self._key = key
        self._errors = dict(errors or {})
        self._entries = Entries(max_entries, max_bytes, clock)
        self._flights = Flights()
        self._waiting = 0

    @property
    def stats(self) -> CacheStats:
        """Counters, and how much is kept now."""
        return self._entries.stats

    def clear(self, method: str | None = None) -> None:
        """Forgets the answers of a method, or all. One that is being made now is given to those who wait for it alone.

        Call it when what a method answers has changed.
        """
        self._entries.clear(method)
        self._flights.detach(method)

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream" or not self._matches(target.method):
            return call_next
        encode = target.encode
        # An endpoint has codecs of its own, so what one has encoded is not for another.
        endpoint = None if target.outgoing else ref(target.endpoint)
        whose = self._key or (_connection if target.outgoing else _identity)

        def cached(ctx: Context) -> Coroutine[Any, Any, Any]:
            if ctx.kind == "notify":
                return call_next(ctx)
            return self._look(call_next, ctx, (ctx.method, ctx.body, endpoint, whose(ctx)), encode)

        return cached

    async def _look(self, call_next: Next, ctx: Context, key: Key, encode: Callable[[Any], bytes]) -> Any:
        stats = self._entries.stats
        try:
            found = self._entries.get(key)
        except TypeError:
            raise TypeError(f"key= of a Cache returns something hashable, not {key[3]!r}") from None
        if found is not None:
            stats.hits += 1
            return _given(ctx, found)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights.begin(key)
        else:
            found = await self._wait(ctx, flight)
            if found is not None:
                stats.shared += 1
                return _given(ctx, found)
        stats.misses += 1
        return await self._make(call_next, ctx, flight, encode)

    async def _wait(self, ctx: Context, flight: Flight) -> Outcome | None:
        """What came of the call that is under way; None if this one has to make it now."""
        waiter = flight.join()
        limit = asyncio.timeout(ctx.remaining() if ctx.outgoing else None)  # handlers are cancelled at their deadline
        self._waiting += 1
        try:
            async with limit:
                return await (ctx.lend_while(waiter) if self._waiting <= PATIENT else waiter)
        except BaseException as error:
            if flight.leave(waiter):
                self._flights.fail(flight)
            if limit.expired() and isinstance(error, TimeoutError):
                raise CallTimeout(f"{ctx.method} has not answered in time") from None
            raise
        finally:
            self._waiting -= 1

    async def _make(self, call_next: Next, ctx: Context, flight: Flight, encode: Callable[[Any], bytes]) -> Any:
        """Makes the call, for all who wait."""
        others = frozenset(ctx.sent_metadata or ())
        identity = None if ctx.outgoing else ctx.peer.identity
        try:
            result = await call_next(ctx)
        except BaseException as error:
            seconds = self._errors.get(ctx.code_of(error))
            failure = None if seconds is None else failure_of(error)
            if seconds is None or failure is None:
                self._flights.fail(flight)
            else:
                self._land(flight, failure, seconds)
            raise
        data = _body(result, encode)
        if data is None or not (ctx.outgoing or ctx.peer.identity is identity):
            # It is no body, or what was done was to authenticate, which each peer has to do.
            self._flights.fail(flight)
            return result
        metadata = {key: value for key, value in (ctx.sent_metadata or {}).items() if key not in others}
        self._land(flight, Answer(data, metadata), self._ttl)
        return data if ctx.outgoing else Encoded(data)

    def _land(self, flight: Flight, outcome: Outcome, seconds: float) -> None:
        if self._flights.land(flight, outcome):
            self._entries.put(flight.key, outcome, seconds)


def _body(result: Any, encode: Callable[[Any], bytes]) -> bytes | None:
    """The body of an answer. None if it is none: whoever is given the result meets that, and says so."""
    try:
        data = cast(object, result.data if isinstance(result, Encoded) else encode(result))
    except Exception:  # it is raised once more, with its text, where the result is encoded to be answered
        return None
    return data if isinstance(data, bytes) else None


def _given(ctx: Context, outcome: Outcome) -> Any:
    if isinstance(outcome, Failure):
        raise outcome.again()
    if outcome.metadata:
        ctx.answer_metadata.update(outcome.metadata)
    return outcome.data if ctx.outgoing else Encoded(outcome.data)


def _identity(ctx: Context) -> Hashable:
    return ctx.peer.identity


def _connection(ctx: Context) -> Hashable:
    return ref(ctx.peer)
