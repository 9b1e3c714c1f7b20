"""Ratios of ours to another system within one run: the only figures that are compared, judged and published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.report.schema import Measured, Measurement, Memory, Round

OURS = "ours"
FAMILY = (OURS, "ours-asyncio", "ours-2", "ours-metadata", "ours-deadline", "ours-both", "ours-chain")
"""Everything that is ours, the one that most users run first."""
REFERENCES = {
    "go-default": "x Go default",
    "go-best": "x Go best",
    "bare": "x bare",
    "rpcx": "x rpcx",
    "grpc-go": "x grpc-go",
    "grpc-aio": "x grpc.aio",
    "pycapnp": "x pycapnp",
}
"""What ours is compared with, and the heads of the columns that tell it."""


PLAIN = {OURS: "x plain"}
"""The same for calls of ours that carry more."""


def references(measurement: Measurement) -> dict[str, str]:
    """Those that systems are compared with under this load; none where calls start at a fixed rate."""
    known = PLAIN if measurement.varied else {} if measurement.paced else REFERENCES
    return {name: head for name, head in known.items() if name in measurement.systems}


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is measured of each system under a load."""

    name: str
    of: Callable[[Measured], float]
    of_round: Callable[[Round], float]
    more_is_better: bool


RATE = Quantity("calls/s", lambda one: one.rate, lambda each: each.rate, True)
P50 = Quantity("p50", lambda one: one.latency.get("p50", 0.0), lambda each: each.p50, False)
P99 = Quantity("p99", lambda one: one.latency.get("p99", 0.0), lambda each: each.p99, False)
CPU = Quantity("CPU", lambda one: one.client_cpu + one.server_cpu, lambda each: each.rate, False)
"""Of client and server. It is not known by round; the rounds' calls/s tell how unsteady they were."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One system's median by that of another."""

    value: float
    spread: float
    """Largest minus smallest ratio of one round, as a part of their median; in each round, both were measured."""


def ratio(measurement: Measurement, quantity: Quantity, name: str, reference: str) -> Ratio | None:
    """Of these two systems; None where one was not measured or has nothing of it."""
    ours, other = measurement.systems.get(name), measurement.systems.get(reference)
    if ours is None or other is None or quantity.of(ours) <= 0 or quantity.of(other) <= 0:
        return None
    return Ratio(quantity.of(ours) / quantity.of(other), _spread(quantity, ours, other))


def _spread(quantity: Quantity, ours: Measured, other: Measured) -> float:
    """Of the rounds' ratios; where a failed round leaves them without partners, both systems' own spreads."""
    values = [quantity.of_round(each) for each in ours.rounds]
    others = [quantity.of_round(each) for each in other.rounds]
    if not values or len(values) != len(others) or min(*values, *others) <= 0:
        return ours.spread + other.spread
    ratios = [value / base for value, base in zip(values, others, strict=True)]
    return (max(ratios) - min(ratios)) / median(ratios)


def memory_ratio(memory: Memory, key: str, name: str, reference: str) -> float | None:
    """The same of `key` in a measurement of memory."""
    ours, other = (memory.systems.get(one, {}).get(key, 0.0) for one in (name, reference))
    return ours / other if ours > 0 and other > 0 else None
