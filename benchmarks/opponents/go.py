"""Systems written in Go: each a module of its own, so that one that cannot be built leaves the others alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from benchmarks.opponents.base import ROOT, Failed, Opponent, Unavailable

SOURCES = ROOT / "benchmarks" / "go"
BUILD = ROOT / "benchmarks" / ".build"

_DIRECTIVE = re.compile(r"^go (\S+)", re.MULTILINE)
_REQUIRED = re.compile(r"^(?:require\s+|\s+)\S*?([^/\s]+)\s+(v\S+)$", re.MULTILINE)
"""A module that go.mod names and that is not indirect: the last part of its name, and its version."""


class GoOpponent(Opponent):
    """A system whose server and client are one Go program, with the subcommands `server` and `client`."""

    folder: str
    """Of its module in benchmarks/go."""
    options: tuple[str, ...] = ()
    """Settings, of both sides."""

    def prepare(self) -> str:
        return _built(self.folder)

    def server_command(self) -> list[str]:
        return [str(_program(self.folder)), "server", *self.options]

    def client_command(self) -> list[str]:
        return [str(_program(self.folder)), "client", *self.options]


def _program(folder: str) -> Path:
    return BUILD / f"go-{folder}"


@cache
def _built(folder: str) -> str:
    """Build the program; return the versions in it. Raises `Unavailable` or `Failed`."""
    module = (SOURCES / folder / "go.mod").read_text()
    version = _go_version(module)
    done = _go("build", "-buildvcs=false", "-o", str(_program(folder)), ".", cwd=SOURCES / folder)
    if done.returncode:
        raise Failed(f"benchmarks/go/{folder}: go build failed:\n{done.stderr}")
    modules = [f"{name} {number}" for name, number in _REQUIRED.findall(module) if number != "v0.0.0"]
    return ", ".join([*modules, version])


def _go_version(module: str) -> str:
    """Of the Go there is. Raises `Unavailable` when there is none, or an older one than this go.mod asks for."""
    if shutil.which("go") is None:
        raise Unavailable("go is not installed")
    version = _go("env", "GOVERSION", cwd=ROOT).stdout.strip()
    directive = _DIRECTIVE.search(module)
    if directive and _numbers(version) < _numbers(directive[1]):
        raise Unavailable(f"needs Go {directive[1]} or newer, here is {version}")
    return version


def _numbers(version: str) -> list[int]:
    """Of `go1.26.8`, `1.19` and the like: numbers that compare."""
    found = re.search(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found else []


def _go(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it as it is installed: a newer Go than that is not fetched in passing."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run(["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    """Build every program, so that a run need not: `python -m benchmarks.opponents.go`."""
    programs = [path for path in SOURCES.glob("*/main.go") if "\npackage main\n" in path.read_text()]
    for folder in sorted(path.parent.name for path in programs):
        try:
            print(f"benchmarks/go/{folder}: {_built(folder)}")
        except (Unavailable, Failed) as reason:
            print(f"benchmarks/go/{folder} is left out: {reason}")


if __name__ == "__main__":
    main()
