"""Roles for each handler."""

from __future__ import annotations

import time
from typing import Any

import pytest

import arpc
from arpc.middleware import Auth, Require, checked
from tests.middleware.authenticating import OTHER, TOKEN, bearer, service, tokens


class Admin:
    @arpc.rpc(middleware=[Require("admin")])
    async def stop(self) -> str:
        return "stopped"

    @arpc.rpc
    async def status(self) -> str:
        return "runs"


def router() -> arpc.Router:
    made = arpc.Router()

    @made.handle("/both", middleware=[Require("admin", "reader", "auditor")])
    async def both() -> int:
        return 1

    @made.handle("/one", middleware=[Require.any_of("admin", "auditor")])
    async def one() -> int:
        return 2

    @made.handle("/anybody", middleware=[Require()])
    async def anybody() -> int:
        return 3

    @made.stream("/watch", middleware=[Require("admin")])
    async def watch(stream: arpc.Stream[int, int]) -> None:
        await stream.send(1)

    guarded = arpc.Router(middleware=[Require("admin")])
    guarded.include(service([]))
    made.include(guarded, "/admin")
    made.register(Admin())
    return made


async def refused(call: Any, code: str, text: str, roles: list[str] | None = None) -> None:
    with pytest.raises(arpc.RemoteError) as caught:
        await call
    assert (caught.value.message, caught.value.code) == (text, code)
    assert caught.value.details == (roles and {"roles": roles})


async def test_handlers_routers_services_and_streams() -> None:
    auth, routes = Auth(tokens()), router()
    routes.include(auth.router)
    serving = arpc.serve("mem://0", routes, middleware=[auth])
    async with serving as server, arpc.connect(server.address) as ann, arpc.connect(server.address) as bob:
        await ann.call("/auth", bearer(TOKEN))
        await bob.call("/auth", bearer(OTHER))
        await refused(ann.call("/both"), "permission_denied", "/both needs the role 'auditor'", ["auditor"])
        missing = ["admin", "auditor", "reader"]
        text = "/both needs the roles 'admin', 'auditor', 'reader'"
        await refused(bob.call("/both"), "permission_denied", text, missing)
        text = "/one needs one of the roles 'admin', 'auditor'"
        await refused(bob.call("/one"), "permission_denied", text, ["admin", "auditor"])
        assert [await ann.call("/one"), await ann.call("/anybody"), await bob.call("/anybody")] == [2, 3, 3]

        assert await ann.call("/admin/whoami", returns=str) == "ann"
        text = "/admin/whoami needs the role 'admin'"
        await refused(bob.call("/admin/whoami"), "permission_denied", text, ["admin"])

        assert await ann.service(Admin).stop() == "stopped"
        assert await bob.service(Admin).status() == "runs"
        text = "Admin.stop needs the role 'admin'"
        await refused(bob.service(Admin).stop(), "permission_denied", text, ["admin"])

        async with ann.open_stream("/watch", returns=int) as stream:
            assert await stream.recv() == 1
        with pytest.raises(arpc.StreamReset, match=r"^/watch needs the role 'admin'$"):
            async with bob.open_stream("/watch", returns=int) as stream:
                await stream.recv()


async def test_without_an_identity_or_with_one_that_has_ended() -> None:
    async with arpc.serve("mem://0", router()) as server, arpc.connect(server.address) as client:
        text = "/one is for those who have authenticated"
        await refused(client.call("/one"), "unauthenticated", text)
        (peer,) = server.peers
        peer.identity = arpc.Identity("ann", frozenset({"admin"}), expires=time.time() + 60)
        assert await client.call("/one") == 2
        peer.identity = arpc.Identity("ann", frozenset({"admin"}), expires=time.time() - 1)
        await refused(client.call("/one"), "unauthenticated", text)


def test_what_are_no_roles() -> None:
    wrong: Any = ["admin"]
    with pytest.raises(TypeError, match=r"a role is a text: .*, not \['admin'\]"):
        Require(wrong)
    with pytest.raises(TypeError, match="not ''"):
        Require.any_of("")
    with pytest.raises(ValueError, match="any_of needs the roles"):
        Require.any_of()
    with pytest.raises(arpc.RegistrationError, match="Require stands around handlers"):
        checked([Require("admin")], outgoing=True)
