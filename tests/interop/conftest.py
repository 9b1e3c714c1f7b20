"""The Go program, built once per run, and its processes, none of which outlives its test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.go_process import GoProcess
from tests.interop.python_service import PythonService
from tests.tools import require_tool

pytest.register_assert_rewrite("tests.interop.conformance", "tests.interop.stream_conformance")

SOURCES = Path(__file__).parent / "go"
BUILD_PATIENCE = 240.0
"""Seconds for the build: with cold caches Go fetches the module and compiles its own standard library."""

StartGo = Callable[..., GoProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the Go program also waits for its build."""
    for item in items:
        if SOURCES.parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BUILD_PATIENCE + 60))


@pytest.fixture(scope="session")
def go_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built Go program. Skips where Go is missing; a build that fails is a failure."""
    return build_go(SOURCES, tmp_path_factory.mktemp("interop") / "arpcinterop")


def build_go(sources: Path, binary: Path) -> Path:
    """Builds the Go program in that folder. Skips where Go is missing; a build that fails is a failure."""
    go = require_tool("go")
    # No C compiler, no other toolchain and no workspace of the machine has a say in the build.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    build = subprocess.run(
        [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(binary), "."],
        cwd=sources,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=BUILD_PATIENCE,
    )
    if build.returncode != 0:
        pytest.fail(f"go build failed:\n{build.stdout}", pytrace=False)
    return binary


@pytest.fixture
def start_go(go_binary: Path) -> Iterator[StartGo]:
    """Starts Go processes: ``start_go("server")``, ``start_go("client", address, "all")``."""
    started: list[GoProcess] = []

    def start(*arguments: str) -> GoProcess:
        process = GoProcess(go_binary, *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture
def service() -> PythonService:
    """The handlers of the Python side, with a record of what they got."""
    return PythonService()
