"""What must hold of streams between Python and Go, whoever dialled: see conformance.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

import arpc
from tests.interop.conformance import RunScenario
from tests.interop.python_service import Order, Person, PythonService, numbered
from tests.tools import eventually

AFTER = [f"after {number}" for number in range(100)]
"""What the one side still sends when the other has ended its half."""


async def send_numbered(stream: arpc.Stream[bytes, bytes], count: int, size: int) -> None:
    for number in range(count):
        await stream.send(numbered(number, size))
    await stream.end()


async def echoed(peer: arpc.Peer, count: int, size: int) -> bool:
    """Sends so many items and reads them back at the same time."""
    async with peer.open_stream("/stream/echo", returns=bytes, sends=bytes) as stream:
        sending = asyncio.create_task(send_numbered(stream, count, size))
        items = [item async for item in stream]
        await sending
    return items == [numbered(number, size) for number in range(count)]


def runs(peer: arpc.Peer, method: str) -> Awaitable[int]:
    """How often Go began to serve a stream of that method."""
    return peer.call("/stream/runs", method, returns=int)


class PythonOpensStreams:
    """Fixture: ``peer`` is connected to Go."""

    async def test_items_both_ways(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/echo", returns=bytes) as stream:
            for number in range(100):
                await stream.send(numbered(number, 100))
                assert await stream.recv() == numbered(number, 100)
            await stream.end()
            with pytest.raises(arpc.StreamEnded):
                await stream.recv(timeout=10)
            assert stream.closed
        assert peer.stats.streams == 0

    async def test_items_in_order(self, peer: arpc.Peer) -> None:
        assert await echoed(peer, 5000, 100)

    async def test_str(self, peer: arpc.Peer) -> None:
        async with peer.stream("/stream/text", items=["grüß dich ✓", "x"], returns=str) as stream:
            assert [item async for item in stream] == ["grüß dich ✓, said Go", "x, said Go"]

    async def test_json(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/person", returns=Person, sends=Person) as stream:
            for name in ("Ann", "Bob"):
                await stream.send(Person(name, 41))
                assert await stream.recv() == Person(name, 42)

    async def test_a_first_item_that_is_the_last(self, peer: arpc.Peer) -> None:
        async with peer.stream("/stream/make", Order(1000, 64), returns=bytes) as stream:
            assert [item async for item in stream] == [numbered(number, 64) for number in range(1000)]

    async def test_many_items_and_one_answer(self, peer: arpc.Peer) -> None:
        async with peer.stream("/stream/sum", items=range(101), returns=int) as stream:
            assert await stream.recv() == 5050  # in the frame that ends Go's half
            with pytest.raises(arpc.StreamEnded):
                await stream.recv(timeout=10)

    async def test_no_item_at_all(self, peer: arpc.Peer) -> None:
        async with peer.stream("/stream/sum", returns=int) as stream:
            assert [item async for item in stream] == [0]

    async def test_go_sends_first(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/greet", returns=str) as stream:
            assert [item async for item in stream] == ["welcome"]

    @pytest.mark.parametrize(("method", "items"), [("/stream/hush", []), ("/stream/last", ["the last"])])
    async def test_go_ends_its_half_first(self, peer: arpc.Peer, method: str, items: list[str]) -> None:
        async with peer.open_stream(method, returns=str) as stream:
            assert [item async for item in stream] == items
            for item in AFTER:
                await stream.send(item)
            await stream.end()
            async with asyncio.timeout(10):
                while "EOF" not in (read := await peer.call("/stream/read")):
                    pass
        assert read == [*AFTER, "EOF"]
        assert await runs(peer, method) == 1

    async def test_many_streams(self, peer: arpc.Peer) -> None:
        assert all(await asyncio.gather(*(echoed(peer, 20 + number % 7, 50) for number in range(200))))
        assert peer.stats.streams == 0

    @pytest.mark.parametrize("size", [1 << 16, 16 << 20])
    async def test_large_items(self, peer: arpc.Peer, size: int) -> None:
        assert await echoed(peer, 2, size)

    async def test_streams_beside_calls(self, peer: arpc.Peer) -> None:
        bodies = [f"call {number}".encode() for number in range(500)]
        answers, *streamed = await asyncio.gather(
            asyncio.gather(*(peer.call("/echo", body, returns=bytes) for body in bodies)),
            *(echoed(peer, 100, 100) for _ in range(10)),
        )
        assert answers == bodies
        assert all(streamed)

    async def test_go_returns_and_leaves_its_half_open(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/abandon", returns=str) as stream:
            assert await stream.recv() == "that is all"
            with pytest.raises(arpc.CallTimeout):
                await stream.recv(timeout=0.05)
            assert not stream.closed
        assert peer.stats.streams == 0
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_a_timeout_of_the_stream(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/abandon", returns=str, timeout=0.05) as stream:
            assert await stream.recv() == "that is all"
            with pytest.raises(arpc.CallTimeout):
                await stream.recv()
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_leaving_while_go_sends(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/make", returns=bytes) as stream:
            await stream.send(Order(2000, 100))
            assert await stream.recv() == numbered(0, 100)
        assert peer.stats.streams == 0
        await eventually(lambda: peer.stats.frames_dropped > 1000)
        assert await peer.call("/text", "after", returns=str) == "after, said Go"
        assert (peer.stats.streams, peer.stats.stream_bytes) == (0, 0)
        assert await runs(peer, "/stream/make") == 1

    async def test_a_method_that_go_does_not_serve(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/no/such/stream", returns=str) as stream:
            await stream.send("anybody?")
            with pytest.raises(arpc.CallTimeout):
                await stream.recv(timeout=0.05)  # Go says nothing about it
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_an_empty_item_is_refused(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/text", returns=str) as stream:
            await stream.send("one")
            for nothing in ("", b"", None):
                with pytest.raises(arpc.LocalProtocolError, match="EMPTY"):
                    await stream.send(nothing)
                with pytest.raises(arpc.LocalProtocolError, match="EMPTY"):
                    stream.try_send(nothing)
            await stream.send("two")
            await stream.end()
            assert [item async for item in stream] == ["one, said Go", "two, said Go"]

    async def test_items_of_another_type(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/echo", returns=int) as stream:
            await stream.send("no number")
            await stream.send("7")
            with pytest.raises(arpc.DecodeError):
                await stream.recv()
            assert await stream.recv() == 7

    async def test_go_sees_the_base_protocol_alone(self, peer: arpc.Peer) -> None:
        async with peer.open_stream("/stream/abandon", returns=str, timeout=10) as stream:
            await stream.recv()
            await stream.reset("of no use to Go")
        await peer.stream("/stream/sum", items=range(3), timeout=10)
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/hold", timeout=0.05)
        assert await peer.call("/release", returns=int, timeout=10) == 1
        waiting = asyncio.create_task(peer.call("/hold"))
        async with asyncio.timeout(10):
            while await peer.call("/held", returns=int) < 1:
                pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await peer.call("/echo", b"x", metadata={"tenant": "a"})
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await peer.notify("/note", "x", metadata={"tenant": "a"})
        with pytest.raises(arpc.LocalProtocolError, match="META"):
            await peer.open_stream("/stream/echo", metadata={"tenant": "a"})
        seen = await peer.call("/frames")
        assert seen["frames"] > 10
        assert seen["reserved"] == 0
        assert seen["commands"] < 1 << 7, "a command above 6"


class GoOpensStreams:
    """Fixtures: ``run`` runs a scenario in Go, ``service`` is what Go uses."""

    async def value(self, run: RunScenario, name: str) -> Any:
        result = await run(name)
        assert result.error == ""
        return result.value

    @pytest.mark.parametrize(
        ("scenario", "value"),
        [
            ("stream_echo", "EOF"),
            ("stream_pipelined", 5000),
            ("stream_person", [{"name": "Ann", "age": 42}, {"name": "Bob", "age": 42}]),
            ("stream_make", 1000),
            ("stream_sum", ["5000"]),
            ("stream_sum_of_none", ["0"]),
            ("stream_greet", ["welcome"]),
            ("stream_many", 200),
            ("stream_large", {"64 KiB": 2, "1 MiB": 2, "16 MiB": 2}),
            ("stream_unknown", []),
            ("stream_beside_calls", "both"),
        ],
    )
    async def test_items(self, run: RunScenario, scenario: str, value: Any) -> None:
        assert await self.value(run, scenario) == value

    async def test_text_in_one_frame(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "stream_text") == ["grüß dich ✓, said Python"]
        assert service.bodies("/stream/text", "stream") == ["grüß dich ✓"]

    @pytest.mark.parametrize(("scenario", "items"), [("stream_hush", []), ("stream_last", ["the last"])])
    async def test_python_ends_its_half_first(
        self, run: RunScenario, service: PythonService, scenario: str, items: list[str]
    ) -> None:
        assert await self.value(run, scenario) == items
        method = scenario.replace("stream_", "/stream/")
        await eventually(lambda: None in service.bodies(method, "stream"))
        assert service.bodies(method, "stream") == ["before", *AFTER, "end", None]

    async def test_empty_items_are_not_seen(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "stream_empty_items") == ["one, said Python", "two, said Python"]
        assert service.bodies("/stream/text", "stream") == ["one", "two"]

    @pytest.mark.parametrize("end", ["returns", "raises"])
    async def test_python_leaves_and_go_sends_on(self, run: RunScenario, service: PythonService, end: str) -> None:
        assert await self.value(run, f"stream_{end}") == ["that is all"]
        assert service.bodies(f"/stream/{end}", "stream") == ["first"]  # what came late has opened nothing

    async def test_go_leaves_while_python_sends(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "stream_left_by_go") == 100
        assert service.bodies("/stream/make", "stream") == [Order(20_000, 100)]
