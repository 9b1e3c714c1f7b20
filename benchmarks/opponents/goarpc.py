"""Go arpc (benchmarks/go/arpc), with its default and with its best settings."""

from __future__ import annotations

from benchmarks.opponents.go import GoOpponent


class GoArpcDefault(GoOpponent):
    """As it comes: no write batching, one goroutine a request."""

    name = "go-default"
    title = "Go arpc, default"
    wire = True
    folder = "arpc"
    bodies = frozenset({"bytes", "json", "say"})
    patterns = frozenset({"closed", "open", "notify", "reverse", "connect", "items", "fan-in", "hold"})


class GoArpcBest(GoArpcDefault):
    """64 KiB of write batching on both sides and handlers that run in the connection's reading goroutine."""

    name = "go-best"
    title = "Go arpc, best"
    options = ("--send-buffer", "65536", "--inline")
