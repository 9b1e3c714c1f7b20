"""Auth: who has not authenticated is refused, and the ways to authenticate."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, Passwords
from tests.middleware.authenticating import (
    HASH,
    OTHER,
    PASSWORD,
    TOKEN,
    Clock,
    Fixed,
    bearer,
    beside,
    linked,
    tokens,
)
from tests.tools import eventually

ADDRESSES = pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
HINT = "authenticate first: call /auth with a bearer token"


async def refused(call: Any, code: str = "unauthenticated") -> str:
    with pytest.raises(arpc.RemoteError) as caught:
        await call
    assert caught.value.code == code
    return caught.value.message


@ADDRESSES
async def test_a_peer_authenticates_before_its_first_call(address: str) -> None:
    async with linked(Auth(tokens()), address=address) as link:
        assert await refused(link.client.call("/whoami", returns=str)) == HINT
        assert link.peer.identity is None
        answer = await link.client.call("/auth", bearer(TOKEN))
        assert answer == {"name": "ann", "roles": ["admin", "reader"]}
        assert await link.client.call("/whoami", returns=str) == "ann"
        assert link.peer.identity == arpc.Identity("ann", frozenset({"admin", "reader"}), "bearer")


@pytest.mark.parametrize(
    "body",
    [
        bearer(TOKEN),
        {"scheme": "password", "user": "ann", "password": PASSWORD},
        f"Bearer {TOKEN}",
        f"bearer  {TOKEN} ",
        "Basic " + b64encode(f"ann:{PASSWORD}".encode()).decode(),
    ],
)
async def test_forms_of_a_credential_in_a_call(body: Any) -> None:
    async with linked(Auth(tokens(), Passwords({"ann": HASH}))) as link:
        assert (await link.client.call("/auth", body))["name"] == "ann"
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_the_wire_is_json_whatever_the_codec_and_without_extensions() -> None:
    options = {"codec": "msgpack", "extensions": False}
    async with linked(Auth(tokens()), client_options=options, server_options={"codec": "msgpack"}) as link:
        body = b'{"scheme":"bearer","token":"%s"}' % TOKEN.encode()
        with pytest.raises(arpc.RemoteError, match=f"^{HINT}$"):
            await link.client.call("/whoami", returns=str)
        assert await link.client.call("/auth", body, returns=bytes) == b'{"name":"ann","roles":["admin","reader"]}'
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_a_credential_beside_any_message() -> None:
    async with linked(Auth(tokens(), Passwords({"eve": HASH}))) as link:
        call, basic = link.client.call, b64encode(f"eve:{PASSWORD}".encode()).decode()
        assert await call("/whoami", returns=str, metadata=beside(TOKEN)) == "ann"
        assert await call("/whoami", returns=str) == "ann"
        assert await call("/whoami", returns=str, metadata=beside(TOKEN)) == "ann"
        for other in beside(OTHER), {"authorization": f"Basic {basic}"}:
            text = await refused(call("/whoami", returns=str, metadata=other), "failed_precondition")
            assert text == "this connection has authenticated as somebody else: call /auth, or connect once more"
        assert await refused(call("/whoami", returns=str, metadata=beside("x" * 20))) == (
            "the credentials are not accepted"
        )
        assert await call("/whoami", returns=str) == "ann"
        await call("/auth", bearer(OTHER))
        assert await call("/whoami", returns=str) == "bob"
        assert await call("/whoami", returns=str, metadata=beside(OTHER)) == "bob"


async def test_credentials_of_somebody_else_are_no_failures() -> None:
    async with linked(Auth(tokens(), attempts=2)) as link:
        await link.client.call("/auth", bearer(TOKEN))
        for _ in range(3):
            await refused(link.client.call("/whoami", metadata=beside(OTHER)), "failed_precondition")
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_messages_at_once_have_one_credential_judged_once() -> None:
    class Slow(Fixed):
        async def authenticate(self, credential: Any, ctx: Any, /) -> Any:
            await asyncio.sleep(0.01)
            return await super().authenticate(credential, ctx)

    scheme = Slow(arpc.Identity("ann"))
    async with linked(Auth(scheme)) as link:
        calls = [link.client.call("/whoami", returns=str, metadata=beside(TOKEN)) for _ in range(5)]
        assert await asyncio.gather(*calls) == ["ann"] * 5
        assert len(scheme.asked) == 1
        both = [link.client.call("/auth", bearer(TOKEN)) for _ in range(2)]
        assert await asyncio.gather(*both) == [{"name": "ann", "roles": []}] * 2


@pytest.mark.parametrize("value", ["Bearer", "", "Basic !", 7, "Basic " + b64encode(b"ann").decode(), "Bearer " * 4000])
async def test_metadata_that_is_no_credential(value: Any) -> None:
    async with linked(Auth(tokens())) as link:
        call = link.client.call("/whoami", returns=str, metadata={"authorization": value})
        text = await refused(call, "invalid_argument")
        assert text.startswith("the metadata authorization: a credential ")


async def test_streams_pass_with_an_identity_only() -> None:
    async with linked(Auth(tokens())) as link:
        with pytest.raises(arpc.StreamReset, match=f"^{HINT}$"):
            async with link.client.open_stream("/count", returns=int) as stream:
                await stream.recv()
        async with link.client.open_stream("/count", returns=int, metadata=beside(TOKEN)) as stream:
            await stream.send(1)
            assert await stream.recv() == 2
        async with link.client.open_stream("/count", returns=int) as stream:
            await stream.send(2)
            assert await stream.recv() == 3


async def test_notifies_are_dropped_and_that_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with linked(Auth(tokens())) as link:
        for _ in range(3):
            await link.client.notify("/whoami")
        await link.client.notify("/auth", bearer(TOKEN))
        await link.client.call("/public/time", returns=str, metadata=beside(TOKEN))
        await link.client.notify("/whoami")
        await eventually(lambda: link.notified)
        assert len(link.notified) == 1
    assert caplog.text.count("sends notifies and has not authenticated: they are dropped") == 1


async def test_public_methods_and_a_fallback() -> None:
    auth = Auth(tokens(), public=["/public/*", "(fallback)"])
    async with linked(auth) as link:
        assert await link.client.call("/public/time", returns=str) == "late"
        await refused(link.client.call("/whoami"))

    router = arpc.Router()

    @router.fallback
    async def anything(ctx: arpc.Context) -> str:
        return ctx.method

    serving = arpc.serve("mem://0", router, middleware=[auth])
    async with serving as server, arpc.connect(server.address) as peer:
        assert await peer.call("/x", returns=str) == "/x"


async def test_what_has_expired_ends_and_can_be_renewed() -> None:
    clock = Clock()
    scheme = Fixed(arpc.Identity("ann", expires=clock.now + 60))
    async with linked(Auth(scheme, clock=clock)) as link:
        call = link.client.call
        assert await call("/auth", bearer(TOKEN)) == {"name": "ann", "roles": [], "expires_in": 60.0}
        clock.now += 59.9
        assert await call("/whoami", returns=str) == "ann"
        clock.now += 0.2
        text = "what this connection has authenticated with has expired: " + HINT
        assert await refused(call("/whoami")) == text
        assert link.peer.identity is None
        scheme.outcome = arpc.Identity("ann", expires=clock.now + 60)
        assert await call("/whoami", returns=str, metadata=beside(TOKEN)) == "ann"
        clock.now += 61
        scheme.outcome = arpc.Identity("bob")  # nobody any more: whoever proves it is somebody
        assert await call("/whoami", returns=str, metadata=beside(TOKEN)) == "bob"


async def test_several_schemes_of_a_kind_are_asked_in_turn() -> None:
    said = arpc.RpcError("it has expired", arpc.Code.UNAUTHENTICATED)
    async with linked(Auth(Fixed(said), tokens(), Fixed(None))) as link:
        assert (await link.client.call("/auth", bearer(OTHER)))["name"] == "bob"
        assert await refused(link.client.call("/auth", bearer("y" * 20))) == "it has expired"


async def test_a_scheme_of_ones_own() -> None:
    scheme = Fixed(arpc.Identity("ann"), accepts="ticket")
    async with linked(Auth(scheme)) as link:
        assert await refused(link.client.call("/whoami")) == "authenticate first: call /auth with 'ticket'"
        await link.client.call("/auth", "Ticket 4711")
        assert scheme.asked[0].token == "4711"


async def test_a_server_authenticates_to_its_client() -> None:
    auth, router = Auth(tokens()), arpc.Router()

    @router.handle("/secret")
    async def secret() -> int:
        return 1

    router.include(auth.router)
    serving = arpc.serve("mem://0", arpc.Router())
    async with serving as server, arpc.connect(server.address, router, middleware=[auth]) as client:
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        await refused(peer.call("/secret"))
        await peer.call("/auth", bearer(TOKEN))
        assert await peer.call("/secret") == 1
        assert client.identity is not None
        assert peer.identity is None


async def test_another_method() -> None:
    async with linked(Auth(tokens(), method="Login.run")) as link:
        assert "call Login.run with" in await refused(link.client.call("/whoami"))
        await link.client.call("Login.run", bearer(TOKEN))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((), {}, TypeError, "Auth needs a scheme"),
        ((object(),), {}, TypeError, "a scheme is an object with accepts"),
        ((Fixed,), {}, TypeError, "a scheme is an object with accepts"),
        ((Fixed(None),), {"public": "/x"}, TypeError, "public is a list of methods, or of patterns"),
        ((Fixed(None),), {"attempts": 0}, ValueError, "attempts is a number above 0, not 0"),
        ((Fixed(None),), {"attempts": "5"}, ValueError, "attempts is a number above 0, not '5'"),
        ((Fixed(None),), {"method": ""}, arpc.RegistrationError, "method"),
    ],
)
def test_options(arguments: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Auth(*arguments, **options)


async def test_it_stands_around_handlers_only() -> None:
    with pytest.raises(arpc.RegistrationError, match="Auth stands around handlers"):
        await arpc.connect("mem://0", outgoing=[Auth(tokens())])
