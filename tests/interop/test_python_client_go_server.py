"""A Python client at a server of the original Go arpc."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import arpc
from tests.interop.conformance import GoCallsPython, PythonCallsGo, Result, RunScenario, until_held
from tests.interop.conftest import StartGo
from tests.interop.go_process import PATIENCE, GoProcess
from tests.interop.python_service import PythonService
from tests.interop.stream_conformance import GoOpensStreams, PythonOpensStreams
from tests.tools import eventually

BATCHING = pytest.mark.parametrize("go", ["0", "65536"], ids=["go-default", "go-batching"], indirect=True)
"""Go's default never batches frames into one write; with a send buffer one read here holds many of them."""


@pytest.fixture
def go(start_go: StartGo, request: pytest.FixtureRequest) -> GoProcess:
    """The process of the Go server."""
    return start_go("-send-buffer", getattr(request, "param", "0"), "server")


@pytest.fixture
async def address(go: GoProcess) -> str:
    """Where the Go server listens."""
    address: str = (await go.line())["address"]
    return address


@pytest.fixture
async def peer(address: str, service: PythonService) -> AsyncIterator[arpc.Peer]:
    """A Python client of the Go server that serves the Python handlers."""
    async with arpc.connect(address, service.router) as peer:
        yield peer


@pytest.fixture
def run(peer: arpc.Peer) -> RunScenario:
    """Runs a scenario in the Go server, against the client that asks for it."""

    async def run(scenario: str) -> Result:
        return await peer.call("/scenario", scenario, returns=Result, timeout=PATIENCE)

    return run


@BATCHING
class TestPythonClientCallsGoServer(PythonCallsGo):
    pass


@BATCHING
class TestGoServerCallsPythonClient(GoCallsPython):
    pass


@BATCHING
class TestGoServerOpensStreams(GoOpensStreams):
    pass


@BATCHING
class TestPythonClientOpensStreams(PythonOpensStreams):
    pass


async def test_both_sides_call_at_full_load(peer: arpc.Peer, run: RunScenario) -> None:
    bodies = [f"python {number}".encode() for number in range(1000)]
    results, answers = await asyncio.gather(
        asyncio.gather(run("concurrent_calls"), run("concurrent_nested"), run("bodies")),
        asyncio.gather(*(peer.call("/echo", body, returns=bytes) for body in bodies)),
    )
    assert [result.error for result in results] == ["", "", ""]
    assert answers == bodies


async def test_broadcast(address: str) -> None:
    services = [PythonService() for _ in range(3)]
    async with (
        arpc.connect(address, services[0].router) as first,
        arpc.connect(address, services[1].router) as second,
        arpc.connect(address, services[2].router) as third,
    ):
        await asyncio.gather(second.ping(timeout=10), third.ping(timeout=10))  # Go has taken them in
        await first.call("/broadcast", "to all")
        await eventually(lambda: all(service.bodies("/note", "notify") == ["to all"] for service in services))


async def test_hello_is_answered_by_an_empty_pong(address: str) -> None:
    start = time.monotonic()
    async with arpc.connect(address, hello_timeout=30) as peer:
        assert time.monotonic() - start < 5
        assert peer.remote_capabilities == arpc.Capabilities()
        frame = bytes.fromhex(await peer.call("/first_frame", returns=str))
    size, reserved, command, flag, method_size, sequence = struct.unpack_from("<IBBBBQ", frame)
    assert (size, reserved, command, flag, method_size, sequence) == (len(frame) - 16, 0, 4, 0, 0, 0)
    assert frame[16:22] == b"arpc+\x01"


async def test_without_extensions_there_is_no_hello(address: str) -> None:
    async with arpc.connect(address, extensions=False) as peer:
        assert peer.remote_capabilities == arpc.Capabilities()
        frame = bytes.fromhex(await peer.call("/first_frame", returns=str))
    assert (frame[5], frame[16:]) == (1, b"/first_frame")


async def test_server_killed_while_calls_wait(go: GoProcess, peer: arpc.Peer) -> None:
    waiting = [asyncio.create_task(peer.call("/hold", timeout=None)) for _ in range(10)]
    await until_held(peer, 10)
    start = time.monotonic()
    go.process.kill()
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        await peer.wait_closed()
    assert time.monotonic() - start < 5
    assert [(type(end), getattr(end, "sent", None)) for end in ends] == [(arpc.ConnectionClosed, True)] * 10
    assert peer.closed
    with pytest.raises(arpc.ConnectionClosed) as caught:
        await peer.call("/text", "too late")
    assert not caught.value.sent


async def test_closing_fails_what_waits(address: str) -> None:
    async with arpc.connect(address) as peer:
        waiting = asyncio.create_task(peer.call("/hold"))
        await until_held(peer, 1)
        await peer.close()
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await asyncio.wait_for(waiting, 10)
        assert caught.value.sent
    async with arpc.connect(address) as other:  # the Go server does not mind
        assert await other.call("/text", "next", returns=str) == "next, said Go"


async def test_go_ends_with_its_stdin(go: GoProcess, address: str) -> None:
    assert go.process.stdin is not None
    go.process.stdin.close()
    assert await go.ended() == 0


async def test_go_ends_with_sigterm(go: GoProcess, address: str) -> None:
    go.process.terminate()
    assert await go.ended() != 0


def test_no_go_process_outlives_a_killed_test_run(go_binary: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "go = subprocess.Popen([sys.argv[1], 'server'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(go.stdout.readline(), flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(go_binary)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8") as run:
        assert run.stdout is not None
        assert "address" in run.stdout.readline()
        run.kill()
        # Go has inherited stderr: it ends when Go, too, has ended.
        _, errors = run.communicate(timeout=PATIENCE)
    assert errors == ""
