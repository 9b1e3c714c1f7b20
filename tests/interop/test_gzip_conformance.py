"""All that Go and Python do with each other, streams too, again with frames of over 64 bytes compressed.

Who calls, or opens, has dialled: that the roles do not matter is tested without gzip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import arpc
from arpc.coders import Gzip
from tests.interop.conformance import GoCallsPython, PythonCallsGo, Result, RunScenario
from tests.interop.conftest import StartGo
from tests.interop.go_process import PATIENCE
from tests.interop.python_service import PythonService
from tests.interop.stream_conformance import GoOpensStreams, PythonOpensStreams

BIT = 1 << 7


@pytest.fixture
async def peer(request: pytest.FixtureRequest, start_go: StartGo, service: PythonService) -> AsyncIterator[arpc.Peer]:
    if request.cls in (TestPythonCallsGo, TestPythonOpensStreams):
        address: str = (await start_go("-gzip", "64", "server").line())["address"]
        async with arpc.connect(address, service.router, coders=[Gzip(64)]) as dialled:
            yield dialled
    else:
        async with arpc.serve("tcp://127.0.0.1:0", service.router, coders=[Gzip(64)]) as server:
            start_go("-gzip", "64", "client", server.address)
            yield await asyncio.wait_for(service.ready.get(), PATIENCE)


@pytest.fixture
def run(start_go: StartGo, peer: arpc.Peer) -> RunScenario:
    """Runs a scenario in the Go program, against the peer that asks for it."""

    async def run(scenario: str) -> Result:
        return await peer.call("/scenario", scenario, returns=Result, timeout=PATIENCE)

    return run


class TestPythonCallsGo(PythonCallsGo):
    pass


class TestGoCallsPython(GoCallsPython):
    pass


class TestGoOpensStreams(GoOpensStreams):
    pass


class TestPythonOpensStreams(PythonOpensStreams):
    async def test_go_sees_the_base_protocol_alone(self, peer: arpc.Peer) -> None:
        """But for gzip's bit."""
        assert await peer.call("/echo", b"a" * 1000, returns=bytes) == b"a" * 1000
        assert (await peer.call("/frames"))["reserved"] == BIT
