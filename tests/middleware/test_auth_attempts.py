"""Failed attempts: counted, logged without secrets, bounded."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, Credential, Passwords, Tokens
from tests.middleware.authenticating import HASH, OTHER, PASSWORD, TOKEN, Fixed, bearer, beside, linked, tokens
from tests.tools import eventually

WRONG = "a-wrong-token-\"quoted'-\\-0123"


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_too_many_failures_close_the_connection_after_the_answer(address: str) -> None:
    async with linked(Auth(tokens(), attempts=3), address=address) as link:
        texts: list[str] = []
        for _ in range(3):
            with pytest.raises(arpc.RemoteError) as caught:
                await link.client.call("/auth", bearer(WRONG))
            texts.append(caught.value.message)
        assert texts[:2] == ["the credentials are not accepted"] * 2
        assert texts[2] == "the credentials are not accepted; that was the last attempt here"
        await eventually(lambda: link.client.closed)
        await eventually(lambda: not link.server.peers)


async def test_all_attempts_at_once_are_judged_one_by_one_until_the_bound() -> None:
    scheme = Fixed(None)
    async with linked(Auth(scheme, attempts=3)) as link:
        calls = [link.client.call("/auth", bearer(f"{n:020}")) for n in range(10)]
        calls += [link.client.call("/whoami", metadata=beside(TOKEN)) for _ in range(3)]
        found: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, (arpc.RemoteError, arpc.ConnectionClosed)) for error in found)
        assert len(scheme.asked) == 3
        await eventually(lambda: link.client.closed)


async def test_a_success_begins_the_count_again() -> None:
    async with linked(Auth(tokens(), attempts=2)) as link:
        for _ in range(3):
            with pytest.raises(arpc.RemoteError, match=r"not accepted$"):
                await link.client.call("/auth", bearer(WRONG))
            await link.client.call("/auth", bearer(TOKEN))
        with pytest.raises(arpc.RemoteError, match=r"not accepted$"):
            await link.client.call("/auth", bearer(WRONG))
        assert await link.client.call("/whoami", returns=str) == "ann"  # a failed attempt takes nothing away


async def test_attempts_that_are_cancelled_count() -> None:
    class Endless(Fixed):
        async def authenticate(self, credential: Credential, ctx: arpc.Context, /) -> None:
            self.asked.append(credential)
            await asyncio.Event().wait()

    scheme = Endless(None)
    async with linked(Auth(scheme, attempts=2)) as link:
        for _ in range(2):
            scheme.asked.clear()
            call = asyncio.create_task(link.client.call("/auth", bearer(WRONG)))
            await eventually(scheme.asked.copy)
            call.cancel()
        with pytest.raises(arpc.RemoteError, match="too many attempts have failed on this connection"):
            await link.client.call("/auth", bearer(WRONG))
        await eventually(lambda: link.client.closed)


async def test_a_stream_and_a_notify_can_be_the_last_attempt() -> None:
    async with linked(Auth(tokens(), attempts=1)) as link:
        with pytest.raises((arpc.StreamReset, arpc.ConnectionClosed)):
            async with link.client.open_stream("/count", returns=int, metadata=beside(WRONG)) as stream:
                await stream.recv()
        await eventually(lambda: link.client.closed)
    async with linked(Auth(tokens(), attempts=1)) as link:
        await link.client.notify("/auth", bearer(WRONG))
        await eventually(lambda: link.client.closed)


async def test_a_failure_is_logged_once_with_who_and_how(caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth(tokens(), Passwords({"ann": HASH}))
    async with linked(auth, address="tcp://127.0.0.1:0") as link:
        where = link.peer.address
        for body in (
            bearer(WRONG),
            {"scheme": "password", "user": "ann", "password": WRONG},
            {"scheme": WRONG, "token": WRONG},
        ):
            with pytest.raises(arpc.RemoteError) as caught:
                await link.client.call("/auth", body)
            assert WRONG not in str(caught.value)
    assert [record.getMessage() for record in caplog.records] == [
        f"{where} failed to authenticate by bearer, attempt 1 of 5",
        f"{where} failed to authenticate by password as 'ann', attempt 2 of 5",
        f"{where} failed to authenticate by something else, attempt 3 of 5",
    ]


@pytest.mark.parametrize("outcome", [KeyError(WRONG), True, RuntimeError(f"no row for {WRONG}")])
async def test_a_scheme_that_fails_is_logged_without_the_secret(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with linked(Auth(Fixed(outcome), attempts=1)) as link:
        for _ in range(2):  # it is not the credential's fault
            with pytest.raises(arpc.RemoteError, match=r"^credentials cannot be checked now: try again$") as caught:
                await link.client.call("/auth", bearer(WRONG))
            assert caught.value.code == "unavailable"
    assert "Fixed failed: Traceback" in caplog.text
    assert WRONG not in caplog.text
    assert repr(WRONG)[1:-1] not in caplog.text


async def test_an_error_of_a_scheme_with_another_code_passes() -> None:
    error = arpc.RpcError("come back later", arpc.Code.OVERLOADED, {"retry_after": 2})
    async with linked(Auth(Fixed(error), attempts=1)) as link:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError, match=r"^come back later$") as caught:
                await link.client.call("/auth", bearer(WRONG))
            assert (caught.value.code, caught.value.retry_after) == ("overloaded", 2.0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "a credential is"),
        (b"\xff\xfe", "a credential is"),
        (TOKEN, "a credential is"),
        ("Bearer", "a credential is"),
        (b'{"scheme"', "Input data was truncated"),
        ({}, "missing required field `scheme`"),
        ({"scheme": "bearer"}, "a credential is"),
        ({"scheme": "bearer", "token": 7}, r"Expected `str`, got `int` - at `\$.token`"),
        ({"scheme": "password", "user": "ann"}, "a credential is"),
        ({"scheme": "bearer", "token": "x" * 20_000}, "a credential has at most 16384 bytes, not 2"),
        (b"{" * 10_000, "a credential is"),
    ],
)
async def test_what_is_no_credential_is_no_attempt(body: Any, says: str) -> None:
    async with linked(Auth(tokens(), attempts=1)) as link:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError, match=says) as caught:
                await link.client.call("/auth", body)
            assert caught.value.code == "invalid_argument"
            assert TOKEN not in caught.value.message


async def test_no_secret_in_any_repr_error_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    auth = Auth(tokens(), Passwords({"ann": HASH}))
    shown: list[str] = [repr(auth), repr(auth.__dict__), repr(Tokens({TOKEN: "ann"}).__dict__)]
    shown += [repr(Credential("bearer", token=TOKEN)), repr(Credential("password", user="ann", password=PASSWORD))]
    async with linked(auth) as link:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError) as caught:
                await link.client.call("/auth", bearer(OTHER[:-1]))
            shown += [repr(caught.value), repr(caught.value.details)]
        await link.client.call("/auth", bearer(TOKEN))
        await link.client.call("/auth", {"scheme": "password", "user": "ann", "password": PASSWORD})
        shown += [repr(link.peer.identity), repr(link.peer), repr(link.server)]
    text = "\n".join([*shown, caplog.text])
    assert [secret for secret in (TOKEN, OTHER[:-1], PASSWORD) if secret in text] == []


async def test_nothing_is_kept_of_connections_that_are_gone() -> None:
    auth = Auth(tokens())
    async with linked(auth) as link:
        await link.client.call("/auth", bearer(TOKEN))
        assert len(auth._by_peer) == 1
    del link
    gc.collect()
    assert len(auth._by_peer) == 0
