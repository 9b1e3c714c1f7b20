"""What tests share and no fixture gives: programs that may be missing, and waiting for a condition."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable

import pytest

CI_VARIABLE = "ARPC_CI"
"""Set to 1 where everything is expected to be installed: a missing program is a failure there, not a skip."""

POLL = 0.002


def require_tool(name: str) -> str:
    """The path of the program ``name``; without it the test is skipped, under ARPC_CI=1 it fails."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (not found on PATH)"
    if os.environ.get(CI_VARIABLE) == "1":
        pytest.fail(f"{reason}, and {CI_VARIABLE}=1 expects it", pytrace=False)
    pytest.skip(reason)


async def eventually(condition: Callable[[], object], *, within: float = 5.0, why: str = "") -> None:
    """Wait until ``condition()`` is true; AssertionError when it is not after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {why or condition}")
        await asyncio.sleep(POLL)
