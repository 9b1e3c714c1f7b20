"""The calling side: credentials are shown before the first message goes out."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, BearerToken, Credential, Credentials, Password, Passwords, authenticate
from tests.middleware.authenticating import HASH, OTHER, PASSWORD, TOKEN, Clock, Fixed, linked, tokens
from tests.tools import eventually

WRONG = "a-wrong-token-0123456789"


class Counted(Fixed):
    """Gives an identity when it is let."""

    def __init__(self, outcome: Any) -> None:
        super().__init__(outcome)
        self.go = asyncio.Event()
        self.go.set()

    async def authenticate(self, credential: Credential, ctx: arpc.Context, /) -> arpc.Identity | None:
        found = await super().authenticate(credential, ctx)
        await self.go.wait()
        return found


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("extensions", [True, False])
async def test_a_client_authenticates_by_itself(address: str, extensions: bool) -> None:
    options = {"extensions": extensions}
    auth = Auth(tokens(), Passwords({"eve": HASH}))
    for credentials, name in (BearerToken(TOKEN), "ann"), (Password("eve", PASSWORD), "eve"):
        async with linked(auth, address=address, outgoing=[credentials], client_options=options) as link:
            assert await link.client.call("/whoami", returns=str) == name
            await link.client.notify("/whoami")
            async with link.client.open_stream("/count", returns=int) as stream:
                await stream.send(1)
                assert await stream.recv() == 2
            notified = link.notified
            await eventually(notified.copy)


async def test_all_messages_wait_for_one_call() -> None:
    scheme = Counted(arpc.Identity("ann"))
    scheme.go.clear()
    async with linked(Auth(scheme), outgoing=[BearerToken(TOKEN)]) as link:
        calls = [asyncio.create_task(link.client.call("/whoami", returns=str)) for _ in range(5)]
        notify = asyncio.create_task(link.client.notify("/whoami"))
        await eventually(lambda: scheme.asked)
        with pytest.raises(arpc.Overstock, match="a middleware would have to wait"):
            link.client.try_notify("/whoami")
        with pytest.raises(arpc.CallTimeout, match=r"^/whoami was not sent: /auth has not answered in time$"):
            await link.client.call("/whoami", timeout=0.03)
        calls[0].cancel()  # the first of them, too
        scheme.go.set()
        assert await asyncio.gather(*calls[1:]) == ["ann"] * 4
        await notify
        link.client.try_notify("/whoami")
        await eventually(lambda: len(link.notified) == 2)
        assert len(scheme.asked) == 1


async def test_a_failure_is_raised_to_each_and_the_next_message_tries_again() -> None:
    given = [WRONG]
    async with linked(Auth(tokens()), outgoing=[BearerToken(lambda: given[0])]) as link:
        calls = [link.client.call("/whoami") for _ in range(3)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [(type(error), str(error)) for error in errors] == [
            (arpc.RemoteError, "the credentials are not accepted")
        ] * 3
        with pytest.raises(arpc.RemoteError, match="not accepted"):
            await link.client.open_stream("/count")
        with pytest.raises(arpc.RemoteError, match="not accepted"):
            await link.client.notify("/whoami")
        given[0] = TOKEN
        assert await link.client.call("/whoami", returns=str) == "ann"


async def test_a_failure_that_nobody_waits_for_is_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    scheme = Counted(None)
    scheme.go.clear()
    async with linked(Auth(scheme), outgoing=[BearerToken(TOKEN)]) as link:
        call = asyncio.create_task(link.client.call("/whoami"))
        await eventually(lambda: scheme.asked)
        call.cancel()
        scheme.go.set()
        await eventually(lambda: "attempt 1" in caplog.text)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_peer_without_the_method_says_so() -> None:
    serving = arpc.serve("mem://0", arpc.Router())
    async with serving as server, arpc.connect(server.address, outgoing=[BearerToken(TOKEN)]) as client:
        with pytest.raises(arpc.MethodNotFound):
            await client.call("/whoami")


async def test_a_connection_that_ends_meanwhile_has_not_sent_the_message() -> None:
    scheme = Counted(None)
    scheme.go.clear()
    async with linked(Auth(scheme), outgoing=[BearerToken(TOKEN)]) as link:
        call = asyncio.create_task(link.client.call("/whoami"))
        await eventually(scheme.asked.copy)
        await link.peer.close()
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await call
        assert not caught.value.sent


async def test_an_answer_of_another_kind_is_an_error() -> None:
    router = arpc.Router()

    @router.handle("/auth")
    async def answer(body: bytes) -> str:
        return "welcome"

    serving = arpc.serve("mem://0", router)
    async with serving as server, arpc.connect(server.address, outgoing=[BearerToken(TOKEN)]) as client:
        with pytest.raises(arpc.DecodeError, match=r"^the answer of /auth: expected Accepted as json"):
            await client.call("/whoami")


async def test_a_call_that_finds_its_identity_expired_is_repeated_once() -> None:
    clock = Clock()
    scheme = Counted(arpc.Identity("ann", expires=clock.now + 60))
    made: list[str] = []

    async def fresh() -> str:
        made.append(f"{len(made):020}")
        return made[-1]

    credentials = BearerToken(fresh, clock=lambda: 0.0)  # whose own clock stands
    async with linked(Auth(scheme, clock=clock), outgoing=[credentials]) as link:
        assert await link.client.call("/whoami", returns=str) == "ann"
        clock.now += 61
        scheme.outcome = arpc.Identity("ann", expires=clock.now + 60)
        calls = [link.client.call("/whoami", returns=str) for _ in range(5)]
        assert await asyncio.gather(*calls) == ["ann"] * 5
        assert [credential.token for credential in scheme.asked] == made
        assert len(made) == 2
        clock.now += 61  # what the scheme gives has expired, too: it is not tried for ever
        with pytest.raises(arpc.RemoteError, match="has expired"):
            await link.client.call("/whoami")
        assert len(made) == 3


async def test_other_errors_are_not_repeated() -> None:
    calls: list[int] = []
    router, auth = arpc.Router(), Auth(tokens())

    @router.handle("/fail")
    async def fail() -> None:
        calls.append(1)
        raise arpc.RpcError("no", arpc.Code.PERMISSION_DENIED)

    router.include(auth.router)
    serving = arpc.serve("mem://0", router, middleware=[auth])
    async with serving as server, arpc.connect(server.address, outgoing=[BearerToken(TOKEN)]) as client:
        with pytest.raises(arpc.RemoteError, match=r"^no$"):
            await client.call("/fail")
    assert len(calls) == 1


async def test_fresh_tokens_are_shown_before_the_last_one_expires() -> None:
    theirs, ours = Clock(), Clock(0.0)
    scheme = Counted(arpc.Identity("ann", expires=theirs.now + 100))
    async with linked(Auth(scheme, clock=theirs), outgoing=[BearerToken(lambda: TOKEN, clock=ours)]) as link:
        await link.client.notify("/whoami")
        ours.now = 89.0
        await link.client.notify("/whoami")
        assert len(scheme.asked) == 1
        ours.now = 91.0
        await link.client.notify("/whoami")
        await eventually(lambda: len(link.notified) == 3)
        assert len(scheme.asked) == 2
    async with linked(Auth(scheme, clock=theirs), outgoing=[BearerToken(TOKEN, clock=ours)]) as link:
        await link.client.notify("/whoami")
        ours.now = 1000.0
        await link.client.notify("/whoami")  # the same token again would not help
        await eventually(lambda: len(link.notified) == 2)
        assert len(scheme.asked) == 3


async def test_by_hand() -> None:
    async with linked(Auth(tokens(), Passwords({"eve": HASH}, roles={"eve": ["a", "b"]}))) as link:
        assert await authenticate(link.client, BearerToken(OTHER)) == arpc.Identity("bob", scheme="bearer")
        eve = await authenticate(link.client, Password("eve", PASSWORD), timeout=5)
        assert eve == arpc.Identity("eve", frozenset({"a", "b"}), "password")
        with pytest.raises(arpc.RemoteError, match="not accepted"):
            await authenticate(link.client, BearerToken(WRONG))


async def test_a_server_shows_its_own_to_a_client() -> None:
    auth, served, router = Auth(tokens()), arpc.Router(), arpc.Router()

    @router.handle("/secret")
    async def secret(ctx: arpc.Context) -> str:
        return ctx.peer.identity.name if ctx.peer.identity is not None else ""

    @served.handle("/ask")
    async def ask(ctx: arpc.Context) -> str:
        return await ctx.peer.call("/secret", returns=str)

    router.include(auth.router)
    serving = arpc.serve("mem://0", served, outgoing=[BearerToken(OTHER)], max_inflight=1)
    async with serving as server, arpc.connect(server.address, router, middleware=[auth]) as client:
        assert await client.call("/ask", returns=str) == "bob"


async def test_credentials_of_ones_own() -> None:
    class Ticket(Credentials):
        async def credential(self) -> Credential:
            return Credential("ticket", token="4711")

    scheme = Fixed(arpc.Identity("ann"), accepts="ticket")
    auth = Auth(scheme, method="Login.run")
    async with linked(auth, outgoing=[Ticket(method="Login.run")]) as link:
        assert await link.client.call("/whoami", returns=str) == "ann"
    with pytest.raises(NotImplementedError, match="Credentials has no credential"):
        await Credentials().credential()


def test_options() -> None:
    wrong: Any = None
    for token in "", wrong:
        with pytest.raises(TypeError, match="a token is a text that is not empty, or a function that returns one"):
            BearerToken(token)
    for user, password in ("", "x"), ("ann", ""):
        with pytest.raises(ValueError, match="a user and a password are not empty"):
            Password(user, password)
    assert TOKEN not in repr(BearerToken(TOKEN))
    assert PASSWORD not in repr(Password("ann", PASSWORD).__dict__)


async def test_they_stand_around_what_goes_out_only() -> None:
    with pytest.raises(arpc.RegistrationError, match="BearerToken stands around what goes out"):
        await arpc.serve("mem://0", arpc.Router(), middleware=[BearerToken(TOKEN)])


async def test_authenticating_by_hand_where_credentials_stand_around_calls() -> None:
    auth = Auth(tokens())
    router = arpc.Router()
    router.include(auth.router)
    async with (
        arpc.serve("mem://0", router, middleware=[auth]) as server,
        arpc.connect(server.address, outgoing=[BearerToken(TOKEN)]) as peer,
    ):
        assert (await authenticate(peer, BearerToken(TOKEN))).name == "ann"
