"""Signed tokens."""

from __future__ import annotations

import asyncio
import hmac
import sys
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import arpc
from arpc.middleware import Auth, Credential, SignedTokens
from tests.middleware.authenticating import Clock, bearer, beside, linked

SECRET = "a-shared-secret-of-at-least-32-bytes"
NOW = 1_000_000.0
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC = {
    name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for name, key in PRIVATE.items()
}
NOT_ACCEPTED = "the credentials are not accepted"


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": NOW + 60, "roles": ["admin"], **more}


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers=None if kid is None else {"kid": kid})


def scheme(keys: Any = SECRET, clock: Any = None, **options: Any) -> SignedTokens:
    return SignedTokens(keys, clock=clock or Clock(NOW), **{"algorithms": ["HS256"], **options})


async def judged(tokens: SignedTokens, token: str) -> arpc.Identity | str:
    """The identity that a server gives for it, or the text with which it refuses."""
    async with linked(Auth(tokens, clock=tokens._clock)) as link:
        answers = await asyncio.gather(link.client.call("/auth", bearer(token)), return_exceptions=True)
        answer: Any = answers[0]
        if isinstance(answer, arpc.RemoteError):
            assert answer.code == "unauthenticated"
            assert token not in answer.message
            return str(answer.message)
        assert link.peer.identity is not None
        return link.peer.identity


async def test_an_identity_of_claims() -> None:
    found = await judged(scheme(), signed(dept="tea"))
    assert isinstance(found, arpc.Identity)
    assert (found.name, found.roles, found.scheme) == ("ann", frozenset({"admin"}), "bearer")
    assert (found.claims["dept"], found.expires) == ("tea", NOW + 90)


@pytest.mark.parametrize("algorithm", sorted(PRIVATE))
async def test_public_keys(algorithm: str) -> None:
    tokens = scheme(PUBLIC[algorithm], algorithms=[algorithm])
    assert isinstance(await judged(tokens, signed(PRIVATE[algorithm], algorithm)), arpc.Identity)
    others = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}
    other = others.get(algorithm) or ed25519.Ed25519PrivateKey.generate()
    assert await judged(tokens, signed(other, algorithm)) == NOT_ACCEPTED


async def test_keys_by_kid() -> None:
    keys = {"old": SECRET, "new": "another-secret-of-at-least-32-bytes"}
    tokens = scheme(keys)
    for kid, key in keys.items():
        assert isinstance(await judged(tokens, signed(key, kid=kid)), arpc.Identity)
    assert await judged(tokens, signed(SECRET, kid="new")) == NOT_ACCEPTED
    assert await judged(tokens, signed(SECRET, kid="none of them")) == NOT_ACCEPTED
    assert await judged(tokens, signed(SECRET)) == NOT_ACCEPTED  # which of the two?
    assert isinstance(await judged(scheme({"only": SECRET}), signed(SECRET)), arpc.Identity)
    assert isinstance(await judged(scheme(), signed(kid="whatever it says")), arpc.Identity)


async def test_keys_of_several_kinds_by_kid() -> None:
    tokens = scheme({"r": PUBLIC["RS256"], "e": PUBLIC["ES256"]}, algorithms=["RS256", "ES256"])
    assert isinstance(await judged(tokens, signed(PRIVATE["ES256"], "ES256", "e")), arpc.Identity)
    assert await judged(tokens, signed(PRIVATE["ES256"], "ES256", "r")) == NOT_ACCEPTED


async def test_no_algorithm_and_another_one_are_refused() -> None:
    assert await judged(scheme(), jwt.encode(claims(), "", "none")) == NOT_ACCEPTED
    assert await judged(scheme(), signed(algorithm="HS512", key=SECRET * 2)) == NOT_ACCEPTED
    # The public key, which everybody knows, as if it were a shared secret.
    header = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    body = urlsafe_b64encode(b'{"sub":"ann","exp":1000060}').rstrip(b"=")
    mac = hmac.digest(PUBLIC["RS256"].encode(), header + b"." + body, "sha256")
    forged = b".".join([header, body, urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    assert await judged(scheme(PUBLIC["RS256"], algorithms=["RS256"]), forged) == NOT_ACCEPTED


async def test_audience_and_issuer() -> None:
    tokens = scheme(audience="tea", issuer=["https://a.example", "https://b.example"])
    good: dict[str, Any] = {"aud": ["tea", "cake"], "iss": "https://b.example"}
    assert isinstance(await judged(tokens, signed(**good)), arpc.Identity)
    for wrong in {"aud": "cake"}, {"iss": "https://c.example"}, {"aud": None}:
        assert await judged(tokens, signed(**{**good, **wrong})) == NOT_ACCEPTED
    assert await judged(scheme(), signed(aud="tea")) == NOT_ACCEPTED


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"exp": NOW - 95}, "the token expired 95 s ago (leeway 30 s): check the clocks, or get a new token"),
        ({"exp": NOW - 30}, "the token expired 30 s ago (leeway 30 s): check the clocks, or get a new token"),
        ({"exp": NOW - 29}, None),
        ({"nbf": NOW + 120}, "the token is not valid before in 120 s (leeway 30 s): check the clocks"),
        ({"iat": NOW + 31}, "the token is not valid before in 31 s (leeway 30 s): check the clocks"),
        ({"nbf": NOW + 30, "iat": NOW - 1000}, None),
        ({"exp": "soon"}, "the token's exp is not a number of seconds"),
        ({"exp": True}, "the token's exp is not a number of seconds"),
        ({"exp": None}, "the token's exp is not a number of seconds"),
        ({"exp": 10**400}, "the token's exp is not a number of seconds"),
        ({"nbf": []}, "the token's nbf is not a number of seconds"),
    ],
)
async def test_clocks(times: dict[str, Any], text: str | None) -> None:
    token = jwt.api_jws.encode(jwt.PyJWT()._encode_payload(claims(**times)), SECRET, "HS256")
    found = await judged(scheme(), token)
    assert found == text if text else isinstance(found, arpc.Identity)


