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
    from .breaker import CircuitBreaker
    from .budget import RetryBudget
    from .cache import Cache
    from .concurrency import ConcurrencyLimit
    from .graceful import Graceful
    from .hedge import Hedge
    from .loadshed import LoadShed
    from .logger import Logger
    from .metrics import Metrics
    from .ratelimit import RateLimit
    from .recover import Recover
    from .retry import Retry
    from .timeout import Timeout
    from .tracing import Tracing
    from .validate import Validate

__all__ = [
    "Auth",
    "BearerToken",
    "Cache",
    "Certificates",
    "CircuitBreaker",
    "ConcurrencyLimit",
    "Credential",
    "Credentials",
    "Graceful",
    "Hedge",
    "LoadShed",
    "Logger",
    "Metrics",
    "Password",
    "Passwords",
    "RateLimit",
    "Recover",
    "Require",
    "Retry",
    "RetryBudget",
    "Scheme",
    "SignedTokens",
    "Timeout",
    "Tokens",
    "Tracing",
    "Validate",
    "authenticate",
    "hash_password",
]

_MODULES = {
    "Auth": "auth.layer",
    "BearerToken": "auth.calling",
    "Cache": "cache",
    "Certificates": "auth.certificates",
    "CircuitBreaker": "breaker",
    "ConcurrencyLimit": "concurrency",
    "Credential": "auth.credential",
    "Credentials": "auth.calling",
    "Graceful": "graceful",
    "Hedge": "hedge",
    "LoadShed": "loadshed",
    "Logger": "logger",
    "Metrics": "metrics",
    "Password": "auth.calling",
    "Passwords": "auth.passwords",
    "RateLimit": "ratelimit",
    "Recover": "recover",
    "Require": "auth.roles",
    "Retry": "retry",
    "RetryBudget": "budget",
    "Scheme": "auth.scheme",
    "SignedTokens": "auth.signed",
    "Timeout": "timeout",
    "Tokens": "auth.tokens",
    "Tracing": "tracing",
    "Validate": "validate",
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
