"""The programs of docs/interop-go.md, Go and Python, talk to each other and print what the page says."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import SOURCES, build_go

PAGE = (Path(__file__).parents[2] / "docs" / "interop-go.md").read_text(encoding="utf-8")
PATIENCE = 30


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def promised(program: str, call: str, comment: str) -> list[str]:
    """What the page says that a program prints: the comments behind its printing lines."""
    return re.findall(rf"{call}\(.*\) *{comment} (.*)$", program, re.MULTILINE)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


class Programs:
    """Programs of the page with another port in the place of 9000; none outlives its test."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.running: list[subprocess.Popen[str]] = []

    def placed(self, program: str) -> str:
        assert "9000" in program
        return program.replace("9000", str(self.port))

    def go(self, program: str) -> list[str]:
        for name in ("go.mod", "go.sum"):
            shutil.copy(SOURCES / name, self.folder)
        (self.folder / "main.go").write_text(self.placed(program), encoding="utf-8")
        return [str(build_go(self.folder, self.folder / "program"))]

    def python(self, program: str) -> list[str]:
        path = self.folder / "program.py"
        path.write_text(self.placed(program), encoding="utf-8")
        return [sys.executable, str(path)]

    def serve(self, command: list[str]) -> None:
        """Returns when the server accepts connections."""
        self.running.append(subprocess.Popen(command, text=True))
        end = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.running[-1].poll() is None, "the server has ended"
            assert time.monotonic() < end, "the server does not listen"


@pytest.fixture
def page(tmp_path: Path, port: int) -> Iterator[Programs]:
    programs = Programs(tmp_path, port)
    yield programs
    for process in programs.running:
        process.kill()
        process.wait(PATIENCE)


def printed(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [line for line in done.stdout.splitlines() if not re.match(r"\d{4}/\d\d/\d\d ", line)]  # Go arpc's own log


def test_a_python_server_and_a_go_client(page: Programs) -> None:
    server, client = blocks("python")[0], blocks("go")[0]
    run = re.search(r"Run by `(.*)`, it answers this program", PAGE)
    assert run is not None
    command = page.go(client)
    page.serve(page.python(f"{server}\n\n{run[1]}\n"))
    expected = promised(client, r"fmt\.Println", "//")
    assert len(expected) == 5
    assert printed(command) == expected


def test_a_go_server_and_a_python_client(page: Programs) -> None:
    server, client = blocks("go")[1], blocks("python")[2]
    page.serve(page.go(server))
    expected = promised(client, "print", "#")
    assert len(expected) == 3
    assert printed(page.python(client)) == expected


def test_streams_of_a_go_server_and_a_python_client(page: Programs) -> None:
    server, client = blocks("go")[2], blocks("python")[3]
    page.serve(page.go(server))
    expected = promised(client, "print", "#")
    assert len(expected) == 3
    assert printed(page.python(client)) == expected