async def test_a_token_that_never_expires() -> None:
    token = jwt.encode({"sub": "ann"}, SECRET, "HS256")
    assert await judged(scheme(), token) == "the token does not say when it expires: it needs exp"


@pytest.mark.parametrize(("roles", "found"), [("read write", {"read", "write"}), (None, None), ([1], None), ({}, None)])
async def test_roles_in_their_claim(roles: Any, found: set[str] | None) -> None:
    given = await judged(scheme(roles_claim="scope"), signed(scope=roles))
    if found is None:
        assert given == "the token's 'scope' is neither a list of texts nor a text"
    else:
        assert isinstance(given, arpc.Identity)
        assert given.roles == found


async def test_a_name_in_its_claim() -> None:
    found = await judged(scheme(name_claim="email"), signed(email="ann@example.org"))
    assert isinstance(found, arpc.Identity)
    assert found.name == "ann@example.org"
    text = "the token has no text as its 'email', which names who it is for"
    for more in {}, {"email": ""}, {"email": 7}:
        wrong: dict[str, Any] = {**more}
        assert await judged(scheme(name_claim="email"), signed(**wrong)) == text


async def test_an_identity_ends_with_its_token() -> None:
    clock = Clock(NOW)
    async with linked(Auth(scheme(clock=clock), clock=clock)) as link:
        answer = await link.client.call("/auth", bearer(signed()))
        assert answer == {"name": "ann", "roles": ["admin"], "expires_in": 90.0}
        clock.now += 89
        assert await link.client.call("/whoami", returns=str) == "ann"
        clock.now += 1
        with pytest.raises(arpc.RemoteError, match=r"^what this connection has authenticated with has expired: "):
            await link.client.call("/whoami", returns=str)
        with pytest.raises(arpc.RemoteError, match=r"^the token expired 30 s ago"):
            await link.client.call("/whoami", returns=str, metadata=beside(signed()))
        assert await link.client.call("/whoami", returns=str, metadata=beside(signed(exp=NOW + 1000))) == "ann"


@given(
    st.text(max_size=60)
    | st.tuples(st.binary(), st.binary(), st.binary()).map(
        lambda parts: ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    )
)
def test_whatever_is_no_token_proves_nothing(token: str) -> None:
    assert scheme()._verified(token) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_whatever_a_genuine_token_claims_is_an_identity_or_one_documented_error(value: Any) -> None:
    for claim in "sub", "exp", "nbf", "iat", "roles", "aud", "iss", "jti":
        token = jwt.api_jws.encode(jwt.PyJWT()._encode_payload(claims(**{claim: value})), SECRET, "HS256")
        assert outcome(token) in ("an identity", "None", "unauthenticated")


def outcome(token: str) -> str:
    """What becomes of a token."""
    nowhere: Any = None
    try:
        scheme().authenticate(Credential("bearer", token=token), nowhere).send(None)
    except StopIteration as stop:
        return "an identity" if isinstance(stop.value, arpc.Identity) else str(stop.value)
    except arpc.RpcError as error:
        return str(error.code)
    return "it waits"


def private(algorithm: str) -> bytes:
    pem: bytes = PRIVATE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


@pytest.mark.parametrize(
    ("keys", "options", "text"),
    [
        ("secret-of-few-bytes", {}, "the key has 19 bytes, and a secret has at least 32"),
        ({"k1": b"secret"}, {}, "the key 'k1' has 6 bytes"),
        ({}, {}, "no keys: "),
        (PUBLIC["RS256"], {}, "the key fits none of HS256"),
        (SECRET, {"algorithms": ["RS256", "EdDSA"]}, "the key fits none of RS256, EdDSA"),
        (None, {}, "the key fits none of HS256"),
        (private("RS256"), {"algorithms": ["RS256"]}, "the key is a private key: give its public one"),
        (private("EdDSA"), {"algorithms": ["EdDSA"]}, "the key is a private key: give its public one"),
        (SECRET, {"algorithms": "HS256"}, r'algorithms is a list: \["HS256"\]'),
        (SECRET, {"algorithms": []}, "no algorithms: "),
        (SECRET, {"algorithms": ["HS256", "None"]}, "the algorithm none proves nothing"),
        (SECRET, {"algorithms": ["HS256", "RS256"]}, "cannot be mixed"),
        (SECRET, {"algorithms": ["XX999"]}, "there is no algorithm 'XX999'.*PyJWT"),
        (SECRET, {"leeway": -1}, "leeway is 0 to 86400 seconds, not -1"),
        (SECRET, {"leeway": "30"}, "leeway is 0 to 86400 seconds, not '30'"),
    ],
)
def test_options(keys: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        scheme(keys, **options)
    assert "secret-of" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ImportError, match=r"need the extra jwt of arpc, or else: pip install 'PyJWT\[crypto\]'"):
        scheme()
