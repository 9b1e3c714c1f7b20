"""The contract of those who judge credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arpc.identity import Identity

from .credential import Credential

if TYPE_CHECKING:
    from arpc.context import Context

__all__ = ["Scheme"]


class Scheme(Protocol):
    """Judges one kind of credential; write your own to ask a database.

    It is asked once for each credential that a connection shows, and on one connection never twice at once.
    """

    @property
    def accepts(self) -> str:
        """The ``scheme`` of the credentials that it judges: ``"bearer"``, ``"password"``, ..."""
        ...

    async def authenticate(self, credential: Credential, ctx: Context, /) -> Identity | None:
        """Who has shown this; None if it proves nothing, without telling what was wrong with it.

        Raise RpcError with the code ``unauthenticated`` where the caller may know why ("the token has expired"), with
        another code where it is not the credential's fault. Any other exception is logged, and answered by a generic
        text with the code ``unavailable``.
        """
        ...
