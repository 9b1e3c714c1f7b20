"""Certificates, made when they are asked for by an authority that nobody trusts by himself."""

from __future__ import annotations

import ssl
from typing import Any

import trustme

AUTHORITY = trustme.CA()


def server_context(authority: trustme.CA = AUTHORITY, *names: str, **given: Any) -> ssl.SSLContext:
    """A server's, with a certificate for ``names``, by default those of this machine; ``given`` as for trustme."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1", "::1", "localhost")), **given).configure_cert(context)
    return context


def client_context(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """A client's that trusts ``authority`` alone."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    return context


SERVER = server_context()
CLIENT = client_context()
