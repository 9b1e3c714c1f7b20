"""What the tests of Auth share: a service, credentials, and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import arpc
from arpc.middleware import Auth, Credential, Middleware, Tokens, hash_password

TOKEN = "a-token-of-ann-0123456789"
OTHER = "a-token-of-bob-0123456789"
PASSWORD = "correct horse battery staple"
HASH = hash_password(PASSWORD, n=2, r=1, p=1)
"""One that takes no time."""


def tokens() -> Tokens:
    return Tokens({TOKEN: arpc.Identity("ann", frozenset({"admin", "reader"})), OTHER: "bob"})


class Fixed:
    """A scheme of the tests' own: gives, or raises, what it is told to."""

    def __init__(self, outcome: Any, accepts: str = "bearer") -> None:
        self.outcome = outcome
        self.accepts = accepts
        self.asked: list[Credential] = []

    async def authenticate(self, credential: Credential, ctx: arpc.Context, /) -> arpc.Identity | None:
        self.asked.append(credential)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        outcome: arpc.Identity | None = self.outcome
        return outcome


class Clock:
    """Time that stands still until it is told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Link(NamedTuple):
    server: arpc.Server
    client: arpc.Client
    auth: Auth
    notified: list[str]

    @property
    def peer(self) -> arpc.Peer:
        """The server's end."""
        (peer,) = self.server.peers
        return peer


def service(notified: list[str]) -> arpc.Router:
    router = arpc.Router()

    @router.handle("/whoami")
    async def whoami(ctx: arpc.Context) -> str:
        if ctx.kind == "notify":
            notified.append(str(ctx.body))
        return ctx.peer.identity.name if ctx.peer.identity is not None else ""

    @router.handle("/public/time")
    async def time(ctx: arpc.Context) -> str:
        return "late"

    @router.stream("/count")
    async def count(stream: arpc.Stream[int, int]) -> None:
        async for number in stream:
            await stream.send(number + 1)

    return router


@asynccontextmanager
async def linked(
    auth: Auth,
    *,
    address: str = "mem://0",
    outgoing: Iterable[Middleware] = (),
    server_options: Mapping[str, Any] | None = None,
    client_options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Link]:
    """A server with that layer, and a client of it."""
    notified: list[str] = []
    serving: dict[str, Any] = {**(server_options or {})}
    dialling: dict[str, Any] = {**(client_options or {})}
    router = service(notified)
    router.include(auth.router)
    async with (
        arpc.serve(address, router, middleware=[auth], **serving) as server,
        arpc.connect(server.address, outgoing=outgoing, **dialling) as client,
    ):
        yield Link(server, client, auth, notified)


def bearer(token: str) -> dict[str, str]:
    return {"scheme": "bearer", "token": token}


def beside(token: str) -> dict[str, str]:
    """Metadata."""
    return {"authorization": f"Bearer {token}"}
