"""Counts messages for Prometheus. Needs the extra ``metrics``, loaded when one is made."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from arpc.codes import Code
from arpc.context import Context
from arpc.middleware import NOBODY, Census, Layer, Next, Target
from arpc.options import is_time

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["BUCKETS", "Metrics"]

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations, in seconds."""
OTHER: Final = "(other)"
"""The label of methods, or codes, of which there are too many."""
MAX_CODES: Final = 64
"""Codes of one series, past which only those of :class:`~arpc.Code` get a label of their own: any text may be one."""


class Metrics(Layer):
    """Counts messages, at both sides, in metrics of a Prometheus registry.

    ``registry``: a ``prometheus_client.CollectorRegistry``; None is its global one. ``namespace``: what the names begin
    with. ``buckets``: upper bounds of durations in seconds, ascending. ``max_methods``: methods that go out which have
    a label of their own; a program may call any, further ones are counted as ``(other)``. What comes in has the names
    of registered methods, or ``(fallback)``. The metrics:

    - ``arpc_calls_total{method, kind, side, code}``: messages that have ended. ``kind``: call, notify, stream;
      ``side``: ``server`` for what comes in, ``client`` for what goes out; ``code``: ``ok``, or of :class:`~arpc.Code`
    - ``arpc_call_duration_seconds{method, kind, side}``: a histogram, from where this stands in the chain to the end
    - ``arpc_request_bytes_total``, ``arpc_response_bytes_total`` ``{method, kind, side}``: bytes of the bodies of calls
      and notifies, and of answers
    - ``arpc_calls_in_flight{method, side}``: messages that have begun and not ended
    - ``arpc_connections``, ``arpc_streams``: connections that are open now, and handlers of streams that run, of all
      endpoints that this stands in

    One object may serve several endpoints of one thread, and is to: a second one in the same registry needs another
    namespace. Raises ValueError if there is none for it, ImportError if prometheus_client is not installed.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        namespace: str = "arpc",
        buckets: Sequence[float] = BUCKETS,
        max_methods: int = 1000,
    ) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            text = "Metrics needs the extra metrics of arpc, or else: pip install prometheus-client"
            raise ImportError(text, name=error.name) from error
        from .exposition import Exposition

        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", namespace):
            raise ValueError(f"namespace has letters, digits and _, and no digit first, not {namespace!r}")
        bounds = tuple(buckets)
        if not bounds or not all(map(is_time, bounds)) or list(bounds) != sorted(set(bounds)):
            raise ValueError(f"buckets are seconds above 0, ascending, not {buckets!r}")
        if type(cast(object, max_methods)) is not int or max_methods < 0:
            raise ValueError(f"max_methods is a whole number from 0, not {max_methods!r}")
        self._bounds = (*bounds, inf)
        self._max_methods = max_methods
        self._counters: dict[tuple[str, str], Counters] = {}
        self._outgoing: set[str] = set()
        self._endpoints: set[ref[Census]] = set()
        self._registry = prometheus_client.REGISTRY if registry is None else registry
        self._exposition = Exposition(self, namespace)
        try:
            self._registry.register(self._exposition)
        except ValueError as error:
            text = (
                f"this registry has metrics named {namespace}_... already: share one Metrics between endpoints, "
                "close() the other, or give namespace= or registry="
            )
            raise ValueError(text) from error

    def close(self) -> None:
        """Takes the metrics out of the registry. KeyError if they are out already."""
        self._registry.unregister(self._exposition)

    # --- what is counted

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.endpoint is not NOBODY:
            self._endpoints.add(ref(target.endpoint, self._endpoints.discard))
        method, side = target.method, "client" if target.outgoing else "server"
        if target.outgoing:
            method = self._bounded(method)
        counters, bounds, clock = self._of(method, side), self._bounds, perf_counter
        kinds = counters.kinds

        def counted(ctx: Context) -> Coroutine[Any, Any, Any]:
            counters.begun += 1
            ctx.observers = end, (clock(),), ctx.observers  # ctx.on_end, written out: it is a tenth of all this
            return call_next(ctx)

        def end(ctx: Context, error: BaseException | None, size: int, started: float) -> None:
            seconds = clock() - started
            series = kinds[ctx.kind]
            series.durations[bisect_left(bounds, seconds)] += 1
            series.seconds += seconds
            series.request_bytes += len(ctx.body)
            if error is None:
                series.ok += 1
                series.response_bytes += size
            else:
                series.failed(ctx.code_of(error))

        return counted

    def _bounded(self, method: str) -> str:
        if method not in self._outgoing:
            if len(self._outgoing) >= self._max_methods:
                return OTHER
            self._outgoing.add(method)
        return method

    def _of(self, method: str, side: str) -> Counters:
        found = self._counters.get((method, side))
        if found is None:
            found = self._counters[method, side] = Counters(method, side, len(self._bounds))
        return found

    # --- what is read, perhaps in another thread

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of durations in seconds, ascending, the last one infinite."""
        return self._bounds

    def counters(self) -> list[Counters]:
        """All there are."""
        return list(self._counters.values())

    def total(self, count: Callable[[Census], int]) -> int:
        """The sum of what ``count`` says of each endpoint that there still is."""
        found = [endpoint() for endpoint in list(self._endpoints)]
        return sum(count(one) for one in found if one is not None)


class Counters:
    """What is counted of one method at one side."""

    __slots__ = ("begun", "kinds", "method", "side")

    def __init__(self, method: str, side: str, buckets: int) -> None:
        self.method = method
        self.side = side
        self.begun = 0
        """Messages that have begun."""
        self.kinds = {kind: Series(buckets) for kind in ("call", "notify", "stream")}
        """What has ended, by kind."""

    @property
    def in_flight(self) -> int:
        """Messages that have begun and not ended."""
        return self.begun - sum(sum(series.durations) for series in self.kinds.values())


class Series:
    """What is counted of one kind of messages of one method at one side, when they end."""

    __slots__ = ("durations", "failures", "ok", "request_bytes", "response_bytes", "seconds")

    def __init__(self, buckets: int) -> None:
        self.ok = 0
        """Those that ended well."""
        self.failures: dict[str, int] = {}
        """The others, by code."""
        self.durations = [0] * buckets
        """All of them, each at the lowest bound that its duration is not above."""
        self.seconds = 0.0
        """The sum of their durations."""
        self.request_bytes = 0
        self.response_bytes = 0

    def failed(self, code: str) -> None:
        """One ended so."""
        failures = self.failures
        if code not in failures and len(failures) >= MAX_CODES and code not in _KNOWN:
            code = OTHER
        failures[code] = failures.get(code, 0) + 1


_KNOWN: Final = frozenset(Code)
