"""Peers whose frames go through coders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Unpack

import arpc
from arpc.coders import Coder
from arpc.options import OptionKeywords
from tests.peer.conftest import ANY_ADDRESS, Link
from tests.tools import eventually


@asynccontextmanager
async def coded(
    served: arpc.Router,
    coders: Sequence[Coder],
    theirs: Sequence[Coder] | None = None,
    *,
    calling: arpc.Router | None = None,
    scheme: str = "mem",
    **options: Unpack[OptionKeywords],
) -> AsyncIterator[Link]:
    """A connection to a server with these coders; ``theirs``: those of who dials, if they are others."""
    async with arpc.serve(ANY_ADDRESS[scheme], served, coders=coders, **options) as server:
        dialling = coders if theirs is None else theirs
        async with arpc.connect(server.address, calling, coders=dialling, **options) as client:
            await eventually(lambda: server.peers)
            (peer,) = server.peers
            yield Link(server, client, peer)
