"""No process that a test of the benchmark starts may outlive it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.benchmarks.programs import started_with
from tests.tools import eventually

VARIABLE = "ARPC_BENCHMARK_TEST"
HAS_PROC = Path("/proc/self/environ").exists()


@pytest.fixture
async def processes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], dict[int, str]]]:
    """Tells the processes that the test has started and that still run; after it there must be none."""
    mark = uuid4().hex
    monkeypatch.setenv(VARIABLE, mark)

    def running() -> dict[int, str]:
        if not HAS_PROC:
            pytest.skip("there is no /proc here to find processes in")
        return started_with(f"{VARIABLE}={mark}")

    yield running
    if HAS_PROC:
        await eventually(lambda: not running(), why=f"the test left these running: {running()}")
