"""The Makefile starts programs that are there. That it makes its .venv first is tried by hand: it takes a network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
STARTS = {
    "demo": ["examples.demo"],
    "test": ["pytest"],
    "check": ["ruff", "ruff", "mypy", "pyright", "pytest"],
    "bench": ["benchmarks"],
    "bench-quick": ["benchmarks"],
}
"""Each target, and the modules that it runs after its .venv is made."""
PREPARE = {"pip", "benchmarks.opponents.go"}
"""What is run before, if it was not yet."""


@pytest.mark.parametrize("target", STARTS)
def test_a_target(target: str) -> None:
    command = [require_tool("make"), "--dry-run", "--no-print-directory", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    modules = [name for name in re.findall(r"python -m ([\w.]+)", done.stdout) if name not in PREPARE]
    assert modules == STARTS[target]
    for module in modules:
        found = importlib.util.find_spec(module)
        assert found is not None
        # A package is run by its __main__.
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__") is not None, f"python -m {module} runs nothing"
