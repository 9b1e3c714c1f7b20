"""What :class:`~arpc.middleware.Metrics` has counted, as a collector of prometheus_client, which this module needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from arpc.middleware import Census

if TYPE_CHECKING:
    from .metrics import Counters, Metrics

__all__ = ["Exposition"]

LABELS: Final = ("method", "kind", "side")


class Exposition(Collector):
    """Makes families of metrics when they are asked for, in whatever thread that is."""

    def __init__(self, metrics: Metrics, namespace: str) -> None:
        self._metrics = metrics
        self._namespace = namespace

    def describe(self) -> Iterable[Metric]:
        """The names, with no samples: what a registry compares with those of others."""
        return self._families((), 0, 0)

    def collect(self) -> Iterable[Metric]:
        metrics = self._metrics
        return self._families(metrics.counters(), metrics.total(_connections), metrics.total(_streams))

    def _families(self, counters: Sequence[Counters], connections: int, streams: int) -> list[Metric]:
        name = self._namespace
        calls = CounterMetricFamily(f"{name}_calls", "Messages that have ended, by outcome.", labels=[*LABELS, "code"])
        durations = HistogramMetricFamily(
            f"{name}_call_duration_seconds", "How long messages took to their end.", labels=LABELS
        )
        requests = CounterMetricFamily(f"{name}_request_bytes", "Bytes of the bodies of messages.", labels=LABELS)
        responses = CounterMetricFamily(f"{name}_response_bytes", "Bytes of the bodies of answers.", labels=LABELS)
        running = GaugeMetricFamily(
            f"{name}_calls_in_flight", "Messages that have not ended yet.", labels=("method", "side")
        )
        bounds = [_bound(seconds) for seconds in self._metrics.bounds]
        for one in counters:
            running.add_metric((one.method, one.side), one.in_flight)
            for kind, series in one.kinds.items():
                counts = list(accumulate(series.durations))
                if not counts[-1]:
                    continue
                labels = one.method, kind, one.side
                for code, count in ("ok", series.ok), *series.failures.copy().items():
                    calls.add_metric((*labels, str(code)), count)
                durations.add_metric(labels, list(zip(bounds, counts, strict=True)), series.seconds)
                if kind != "stream":
                    requests.add_metric(labels, series.request_bytes)
                    responses.add_metric(labels, series.response_bytes)
        return [
            calls,
            durations,
            requests,
            responses,
            running,
            GaugeMetricFamily(f"{name}_connections", "Connections that are open now.", value=connections),
            GaugeMetricFamily(f"{name}_streams", "Handlers of streams that run now.", value=streams),
        ]


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == inf else str(float(seconds))


def _connections(endpoint: Census) -> int:
    return len(endpoint.connections)


def _streams(endpoint: Census) -> int:
    return endpoint.streams
