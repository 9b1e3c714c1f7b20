"""The patterns of load; each in a file of its own, the same for every system whose client is in Python."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.loads import churn, closed, held, items, oneway, open, reverse
from benchmarks.loads.calls import Call, Calls, Connect, Outgoing
from benchmarks.workload import Load, Result

__all__ = ["PATTERNS", "Call", "Calls", "Connect", "Outgoing"]

PATTERNS: dict[str, Callable[[str, Load, Connect], Awaitable[Result]]] = {
    "closed": closed.run,
    "open": open.run,
    "notify": oneway.run,
    "reverse": reverse.run,
    "connect": churn.run,
    "items": items.run,
    "fan-in": items.fan_in,
    "hold": held.run,
    "extras": closed.run,
}
"""`extras` is the closed loop for the systems that differ in what a call carries beside its body."""
