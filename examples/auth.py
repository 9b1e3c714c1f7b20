"""Who calls, and what may they do: bearer tokens, a password, and roles for each handler.

python -m examples.auth
"""

from __future__ import annotations

import logging
import secrets

import arpc
from arpc.middleware import Auth, BearerToken, Password, Passwords, Require, Tokens, authenticate, hash_password

ANN, KIOSK = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
tokens = Tokens({ANN: arpc.Identity("ann", frozenset({"baker"})), KIOSK: "kiosk"})
passwords = Passwords({"bob": hash_password("correct horse")}, roles={"bob": ["baker", "owner"]})

auth = Auth(tokens, passwords, public=["/menu"])
router = arpc.Router()
router.include(auth.router)  # serves /auth


@router.handle("/menu")
async def menu() -> list[str]:
    return ["scones", "shortbread"]


@router.handle("/order")
async def order(what: str, ctx: arpc.Context) -> str:
    assert ctx.peer.identity is not None  # or the layer would not have let it through
    return f"{what} for {ctx.peer.identity.name}"


@router.handle("/close", middleware=[Require("owner")])
async def close() -> str:
    return "closed until tomorrow"


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router, middleware=[auth]) as server:
        async with arpc.connect(server.address) as stranger:
            print("the menu is for everybody:", await stranger.call("/menu"))
            try:
                await stranger.call("/order", "scones")
            except arpc.RemoteError as error:
                print(f"{error.code}: {error}")
            try:
                await authenticate(stranger, BearerToken("not-a-token-of-ours"))
            except arpc.RemoteError as error:
                print(f"{error.code}: {error}")

        async with arpc.connect(server.address, outgoing=[BearerToken(ANN)]) as ann:  # shown before the first call
            print(await ann.call("/order", "scones", returns=str))
            try:
                await ann.call("/close")
            except arpc.RemoteError as error:
                print(f"{error.code}: {error}")

        async with arpc.connect(server.address) as client:
            bob = await authenticate(client, Password("bob", "correct horse"))  # the same by hand
            print(f"{bob.name} is {', '.join(sorted(bob.roles))}:", await client.call("/close", returns=str))


if __name__ == "__main__":
    logging.getLogger("arpc").addHandler(logging.NullHandler())  # or the failed attempt would be shown on stderr
    arpc.run(main())
