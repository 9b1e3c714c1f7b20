"""Users' type checkers: mypy --strict and pyright accept right code, and find every mistake in wrong code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parent.parent / "typing"
Found = dict[str, dict[int, str]]
"""What a tool complains about: name of the file to line to text."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project with both files, and no settings of ours."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(FILES / "usage.py", folder)
    hidden, _, mistakes = (FILES / "mistakes.py").read_text().partition("\n")
    assert hidden.startswith("# type: ignore")
    (folder / "mistakes.py").write_text("\n" + mistakes)
    return folder


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mypy(folder: Path, pytestconfig: pytest.Config) -> Found:
    cache = str(pytestconfig.cache.mkdir("mypy"))
    strict = ["--strict", "--config-file", "", "--cache-dir", cache, "--no-error-summary"]
    # Without it, mypy finds only coroutines that nobody awaits, and no other awaitables.
    options = [*strict, "--enable-error-code", "unused-awaitable", "--show-error-codes", "--hide-error-context"]
    found: Found = {}
    for line in run(folder, sys.executable, "-m", "mypy", *options, "usage.py", "mistakes.py").splitlines():
        if match := re.match(r"(.+?):(\d+): error: (.*)", line):
            found.setdefault(Path(match[1]).name, {})[int(match[2])] = match[3]
    return found


@pytest.fixture(scope="module")
def pyright(folder: Path) -> Found:
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonpath",
        sys.executable,
        "--outputjson",
        "usage.py",
        "mistakes.py",
    ]
    found: Found = {}
    for problem in json.loads(run(folder, *command))["generalDiagnostics"]:
        if problem["severity"] == "error":
            lines = found.setdefault(Path(problem["file"]).name, {})
            lines[problem["range"]["start"]["line"] + 1] = problem["message"]
    return found


TOOLS = pytest.mark.parametrize("tool", ["mypy", "pyright"])
pytestmark = pytest.mark.timeout(150)


@TOOLS
def test_right_code_is_accepted(tool: str, request: pytest.FixtureRequest) -> None:
    found: Found = request.getfixturevalue(tool)
    assert found.get("usage.py", {}) == {}


@TOOLS
def test_every_mistake_is_found_and_nothing_else(tool: str, request: pytest.FixtureRequest) -> None:
    found: Found = request.getfixturevalue(tool)
    complaints = found["mistakes.py"]
    lines = (FILES / "mistakes.py").read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith(("# error", f"# error for {tool}"))}
    assert len(expected) > 30
    missed = [lines[number - 1].strip() for number in sorted(expected - complaints.keys())]
    others = {number: complaints[number] for number in sorted(complaints.keys() - expected)}
    assert (missed, others) == ([], {})
