"""What tests share and no fixture gives: what may be missing on a machine, and waiting for a condition."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

import pytest

CI_VARIABLE = "ARPC_CI"
"""Set to 1 where everything is expected to be installed: what is missing is a failure there, not a skip."""

POLL = 0.002


def missing(reason: str) -> NoReturn:
    """Something that this test needs is not there: it is skipped, under ARPC_CI=1 it fails."""
    if os.environ.get(CI_VARIABLE) == "1":
        pytest.fail(f"{reason}, and {CI_VARIABLE}=1 expects it", pytrace=False)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of the program ``name``, which must not be missing."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (not found on PATH)")
    return path


def require_package(name: str) -> None:
    """The Python package that pip calls ``name`` must not be missing."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        missing(f"{name} is not installed: pip install {name}")


async def eventually(condition: Callable[[], object], *, within: float = 5.0, why: str = "") -> None:
    """Wait until ``condition()`` is true; AssertionError when it is not after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {why or condition}")
        await asyncio.sleep(POLL)
