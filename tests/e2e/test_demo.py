"""The demo, run as a user runs it: what it prints, what its exit code says, and that it leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import arpc
from examples.cafe.guest import STEPS
from tests.tools import eventually

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 40
LONG = "60"
"""Of measuring: nobody waits for its end."""


@pytest.fixture(autouse=True)
def warnings_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the processes that the demo starts, too."""
    monkeypatch.setenv("PYTHONWARNINGS", "error")


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.demo", *arguments]


def pids(output: str) -> list[int]:
    """The server's and the client's, which the demo prints."""
    return [int(number) for number in re.findall(r"process (\d+)", output)]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:  # a process that has ended, and that nobody has asked about yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return Path("/proc").exists()


def test_the_demo() -> None:
    started = time.monotonic()
    done = subprocess.run(demo("--seconds", "0.3"), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 20
    for number, (title, _) in enumerate(STEPS, 1):
        assert re.search(rf"^ {number}  {re.escape(title)} +ok$", done.stdout, re.MULTILINE), title
    for callers in 1, 100, 1000:
        assert re.search(rf"^ +{callers} +[\d,]*[1-9][\d,]* +\d+\.\d\d +\d+\.\d\d +0$", done.stdout, re.MULTILINE)
    assert re.search(r"\d+ cores .*Python \d+\.\d+\.\d+", done.stdout)
    assert "$.cups" in done.stdout
    assert done.stdout.endswith("Everything above was checked, and right.\n")
    assert "\x1b" not in done.stdout
    assert len(pids(done.stdout)) == 2
    assert all(map(gone, pids(done.stdout)))


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_on_a_terminal(no_color: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        running = subprocess.Popen(
            demo("--seconds", "0.2"),
            cwd=ROOT,
            stdout=theirs,
            env={**environment, "NO_COLOR": "1"} if no_color else environment,
        )
        os.close(theirs)
        output = b""
        try:
            while chunk := terminal.read(4096):
                output += chunk
        except OSError:  # what Linux says when nobody holds the other end any more
            pass
        assert running.wait(SECONDS) == 0
    assert b"Everything above was checked" in output
    assert (b"\x1b[" in output) is not no_color


async def test_wrong_results_are_named() -> None:
    """The client's side of the demo, against a server that does everything a little differently."""
    router = arpc.Router()

    @router.handle("/order")
    async def order(wish: dict[str, object]) -> dict[str, object]:
        return {"number": 7, "text": "surprise", "cents": 1}

    @router.handle("/roast")
    async def roast() -> None: ...

    @router.handle("/echo")
    async def echo(body: bytes) -> bytes:
        return body[::-1]

    @router.handle("/tip")
    async def tip(body: bytes) -> None: ...

    @router.handle("/brew")
    async def brew(number: int, ctx: arpc.Context) -> None:
        await ctx.peer.notify("/ready", {"number": number, "drink": "water"})

    async with arpc.serve("tcp://127.0.0.1:0", router) as server:
        code, output = await client_of(server.address)
    assert code == 1
    lines = output.splitlines()
    right = [title for title, _ in STEPS if any(title in line and line.endswith(" ok") for line in lines)]
    assert right == ["A method that nobody serves"]
    assert "expected Receipt(number=1, " in output
    assert "expected CallTimeout, got the answer None" in output
    assert "expected RemoteError, got the answer Receipt(number=7" in output
    assert lines[-1].startswith("WRONG: Call: the client calls the server; ")
    assert "1000 callers: 0 calls, " in lines[-1]


async def test_a_server_that_is_not_there() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", arpc.Router()) as server:
        address = server.address
    code, output = await client_of(address)
    assert code == 1
    assert f"WRONG: ConnectError: cannot connect to {address}" in output


async def client_of(address: str) -> tuple[int, str]:
    """Exit code and output of the demo's client."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "examples.cafe.client", address, "0.05"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    async with asyncio.timeout(SECONDS):
        output = (await running.stdout.read()).decode()
        code = await running.wait()
    running.stdin.close()
    return code, output


@contextmanager
def measuring() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The demo in the middle of its measured run, and the processes that it has started."""
    with subprocess.Popen(
        demo("--seconds", LONG), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            output = ""
            assert running.stdout is not None
            while "How fast" not in output:
                line = running.stdout.readline()
                assert line, output
                output += line
            started = pids(output)
            assert len(started) == 2
            assert not any(map(gone, started))
            yield running, started
        finally:
            running.kill()


async def test_ctrl_c() -> None:
    with measuring() as (running, started):
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 130
        assert all(map(gone, started))
        assert running.stderr is not None
        assert running.stderr.read() == "\nInterrupted.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_killed_demo(number: signal.Signals) -> None:
    with measuring() as (running, started):
        running.send_signal(number)
        running.wait(SECONDS)
        await eventually(lambda: all(map(gone, started)), within=10)


async def test_a_server_that_dies() -> None:
    with measuring() as (running, (server, client)):
        os.kill(server, signal.SIGKILL)
        assert running.wait(SECONDS) == 1
        assert gone(client)
