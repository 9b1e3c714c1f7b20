"""A frame server on nbio in Go (benchmarks/go/nbio): what reading, framing and writing cost without a framework."""

from __future__ import annotations

from benchmarks.opponents.bare import Bare
from benchmarks.opponents.go import GoOpponent
from benchmarks.workload import Load


class Nbio(GoOpponent):
    """A server alone, with nbio's own settings; the load client is that of the bare uvloop loop."""

    name = "nbio"
    title = "nbio (frames)"
    wire = True
    folder = "nbio"
    bodies = frozenset({"bytes"})
    patterns = frozenset({"closed"})

    def takes(self, load: Load) -> bool:
        return super().takes(load) and Bare().takes(load)

    def client_command(self) -> list[str]:
        return Bare().client_command()
