"""rpcx, server and load client in Go (benchmarks/go/rpcx)."""

from __future__ import annotations

from benchmarks.opponents.go import GoOpponent


class Rpcx(GoOpponent):
    """As it comes: `AsyncWrite`, which the rpcx suite sets and rpcx advises against, saved no CPU time on two cores.

    A load client's connection is rpcx's `Client`; the suite's `XClient` around it (discovery, retries) takes more CPU.
    """

    name = "rpcx"
    title = "rpcx"
    folder = "rpcx"
    bodies = frozenset({"bytes", "json", "say"})
    patterns = frozenset({"closed", "open", "connect"})
