"""The patterns of load; each in a file of its own, the same for every system whose client is in Python."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.loads import churn, closed, oneway, open, reverse
from benchmarks.loads.calls import Call, Calls, Connect
from benchmarks.workload import Load, Result

__all__ = ["PATTERNS", "Call", "Calls", "Connect"]

PATTERNS: dict[str, Callable[[str, Load, Connect], Awaitable[Result]]] = {
    "closed": closed.run,
    "open": open.run,
    "notify": oneway.run,
    "reverse": reverse.run,
    "connect": churn.run,
}
