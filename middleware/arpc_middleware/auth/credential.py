"""What a peer shows to prove who it is, and its forms on the wire (docs/middleware-auth.md)."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

import msgspec

__all__ = ["Credential"]

MAX_SIZE: Final = 16_384
"""Bytes of a credential on the wire: more is refused unread, so that nobody has megabytes hashed."""

FORMS: Final = (
    'a credential is {"scheme": "bearer", "token": "..."} or {"scheme": "password", "user": "...", "password": "..."}'
    ' as JSON, or the text "Bearer ..." or "Basic ..."'
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a peer shows: ``scheme`` is ``"bearer"`` with a ``token``, ``"password"`` with ``user`` and ``password``,
    ``"certificate"`` for that of its TLS connection, or one of your own. Its repr tells no secret.
    """

    scheme: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    def encode(self) -> bytes:
        """As JSON, the fields that are set."""
        given = {"scheme": self.scheme, "token": self.token, "user": self.user, "password": self.password}
        return msgspec.json.encode({name: value for name, value in given.items() if value})


_read = msgspec.json.Decoder(Credential)


def parse_body(body: bytes) -> Credential:
    """The body of a call that authenticates: JSON, or the text of an HTTP header. ValueError, which tells no secret."""
    if len(body) > MAX_SIZE:
        raise ValueError(f"a credential has at most {MAX_SIZE} bytes, not {len(body)}")
    try:
        if body.startswith(b"{"):
            return _complete(_read.decode(body))
        return parse_authorization(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{FORMS}: {error}") from None


def parse_authorization(text: object) -> Credential:
    """The value of an ``Authorization`` header (RFC 7235): a scheme and what it needs. ValueError, without secrets."""
    if not isinstance(text, str):
        raise ValueError(FORMS)
    if len(text) > MAX_SIZE:
        raise ValueError(f"a credential has at most {MAX_SIZE} characters, not {len(text)}")
    scheme, _, value = text.strip().partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme == "basic":
        return _complete(_basic(value))
    return _complete(Credential(scheme, token=value))


def _basic(value: str) -> Credential:
    try:
        user, _, password = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        raise ValueError(f"{FORMS}: after Basic comes user:password in base64") from None
    return Credential("password", user=user, password=password)


def _complete(credential: Credential) -> Credential:
    if credential.scheme == "password":
        complete = bool(credential.user and credential.password)
    else:
        complete = credential.scheme == "certificate" or credential.token != ""
    if not complete:
        raise ValueError(FORMS)
    return credential
