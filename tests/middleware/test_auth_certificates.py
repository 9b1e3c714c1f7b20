"""Peers that TLS has identified."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, Certificates, Credential, Require
from arpc_middleware.auth.certificates import named
from tests.middleware.authenticating import TOKEN, Fixed, Link, bearer, beside, linked, tokens
from tests.tools import eventually
from tests.transports.certificates import AUTHORITY, client_context, server_context

SERVER = server_context()
SERVER.verify_mode = ssl.CERT_OPTIONAL
AUTHORITY.configure_trust(SERVER)


def shown(*names: str, common_name: str | None = None) -> ssl.SSLContext:
    """A client that shows a certificate for these."""
    context = client_context()
    AUTHORITY.issue_cert(*names, common_name=common_name).configure_cert(context)
    return context


ANN = shown("ann@example.org", common_name="ann")
NOBODY = client_context()


@asynccontextmanager
async def by_tls(auth: Auth, client: ssl.SSLContext = ANN) -> AsyncIterator[Link]:
    serving, dialling = {"ssl": SERVER}, {"ssl": client}
    async with linked(auth, address="tls://127.0.0.1:0", server_options=serving, client_options=dialling) as link:
        yield link


async def test_a_certificate_is_enough() -> None:
    async with by_tls(Auth(Certificates())) as link:
        assert await link.client.call("/whoami", returns=str) == "ann"
        assert link.peer.identity is not None
        assert link.peer.identity.scheme == "certificate"
        assert link.peer.identity.claims == link.peer.certificate
        assert await link.client.call("/auth", {"scheme": "certificate"}) == {"name": "ann", "roles": []}


async def test_without_one_there_are_other_ways() -> None:
    async with by_tls(Auth(Certificates(), tokens()), NOBODY) as link:
        with pytest.raises(
            arpc.RemoteError, match=r"^authenticate first: call /auth with a TLS certificate or a bearer"
        ):
            await link.client.call("/whoami")
        with pytest.raises(arpc.RemoteError, match=r"^the credentials are not accepted$"):
            await link.client.call("/auth", {"scheme": "certificate"})
        await link.client.call("/auth", bearer(TOKEN))
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_what_a_message_shows_counts_before_the_certificate() -> None:
    certificate = Certificates(lambda _: arpc.Identity("machine"))
    async with by_tls(Auth(certificate, tokens())) as link:
        assert await link.client.call("/whoami", returns=str, metadata=beside(TOKEN)) == "ann"
    async with by_tls(Auth(certificate, tokens())) as link:
        assert await link.client.call("/whoami", returns=str) == "machine"
        with pytest.raises(arpc.RemoteError, match="somebody else: call /auth"):
            await link.client.call("/whoami", returns=str, metadata=beside(TOKEN))
        await link.client.call("/auth", bearer(TOKEN))
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_ones_own_identity_with_roles_and_nobody(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def identity(certificate: Mapping[str, Any]) -> arpc.Identity | None:
        found = named(certificate)
        assert found is not None
        asked.append(found.name)
        return arpc.Identity(found.name, frozenset({"admin"})) if found.name == "ann" else None

    router = arpc.Router()

    @router.handle("/stop", middleware=[Require("admin")])
    async def stop() -> int:
        return 1

    auth = Auth(Certificates(identity))
    async with arpc.serve("tls://127.0.0.1:0", router, middleware=[auth], ssl=SERVER) as server:
        async with arpc.connect(server.address, ssl=ANN) as client:
            assert await client.call("/stop") == 1
        async with arpc.connect(server.address, ssl=shown("eve.example.org")) as client:
            for text in "the credentials are not accepted", "authenticate first: call /auth with a TLS certificate":
                with pytest.raises(arpc.RemoteError, match=f"^{text}$"):
                    await client.call("/stop")
    assert asked == ["ann", "eve.example.org"]  # once for each connection
    assert caplog.text.count("gives it no identity") == 1


async def test_a_message_that_waits_for_a_call_of_auth_does_not_undo_it() -> None:
    class Slow(Fixed):
        async def authenticate(self, credential: Credential, ctx: arpc.Context, /) -> arpc.Identity | None:
            found = await super().authenticate(credential, ctx)
            await go.wait()
            return found

    go, token = asyncio.Event(), Slow(arpc.Identity("ann"))
    async with by_tls(Auth(Certificates(lambda _: arpc.Identity("machine")), token)) as link:
        answer = asyncio.create_task(link.client.call("/auth", bearer(TOKEN)))
        await eventually(token.asked.copy)
        name = asyncio.create_task(link.client.call("/whoami", returns=str))
        await link.client.ping()
        go.set()
        assert (await answer)["name"] == await name == "ann"


async def test_a_look_up_that_fails_is_made_again() -> None:
    scheme = Fixed(OSError("no database"), accepts="certificate")
    async with by_tls(Auth(scheme)) as link:
        with pytest.raises(arpc.RemoteError, match="cannot be checked now"):
            await link.client.call("/whoami")
        scheme.outcome = arpc.Identity("ann")
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_who_was_somebody_by_a_token_does_not_become_somebody_else() -> None:
    now = [100.0]
    token = Fixed(arpc.Identity("ann", expires=200.0))
    auth = Auth(Certificates(lambda _: arpc.Identity("machine")), token, clock=lambda: now[0])
    async with by_tls(auth) as link:
        await link.client.call("/auth", bearer(TOKEN))
        now[0] = 300.0
        with pytest.raises(arpc.RemoteError, match="has expired: authenticate first"):
            await link.client.call("/whoami")
        await link.client.call("/auth", {"scheme": "certificate"})
        assert await link.client.call("/whoami", returns=str) == "machine"


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({"subject": ((("organizationName", "x"),), (("commonName", "ann"),))}, "ann"),
        (
            {"subject": (), "subjectAltName": (("URI", "spiffe://example.org/tea"), ("DNS", "b"))},
            "spiffe://example.org/tea",
        ),
        ({"subject": ((("organizationName", "x"),),)}, None),
        ({}, None),
    ],
)
def test_names(certificate: dict[str, Any], name: str | None) -> None:
    found = named(certificate)
    assert (found and found.name) == name
