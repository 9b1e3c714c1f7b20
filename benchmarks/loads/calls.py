"""What a load needs of a system: connections, and calls by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Call = Callable[[Any], Awaitable[Any]]
Calls = Mapping[str, Call]
"""What one connection can do, by name.

`bytes`, `json`, `say`: send this body and return the answer. `notify`: send these bytes and return when they are on
their way; `received`: how many notifies this server has handled, whatever the body. `reverse`: have the server put this
`Load` on this connection, towards the client; return its `Result`. `stream`: open a stream, whatever the body; return
it, an `Outgoing`.
"""
Connect = Callable[[str], AbstractAsyncContextManager[Calls]]
"""Makes a connection to an address; leaving it closes it."""


class Outgoing(Protocol):
    """A stream to the server, whose handler counts the items of each."""

    @property
    def send(self) -> Call:
        """Send these bytes as an item; wait while the server, or what leads there, has no room for it."""
        ...

    async def total(self) -> int:
        """End it; how many items the server has read of it."""
        ...
