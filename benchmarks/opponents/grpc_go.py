"""grpc-go, server and load client in Go (benchmarks/go/grpc)."""

from __future__ import annotations

from benchmarks.opponents.go import GoOpponent


class GrpcGo(GoOpponent):
    """With larger message sizes, buffers and windows than its own; stream workers gained nothing.

    Its bytes go through a codec that leaves them as they are, which is less work than a protobuf message of bytes.
    """

    name = "grpc-go"
    title = "grpc-go"
    folder = "grpc"
    bodies = frozenset({"bytes", "say"})
    patterns = frozenset({"closed", "open", "connect"})
