"""A Go client authenticates to a Python server: a call with JSON, which needs no extension of the protocol."""

from __future__ import annotations

import arpc
from arpc.middleware import Auth
from tests.interop.conformance import result_of
from tests.interop.conftest import StartGo
from tests.interop.python_service import PythonService
from tests.middleware.authenticating import tokens


async def test_go_shows_a_token(start_go: StartGo, service: PythonService) -> None:
    auth = Auth(tokens())
    service.router.include(auth.router)
    async with arpc.serve("tcp://127.0.0.1:0", service.router, middleware=[auth]) as server:
        go = start_go("client", server.address, "authenticate")
        result = result_of(await go.line())
        assert await go.ended() == 0
    assert result.error == ""
    assert result.value == [
        "authenticate first: call /auth with a bearer token",
        "the credentials are not accepted",
        "ann",
        "admin",
        "reader",
        "grüß dich ✓, said Python",
    ]
