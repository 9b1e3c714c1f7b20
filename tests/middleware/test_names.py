"""Middlewares are loaded when they are first used, by their name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import arpc_middleware
from arpc import middleware
from arpc.middleware import Layer


@pytest.mark.parametrize("name", arpc_middleware.__all__)
def test_a_middleware_is_handed_on(name: str) -> None:
    assert name in middleware.__all__
    assert name in dir(arpc_middleware)
    found = getattr(middleware, name)
    assert found is getattr(arpc_middleware, name)
    assert issubclass(found, Layer) or name == "RetryBudget"


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"module 'arpc_middleware' has no attribute 'Missing'"):
        arpc_middleware.Missing  # noqa: B018


def test_only_what_is_used_is_loaded() -> None:
    code = "import sys; from arpc.middleware import Retry; sys.exit('arpc_middleware.cache' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
