"""Bearer tokens: secrets that a program shows as they are."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from arpc.identity import Identity

from .credential import Credential

if TYPE_CHECKING:
    from arpc.context import Context

__all__ = ["Tokens"]

MIN_LENGTH: Final = 16
"""Characters: 96 bits, where they were drawn at random."""

Found = Identity | str | None
Find = Callable[[str], Found | Awaitable[Found]]


class Tokens:
    """Bearer tokens, each with the identity (or just the name) of its owner: ``Tokens({token: "ann"})``.

    Only their SHA-256 digests are kept, and looked up: how long that takes tells nothing about a token. In place of a
    mapping: a function, async or not, from a digest (hexadecimal) to an identity, a name or None, which looks it up
    where you keep the digests. Tokens have at least 16 characters, ``secrets.token_urlsafe(32)`` makes one; ValueError.
    """

    accepts = "bearer"

    def __init__(self, tokens: Mapping[str, Identity | str] | Find) -> None:
        self._find: Find
        if isinstance(tokens, Mapping):
            given = cast(Any, tokens)
            self._find = {_digest(token): owner for token, owner in given.items() if _checked(token, owner)}.get
        elif callable(tokens):
            self._find = tokens
        else:
            raise TypeError("tokens are a mapping of tokens to identities or names, or a function that finds them")

    async def authenticate(self, credential: Credential, ctx: Context, /) -> Identity | None:
        """Whose token it is."""
        found = self._find(_digest(credential.token))
        if inspect.isawaitable(found):
            found = await found
        if found is None:
            return None
        if isinstance(found, str):
            return Identity(found, scheme=self.accepts)
        return found if found.scheme else replace(found, scheme=self.accepts)


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _checked(token: object, owner: Identity | str) -> bool:
    if not isinstance(cast(object, owner), (Identity, str)):
        raise TypeError(f"a token belongs to an Identity or a name, not to a {type(owner).__name__}")
    # Names are not shown: who has written the mapping the wrong way round has tokens there.
    if not isinstance(token, str):
        raise TypeError(f"a token is a str, and one is a {type(token).__name__}")
    if len(token) < MIN_LENGTH:
        raise ValueError(
            f"a token has at least {MIN_LENGTH} characters, and one has {len(token)}: secrets.token_urlsafe(32) makes"
            " one; write {token: name}"
        )
    return True
