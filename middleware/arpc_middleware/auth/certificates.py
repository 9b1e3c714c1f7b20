"""Peers that TLS has identified: no call and no secret are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from arpc.identity import Identity

from .credential import Credential

if TYPE_CHECKING:
    from arpc.context import Context

__all__ = ["Certificates"]


class Certificates:
    """Takes the certificate that TLS has verified for whom it names.

    ``identity``: from the certificate, in the form of :meth:`ssl.SSLSocket.getpeercert`, to an identity, or None for
    nobody. By default it is named as the subject's common name or, without one, as the first subject alternative name;
    it has no roles. Trust only an authority that gives each name to whom it belongs: for clients, your own.
    """

    accepts = "certificate"

    def __init__(self, identity: Callable[[Mapping[str, Any]], Identity | None] | None = None) -> None:
        self._identity = identity or named

    async def authenticate(self, credential: Credential, ctx: Context, /) -> Identity | None:
        """Whom the connection's certificate names; None without one."""
        certificate = ctx.peer.certificate
        return None if certificate is None else self._identity(MappingProxyType(certificate))


def named(certificate: Mapping[str, Any]) -> Identity | None:
    """The common name of a certificate's subject, else its first subject alternative name."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    names += [value for _, value in certificate.get("subjectAltName", ())]
    return Identity(names[0], scheme="certificate", claims=certificate) if names else None
