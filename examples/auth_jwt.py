"""Signed tokens: one service signs, others need its public key alone; what happens when a token expires.

Needs the extra jwt.

python -m examples.auth_jwt
"""

from __future__ import annotations

import logging
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import arpc
from arpc.middleware import Auth, BearerToken, Require, SignedTokens, authenticate

PRIVATE = Ed25519PrivateKey.generate()  # of the one who signs
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

signed: list[str] = []


def sign(seconds: float) -> str:
    """What a login service would do."""
    claims = {"sub": "ann", "roles": ["baker"], "aud": "bakery", "exp": time.time() + seconds}
    signed.append(jwt.encode(claims, PRIVATE, "EdDSA", headers={"kid": "2026"}))
    return signed[-1]


auth = Auth(SignedTokens({"2026": PUBLIC}, algorithms=["EdDSA"], audience="bakery", leeway=0))
router = arpc.Router()
router.include(auth.router)


@router.handle("/bake", middleware=[Require("baker")])
async def bake(ctx: arpc.Context) -> str:
    identity = ctx.peer.identity
    assert identity is not None
    return f"{identity.name} bakes, with a token for {identity.claims['aud']}"


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router, middleware=[auth]) as server:
        # A function that gives a fresh token each time: it is asked again before the last one expires.
        async with arpc.connect(server.address, outgoing=[BearerToken(lambda: sign(0.5))]) as peer:
            print(await peer.call("/bake", returns=str))
            end = time.monotonic() + 1.2
            while time.monotonic() < end:
                await peer.call("/bake", returns=str)
            print("the connection outlived its first token:", len(signed) > 1)

        async with arpc.connect(server.address) as late:
            for token in sign(-95), sign(60)[:-2]:
                try:
                    await authenticate(late, BearerToken(token))
                except arpc.RemoteError as error:
                    print(error)


if __name__ == "__main__":
    logging.getLogger("arpc").addHandler(logging.NullHandler())  # or failed attempts would be shown on stderr
    arpc.run(main())
