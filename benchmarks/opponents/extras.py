"""What ours pays for what a call may carry beside its body: each kind beside plain calls, which `ours` makes.

They take the case `extras` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import arpc
from benchmarks.loads.calls import Call, Calls
from benchmarks.opponents.ours import Ours
from benchmarks.workload import ECHO, Setup

TIMEOUT = 5
"""Seconds; a timeout that is said travels as the call's deadline, the default one does not."""


class OursMetadata(Ours):
    """One key and its value."""

    name = "ours-metadata"
    title = "arpc, metadata"
    wire = hello = False
    bodies = frozenset({"bytes"})
    patterns = frozenset({"extras"})

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        async with arpc.connect(address) as peer:
            yield {"bytes": self.echo(peer)}

    def echo(self, peer: arpc.Peer) -> Call:
        """A call with what this is about, written as a user would."""
        call = peer.call
        return lambda body: call(ECHO, body, returns=bytes, metadata={"k": "v"})


class OursDeadline(OursMetadata):
    """A deadline, which the server watches."""

    name = "ours-deadline"
    title = "arpc, deadline"

    def echo(self, peer: arpc.Peer) -> Call:
        call = peer.call
        return lambda body: call(ECHO, body, returns=bytes, timeout=TIMEOUT)


class OursBoth(OursMetadata):
    """Both."""

    name = "ours-both"
    title = "arpc, metadata and deadline"

    def echo(self, peer: arpc.Peer) -> Call:
        call = peer.call
        return lambda body: call(ECHO, body, returns=bytes, metadata={"k": "v"}, timeout=TIMEOUT)
