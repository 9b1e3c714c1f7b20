"""What is remembered of a connection that has tried to authenticate."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["Attempts"]


class Attempts:
    """The attempts of one connection."""

    __slots__ = ("_authorization", "certificate_judged", "expired", "failures", "lock", "notifies_dropped")

    def __init__(self) -> None:
        self.failures = 0
        """Since the last that succeeded."""
        self.lock = asyncio.Lock()
        """One credential is judged at a time: or many could be tried at once."""
        self.expired = False
        """It had an identity, which has ended."""
        self.certificate_judged = False
        self.notifies_dropped = False
        """It was logged that notifies are dropped here."""
        self._authorization = b""

    def accept(self, authorization: str | None) -> None:
        """It has an identity; by this text, if that came beside a message."""
        self.expired = False
        self._authorization = b"" if authorization is None else _digest(authorization)

    def is_accepted(self, authorization: object) -> bool:
        """Whether this text is the one that was accepted last."""
        return isinstance(authorization, str) and self._authorization == _digest(authorization)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def attempts_by_peer() -> MutableMapping[Peer, Attempts]:
    """A table of those connections that have tried; who is gone is not in it."""
    return WeakKeyDictionary()
