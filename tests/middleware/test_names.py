"""Middlewares are loaded when they are first used, by their name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import arpc_middleware
from arpc import middleware
from arpc.middleware import Layer

BESIDE = set(
    "Certificates Credential Passwords RetryBudget Scheme SignedTokens Tokens authenticate hash_password".split()
)
"""What belongs to middlewares, and is none."""


@pytest.mark.parametrize("name", arpc_middleware.__all__)
def test_a_middleware_is_handed_on(name: str) -> None:
    assert name in middleware.__all__
    assert name in dir(arpc_middleware)
    found = getattr(middleware, name)
    assert found is getattr(arpc_middleware, name)
    is_layer = isinstance(found, type) and issubclass(found, Layer)
    assert is_layer == (name not in BESIDE)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"module 'arpc_middleware' has no attribute 'Missing'"):
        arpc_middleware.Missing  # noqa: B018


def test_only_what_is_used_is_loaded() -> None:
    code = "import sys; from arpc.middleware import Retry; sys.exit('arpc_middleware.cache' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_optional_libraries_are_not_imported_before() -> None:
    program = (
        "import sys, arpc.middleware; from arpc.middleware import Logger, Metrics, Tracing;"
        "sys.exit(' '.join({'prometheus_client', 'opentelemetry'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
