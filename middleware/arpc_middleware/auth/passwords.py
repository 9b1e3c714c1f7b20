"""Passwords, kept as scrypt hashes (RFC 7914)."""

from __future__ import annotations

import asyncio
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import scrypt
from typing import TYPE_CHECKING, Final, NamedTuple

from arpc.codes import Code
from arpc.errors import RpcError
from arpc.identity import Identity

from .credential import Credential

if TYPE_CHECKING:
    from arpc.context import Context

__all__ = ["Passwords", "hash_password"]

MAX_MEMORY: Final = 1 << 30
"""Bytes that one hash may take."""

WAITING: Final = 64
"""Passwords that may wait for each thread."""

EXAMPLE: Final = "a password's hash is what arpc.middleware.hash_password(password) returns"


class Hash(NamedTuple):
    """A hash and what it was made with; scrypt takes ``128 * n * r`` bytes, and ``p`` times the work of one round."""

    n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def matches(self, password: str) -> bool:
        """Whether it is that of this password; blocks for as long as scrypt takes, in constant time."""
        return hmac.compare_digest(self.key, _scrypt(password, self.n, self.r, self.p, self.salt))

    @property
    def work(self) -> int:
        """To compare hashes by what they cost."""
        return self.n * self.r * self.p


def hash_password(password: str, *, n: int = 2**14, r: int = 8, p: int = 5) -> str:
    """The scrypt hash of a password as a line of text, with its parameters and a fresh salt.

    It blocks for about 0.2 s and takes ``128 * n * r`` bytes, 16 MiB, on purpose. ``n``: a power of 2. ValueError.
    """
    _check_parameters(n, r, p)
    if not password:
        raise ValueError("a password is not empty")
    salt = os.urandom(16)
    key = _scrypt(password, n, r, p, salt)
    return f"scrypt${n}${r}${p}${b64encode(salt).decode()}${b64encode(key).decode()}"


class Passwords:
    """Users and the hashes of their passwords: ``Passwords({"ann": hash_password("...")}, roles={"ann": ["admin"]})``.

    Passwords are hashed in ``threads`` threads of its own, so that no number of attempts takes more of the machine; 64
    may wait for each of them, more are answered ``overloaded``. An unknown user takes as much work as a known one.
    Override :meth:`look_up` to read users from elsewhere. Raises ValueError for what is not a hash.
    """

    accepts = "password"

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        roles: Mapping[str, Iterable[str]] | None = None,
        threads: int = 2,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads is a number above 0, not {threads!r}")
        self._users = dict(users)
        self._roles = {user: _roles(user, given) for user, given in (roles or {}).items()}
        if unknown := self._roles.keys() - self._users.keys():
            raise ValueError(f"roles of users that have no password: {', '.join(sorted(unknown))}")
        hashes = [parse_hash(text, user) for user, text in self._users.items()]
        model = max(hashes, key=lambda one: one.work, default=Hash(2**14, 8, 5, b"", b""))
        self._nobody = model._replace(salt=os.urandom(16), key=os.urandom(64))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="arpc password")
        self._most = threads * (WAITING + 1)
        self._under_way = 0

    async def look_up(self, user: str) -> tuple[str, Iterable[str]] | None:
        """The hash and the roles of a user; None if there is no such user."""
        text = self._users.get(user)
        return None if text is None else (text, self._roles.get(user, frozenset()))

    async def authenticate(self, credential: Credential, ctx: Context, /) -> Identity | None:
        """The user, if that is the password. RpcError ``overloaded`` where too many wait."""
        user = credential.user
        found = await self.look_up(user)
        stored = self._nobody if found is None else parse_hash(found[0], user)
        if self._under_way >= self._most:
            raise RpcError("too many passwords wait to be checked: try again", Code.OVERLOADED, {"retry_after": 1.0})
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._threads, stored.matches, credential.password)
        finally:
            self._under_way -= 1
        if found is None or not matches:
            return None
        return Identity(user, _roles(user, found[1]), self.accepts)


def parse_hash(text: str, user: str) -> Hash:
    """What :func:`hash_password` made. ValueError, which names the user and shows nothing of the hash."""
    try:
        kind, n, r, p, salt, key = text.split("$")
        made = Hash(int(n), int(r), int(p), b64decode(salt, validate=True), b64decode(key, validate=True))
        _check_parameters(made.n, made.r, made.p)
    except (ValueError, AttributeError):
        made = None
        kind = ""
    if made is None or kind != "scrypt" or not made.salt or len(made.key) != 64:
        raise ValueError(f"what is stored as the password of {user!r} is no hash of it: {EXAMPLE}")
    return made


def _scrypt(password: str, n: int, r: int, p: int, salt: bytes) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + 1024, dklen=64)


def _check_parameters(n: int, r: int, p: int) -> None:
    if n < 2 or n & (n - 1):
        raise ValueError(f"n is a power of 2 from 2 on, not {n!r}")
    if not 1 <= r <= 64 or not 1 <= p <= 64:
        raise ValueError(f"r and p are 1 to 64, not {r!r} and {p!r}")
    if 128 * n * r > MAX_MEMORY:
        raise ValueError(f"n={n} and r={r} take {128 * n * r} bytes: more than {MAX_MEMORY}")


def _roles(user: str, roles: Iterable[str]) -> frozenset[str]:
    if isinstance(roles, str):
        raise TypeError(f'the roles of {user!r} are a list: ["{roles}"]')
    return frozenset(roles)
