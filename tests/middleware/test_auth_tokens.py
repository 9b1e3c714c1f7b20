"""Bearer tokens."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, Tokens
from tests.middleware.authenticating import OTHER, TOKEN, bearer, linked


async def name_by(tokens: Tokens, token: str) -> Any:
    async with linked(Auth(tokens)) as link:
        await link.client.call("/auth", bearer(token))
        return link.peer.identity


async def test_a_token_gives_its_owners_identity() -> None:
    ann = arpc.Identity("ann", frozenset({"admin"}), "own")
    tokens = Tokens({TOKEN: ann, OTHER: "bob"})
    assert await name_by(tokens, TOKEN) == ann
    assert await name_by(tokens, OTHER) == arpc.Identity("bob", scheme="bearer")
    for wrong in TOKEN[:-1], TOKEN + " x", TOKEN.upper():
        with pytest.raises(arpc.RemoteError, match=r"^the credentials are not accepted$"):
            await name_by(tokens, wrong)


async def test_tokens_are_looked_up_by_their_digest() -> None:
    owners: dict[str, Any] = {sha256(TOKEN.encode()).hexdigest(): "ann"}

    async def find(digest: str) -> arpc.Identity | None:
        return arpc.Identity(owners[digest]) if digest in owners else None

    for tokens in Tokens(owners.get), Tokens(find):
        assert await name_by(tokens, TOKEN) == arpc.Identity("ann", scheme="bearer")
        with pytest.raises(arpc.RemoteError, match="not accepted"):
            await name_by(tokens, OTHER)


@pytest.mark.parametrize(
    ("tokens", "error", "text"),
    [
        ({"secret-15-chars": "ann"}, ValueError, "at least 16 characters, and one has 15: secrets.token_urlsafe"),
        ({"secret-15-chars": arpc.Identity("ann")}, ValueError, "and one has 15"),
        ({"ann": TOKEN}, ValueError, "and one has 3: secrets.token_urlsafe.32. makes one; write {token: name}"),
        ({b"secret-in-bytes-01": "ann"}, TypeError, "a token is a str, and one is a bytes"),
        ({TOKEN: None}, TypeError, "belongs to an Identity or a name, not to a NoneType"),
        ([TOKEN], TypeError, "tokens are a mapping"),
    ],
)
def test_what_are_no_tokens(tokens: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        Tokens(tokens)
    assert "secret" not in str(caught.value).replace("secrets.token", "")
