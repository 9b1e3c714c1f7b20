"""The middlewares of arpc. Each is loaded when it is first used; users import them from :mod:`arpc.middleware`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auth.calling import BearerToken, Credentials, Password, authenticate
    from .auth.certificates import Certificates
    from .auth.credential import Credential
    from .auth.layer import Auth
    from .auth.passwords import Passwords, hash_password
    from .auth.roles import Require
    from .auth.scheme import Scheme
    from .auth.signed import SignedTokens
    from .auth.tokens import Tokens
    from .timeout import Timeout

__all__ = [
    "Auth",
    "BearerToken",
    "Certificates",
    "Credential",
    "Credentials",
    "Password",
    "Passwords",
    "Require",
    "Scheme",
    "SignedTokens",
    "Timeout",
    "Tokens",
    "authenticate",
    "hash_password",
]

_MODULES = {
    "Auth": "auth.layer",
    "BearerToken": "auth.calling",
    "Certificates": "auth.certificates",
    "Credential": "auth.credential",
    "Credentials": "auth.calling",
    "Password": "auth.calling",
    "Passwords": "auth.passwords",
    "Require": "auth.roles",
    "Scheme": "auth.scheme",
    "SignedTokens": "auth.signed",
    "Timeout": "timeout",
    "Tokens": "auth.tokens",
    "authenticate": "auth.calling",
    "hash_password": "auth.passwords",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # the next look-up doesn't come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
