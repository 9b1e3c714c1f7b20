"""Clients of the original Go arpc at a Python server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

import arpc
from tests.interop.conformance import GoCallsPython, PythonCallsGo, Result, RunScenario, result_of, until_held
from tests.interop.conftest import StartGo
from tests.interop.go_process import PATIENCE, GoProcess
from tests.interop.python_service import Order, PythonService
from tests.interop.stream_conformance import GoOpensStreams, PythonOpensStreams
from tests.tools import eventually


@pytest.fixture
async def server(service: PythonService) -> AsyncIterator[arpc.Server]:
    """A Python server with the handlers for Go."""
    async with arpc.serve("tcp://127.0.0.1:0", service.router) as server:
        yield server


@pytest.fixture(params=["0", "65536"], ids=["go-default", "go-batching"])
def send_buffer(request: pytest.FixtureRequest) -> str:
    """Go's default never batches frames into one write; with a send buffer one read here holds many of them."""
    value: str = request.param
    return value


@pytest.fixture
def go(start_go: StartGo, server: arpc.Server) -> GoProcess:
    """A Go client that is connected and serves its handlers."""
    return start_go("client", server.address)


@pytest.fixture
async def peer(go: GoProcess, service: PythonService) -> arpc.Peer:
    """The Python server's end of the connection to a serving Go client."""
    return await asyncio.wait_for(service.ready.get(), PATIENCE)


@pytest.fixture
def run(start_go: StartGo, server: arpc.Server, send_buffer: str) -> RunScenario:
    """Runs a scenario in a Go client of its own."""

    async def run(scenario: str) -> Result:
        go = start_go("-send-buffer", send_buffer, "client", server.address, scenario)
        result = result_of(await go.line())
        assert await go.ended() == 0
        return result

    return run


class TestGoClientCallsPythonServer(GoCallsPython):
    pass


class TestPythonServerCallsGoClient(PythonCallsGo):
    pass


class TestGoClientOpensStreams(GoOpensStreams):
    pass


class TestPythonServerOpensStreams(PythonOpensStreams):
    pass


async def test_all_scenarios_on_one_connection(start_go: StartGo, server: arpc.Server, service: PythonService) -> None:
    go = start_go("client", server.address, "all")
    results: dict[str, Result] = {}
    while (line := await go.line_or_end()) is not None:
        result = result_of(line)
        results[result.scenario] = result
    assert await go.ended() == 0
    assert len(results) >= 25
    assert {name: result.error for name, result in results.items() if result.error} == {}
    await eventually(lambda: not server.peers)


async def test_many_go_clients(start_go: StartGo, server: arpc.Server, service: PythonService) -> None:
    scenarios = ["concurrent_calls", "concurrent_nested", "concurrent_async", "bodies"]
    clients = [start_go("client", server.address, scenario) for scenario in scenarios]
    results = [result_of(await client.line()) for client in clients]
    assert [(result.error, result.value) for result in results[:3]] == [("", 1000), ("", 200), ("", 1000)]
    assert results[3].error == ""


async def test_go_client_that_says_nothing_is_called(start_go: StartGo, service: PythonService) -> None:
    async with arpc.serve("tcp://127.0.0.1:0", service.router, hello_timeout=0.1) as server:
        start_go("-silent", "client", server.address)
        await eventually(lambda: server.peers, within=PATIENCE)
        (peer,) = server.peers
        assert await peer.call("/text", "first", returns=str) == "first, said Go"
        assert peer.remote_capabilities == arpc.Capabilities()


async def test_a_stream_to_a_go_client_that_says_nothing(start_go: StartGo, service: PythonService) -> None:
    async with arpc.serve("tcp://127.0.0.1:0", service.router, hello_timeout=0.1) as server:
        start_go("-silent", "client", server.address)
        await eventually(lambda: server.peers, within=PATIENCE)
        (peer,) = server.peers
        async with peer.stream("/stream/text", "first", returns=str) as stream:
            assert [item async for item in stream] == ["first, said Go"]


async def test_the_server_sends_go_no_hello(peer: arpc.Peer) -> None:
    frame = bytes.fromhex(await peer.call("/first_frame", returns=str))
    assert (frame[5], frame[16:]) == (1, b"/first_frame")
    assert peer.remote_capabilities == arpc.Capabilities()


async def test_stopping_ends_the_calls_of_go(start_go: StartGo, server: arpc.Server, service: PythonService) -> None:
    go = start_go("client", server.address, "held")
    await eventually(lambda: service.held == 1, within=PATIENCE)
    start = time.monotonic()
    await asyncio.wait_for(server.stop(), 10)
    result = result_of(await go.line())
    assert (result.value, result.error) == ("client reconnecting", "")
    assert time.monotonic() - start < 5


async def test_stopping_ends_streams(peer: arpc.Peer, server: arpc.Server, service: PythonService) -> None:
    ends: list[str] = []
    begun = asyncio.Event()

    @service.router.stream("/stream/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    await peer.call("/stream/push", Order(10, 100))
    await asyncio.wait_for(begun.wait(), 10)
    async with peer.open_stream("/stream/echo", returns=bytes) as stream:
        await asyncio.wait_for(server.stop(), 10)
        with pytest.raises(arpc.ConnectionClosed):
            await stream.recv(timeout=10)
        with pytest.raises(arpc.ConnectionClosed):
            await stream.send(b"x")
    assert ends == ["cancelled"]


async def test_client_killed_while_streams_are_open(go: GoProcess, peer: arpc.Peer, service: PythonService) -> None:
    ends: list[BaseException] = []

    @service.router.stream("/stream/take")
    async def take(stream: arpc.Stream[bytes, bytes]) -> None:
        try:
            async for _ in stream:
                pass
        except arpc.ArpcError as error:
            ends.append(error)

    streams = [await peer.open_stream("/stream/echo", returns=bytes) for _ in range(10)]
    await peer.call("/stream/push", Order(10_000_000, 1000))
    await eventually(lambda: peer.stats.streams == 11)
    go.process.kill()
    async with asyncio.timeout(10):
        seen = await asyncio.gather(*(stream.recv() for stream in streams), return_exceptions=True)
        await peer.wait_closed()
    assert [type(end) for end in seen] == [arpc.ConnectionClosed] * 10
    await eventually(lambda: ends)
    assert [type(end) for end in ends] == [arpc.ConnectionClosed]
    for stream in streams:
        await stream.close()


async def test_go_reconnects_after_its_connection_was_closed(run: RunScenario) -> None:
    result = await run("reconnect")
    assert (result.value, result.error) == ("grüß dich ✓, said Python", "")


async def test_client_killed_while_calls_wait(go: GoProcess, peer: arpc.Peer, server: arpc.Server) -> None:
    waiting = [asyncio.create_task(peer.call("/hold", timeout=None)) for _ in range(10)]
    await until_held(peer, 10)
    start = time.monotonic()
    go.process.kill()
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        await peer.wait_closed()
    assert time.monotonic() - start < 5
    assert [(type(end), getattr(end, "sent", None)) for end in ends] == [(arpc.ConnectionClosed, True)] * 10
    await eventually(lambda: not server.peers)
