"""Passwords."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arpc
from arpc.middleware import Auth, Passwords, hash_password
from arpc_middleware.auth import passwords as module
from arpc_middleware.auth.passwords import Hash, parse_hash
from tests.middleware.authenticating import HASH, PASSWORD, linked


def password(user: str, password: str) -> dict[str, str]:
    return {"scheme": "password", "user": user, "password": password}


async def test_a_user_is_known_by_the_password() -> None:
    async with linked(Auth(Passwords({"ann": HASH, "bob": HASH}, roles={"ann": ["admin"]}), attempts=9)) as link:
        texts: set[str] = set()
        for user, text in ("ann", PASSWORD[:-1]), ("eve", PASSWORD), ("ann", PASSWORD.upper()):
            with pytest.raises(arpc.RemoteError) as caught:
                await link.client.call("/auth", password(user, text))
            texts.add(caught.value.message)
        assert texts == {"the credentials are not accepted"}  # whichever part was wrong
        await link.client.call("/auth", password("bob", PASSWORD))
        assert link.peer.identity == arpc.Identity("bob", frozenset(), "password")
        await link.client.call("/auth", password("ann", PASSWORD))
        assert link.peer.identity == arpc.Identity("ann", frozenset({"admin"}), "password")


async def test_an_unknown_user_takes_the_same_work_in_the_same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[tuple[int, int, int, str]] = []
    matches = Hash.matches

    def noting(stored: Hash, text: str) -> bool:
        work.append((stored.n, stored.r, stored.p, threading.current_thread().name[:13]))
        return matches(stored, text)

    monkeypatch.setattr(Hash, "matches", noting)
    costly = hash_password(PASSWORD, n=4, r=2, p=3)
    async with linked(Auth(Passwords({"ann": HASH, "bob": costly}))) as link:
        for user in "bob", "eve":
            with pytest.raises(arpc.RemoteError, match="not accepted"):
                await link.client.call("/auth", password(user, "wrong"))
    assert work == [(4, 2, 3, "arpc password")] * 2
    assert Passwords({})._nobody[:3] == (2**14, 8, 5)


async def test_no_number_of_attempts_takes_more_than_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    release, running = threading.Event(), 0

    def slow(stored: Hash, text: str) -> bool:
        nonlocal running
        running += 1
        release.wait(10)
        return True

    monkeypatch.setattr(Hash, "matches", slow)
    auth = Auth(Passwords({"ann": HASH}, threads=1))
    async with linked(auth) as link:
        clients = [await arpc.connect(link.server.address) for _ in range(4)]
        try:
            calls = [asyncio.create_task(client.call("/auth", password("ann", PASSWORD))) for client in clients]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = done
            error = refused.exception()
            assert isinstance(error, arpc.RemoteError)
            assert (error.code, error.retry_after) == ("overloaded", 1.0)
            assert running == 1
        finally:
            release.set()
        assert [answer["name"] for answer in await asyncio.gather(*waiting)] == ["ann"] * 3
        for client in clients:
            await client.close()


async def test_users_from_elsewhere() -> None:
    class Table(Passwords):
        async def look_up(self, user: str) -> tuple[str, Iterable[str]] | None:
            return {"ann": (HASH, ["admin"]), "bob": ("plain text", [])}.get(user)

    async with linked(Auth(Table({}))) as link:
        assert await link.client.call("/auth", password("ann", PASSWORD)) == {"name": "ann", "roles": ["admin"]}
        with pytest.raises(arpc.RemoteError, match="not accepted"):
            await link.client.call("/auth", password("eve", PASSWORD))
        with pytest.raises(arpc.RemoteError, match="cannot be checked now"):
            await link.client.call("/auth", password("bob", PASSWORD))


@given(st.text(min_size=1, max_size=50), st.text(max_size=50))
def test_a_hash_matches_its_password_alone(one: str, other: str) -> None:
    stored = parse_hash(hash_password(one, n=2, r=1, p=1), "ann")
    assert stored.matches(one)
    assert stored.matches(other) == (one == other)


def test_hashes_of_one_password_differ_and_name_their_parameters() -> None:
    made = {hash_password("x") for _ in range(2)}
    assert len(made) == 2
    assert all(text.startswith("scrypt$16384$8$5$") for text in made)
    assert "x" not in repr(Passwords({"ann": HASH}).__dict__["_roles"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 3}, "n is a power of 2 from 2 on, not 3"),
        ({"n": 1}, "n is a power of 2"),
        ({"r": 0}, "r and p are 1 to 64"),
        ({"p": 65}, "r and p are 1 to 64"),
        ({"n": 2**21}, "more than 1073741824"),
        ({"password": ""}, "a password is not empty"),
    ],
)
def test_parameters_of_a_hash(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        hash_password(**{"password": "x", **options})


@pytest.mark.parametrize(
    "stored",
    [
        "secret",
        "",
        None,
        "a$b$c$d$e$f",
        HASH.replace("scrypt", "argon"),
        HASH[:-8],
        HASH.replace("$2$", "$3$"),
        "$" * 5,
    ],
)
def test_what_is_no_hash(stored: Any) -> None:
    with pytest.raises(ValueError, match=r"the password of 'ann' is no hash of it: .*hash_password") as caught:
        Passwords({"ann": stored})
    assert "secret" not in str(caught.value)


def test_options() -> None:
    with pytest.raises(ValueError, match="roles of users that have no password: bob"):
        Passwords({"ann": HASH}, roles={"bob": ["admin"]})
    with pytest.raises(TypeError, match=r"the roles of 'ann' are a list: \[\"admin\"\]"):
        Passwords({"ann": HASH}, roles={"ann": "admin"})
    with pytest.raises(ValueError, match="threads is a number above 0, not 0"):
        Passwords({}, threads=0)
