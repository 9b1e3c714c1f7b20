"""Signed tokens (JSON Web Tokens, RFC 7519). Needs the extra ``jwt``, loaded when the scheme is made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from arpc.codes import Code
from arpc.errors import RpcError
from arpc.identity import Identity

from .credential import Credential

if TYPE_CHECKING:
    from arpc.context import Context

log = logging.getLogger("arpc")

__all__ = ["SignedTokens"]

MIN_SECRET: Final = 32
"""Bytes of a shared secret: what HS256 gives (RFC 7518, 3.2)."""


class Key(NamedTuple):
    """A key that is ready to verify, with the algorithms that may use it."""

    key: Any
    algorithms: list[str]


class SignedTokens:
    """Bearer tokens that whoever holds the key has signed: nothing has to be looked up.

    ``keys``: a shared secret (HS256 and its kin; at least 32 bytes), or a public key in PEM (RS256, ES256, EdDSA, ...);
    or several by their ``kid``, so that a new key can be added before the old one goes. ``algorithms``: those that are
    accepted, whatever the token says of itself; never both kinds, and never ``none``. ``audience``, ``issuer``: what
    ``aud`` and ``iss`` must be; a token that names an audience is refused where none is expected. ``leeway``: seconds
    by which the clocks of issuer and server may differ. ``name_claim``, ``roles_claim``: where the identity's name is,
    and its roles, a list or a text with spaces between them.

    A token must say when it expires (``exp``). The identity ends then, with the leeway; its ``claims`` are the token's.
    Raises ImportError without the extra, ValueError for keys and algorithms that do not fit.
    """

    accepts = "bearer"

    def __init__(
        self,
        keys: Any,
        *,
        algorithms: Iterable[str],
        audience: str | Iterable[str] | None = None,
        issuer: str | Iterable[str] | None = None,
        leeway: float = 30.0,
        roles_claim: str = "roles",
        name_claim: str = "sub",
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ImportError(
                "signed tokens need the extra jwt of arpc, or else: pip install 'PyJWT[crypto]'", name=error.name
            ) from error
        if not isinstance(cast(object, leeway), (int, float)) or not 0 <= leeway <= 86_400:
            raise ValueError(f"leeway is 0 to 86400 seconds, not {leeway!r}")
        allowed = _checked_algorithms(algorithms)
        named = cast("Mapping[str | None, Any]", keys if isinstance(keys, Mapping) else {None: keys})
        if not named:
            raise ValueError("no keys: give a secret or a public key, or several by their kid")
        self._keys = {kid: _prepared(jwt, kid, key, allowed) for kid, key in named.items()}
        self._jwt = jwt
        self._audience = audience if audience is None or isinstance(audience, str) else list(audience)
        self._issuer = issuer if issuer is None or isinstance(issuer, str) else list(issuer)
        self._leeway = leeway
        self._roles_claim = roles_claim
        self._name_claim = name_claim
        self._clock = clock

    async def authenticate(self, credential: Credential, ctx: Context, /) -> Identity | None:
        """Whom the token names. RpcError ``unauthenticated`` for a token that is genuine, and out of its time."""
        claims = self._verified(credential.token)
        if claims is None:
            return None
        ends = self._check_times(claims)
        name, roles = claims.get(self._name_claim), claims.get(self._roles_claim, [])
        if isinstance(roles, str):
            roles = roles.split()
        if not isinstance(name, str) or not name:
            raise _refused(f"the token has no text as its {self._name_claim!r}, which names who it is for")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in cast("list[object]", roles)):
            raise _refused(f"the token's {self._roles_claim!r} is neither a list of texts nor a text")
        return Identity(name, frozenset(cast("list[str]", roles)), self.accepts, MappingProxyType(claims), ends)

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is genuine and meant for us, whatever its times; None for any other."""
        jwt = self._jwt
        try:
            key = self._key_of(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=key.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},  # _check_times does
            )
            return claims
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            log.info("a signed token is not accepted: %s", type(error).__name__)  # its text may quote the token
            return None

    def _key_of(self, kid: str | None) -> Key | None:
        """The key that a token names; a token that names none can only mean the only one."""
        if None in self._keys:
            return self._keys[None]
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        """When the token ends, its leeway included, in seconds of UNIX time."""
        now = self._clock()
        leeway = f"(leeway {self._leeway:g} s)"
        if "exp" not in claims:
            raise _refused("the token does not say when it expires: it needs exp")
        for claim in "nbf", "iat":
            if claim in claims and (early := _seconds(claims, claim) - now) > self._leeway:
                raise _refused(f"the token is not valid before in {early:.0f} s {leeway}: check the clocks")
        expires = _seconds(claims, "exp")
        if (late := now - expires) >= self._leeway:
            raise _refused(f"the token expired {late:.0f} s ago {leeway}: check the clocks, or get a new token")
        return expires + self._leeway


def _seconds(claims: Mapping[str, Any], claim: str) -> float:
    value = claims[claim]
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    except OverflowError:  # an int beyond all floats
        pass
    raise _refused(f"the token's {claim} is not a number of seconds")


def _refused(text: str) -> RpcError:
    return RpcError(text, Code.UNAUTHENTICATED)


def _checked_algorithms(algorithms: Iterable[str]) -> list[str]:
    if isinstance(algorithms, str):
        raise ValueError(f'algorithms is a list: ["{algorithms}"]')
    allowed = list(algorithms)
    if not allowed:
        raise ValueError('no algorithms: name those that are accepted, such as ["ES256"]')
    if any(name.lower() == "none" for name in allowed):
        raise ValueError("the algorithm none proves nothing: leave it out")
    if len({name.startswith("HS") for name in allowed}) > 1:
        raise ValueError(
            "algorithms with a shared secret (HS...) and with public keys cannot be mixed, or a public key could be"
            " taken for a secret: make two SignedTokens"
        )
    return allowed


def _prepared(jwt: Any, kid: str | None, key: Any, algorithms: list[str]) -> Key:
    """The key as the algorithms use it that it fits. ValueError, which shows nothing of it."""
    which = "the key" if kid is None else f"the key {kid!r}"
    fits: list[str] = []
    ready: Any = None
    for name in algorithms:
        try:
            algorithm = jwt.get_algorithm_by_name(name)
        except NotImplementedError:
            raise ValueError(
                f"there is no algorithm {name!r}; those with public keys need the extra jwt of arpc, or else:"
                " pip install 'PyJWT[crypto]'"
            ) from None
        try:
            ready = algorithm.prepare_key(key)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            continue
        fits.append(name)
    if not fits:
        raise ValueError(f"{which} fits none of {', '.join(algorithms)}")
    if isinstance(ready, bytes) and len(ready) < MIN_SECRET:
        raise ValueError(f"{which} has {len(ready)} bytes, and a secret has at least {MIN_SECRET}")
    if hasattr(ready, "private_bytes"):
        raise ValueError(f"{which} is a private key: give its public one, which is enough to verify")
    return Key(ready, fits)
