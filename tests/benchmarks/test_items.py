"""Loads of streams: what the server has read is what counts, and what it has not read is an error."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from benchmarks.loads import PATTERNS, Calls, items
from benchmarks.workload import BODIES, Load, Result
from tests.benchmarks.fakes import ADDRESS, echo

SOME = Load(pattern="items", size=100, callers=6, connections=3, seconds=0.05, warmup=0.01)
PATTERNS_OF_ITEMS = pytest.mark.parametrize("pattern", ["items", "fan-in"])


@dataclass
class Stream:
    """One that the load has opened; `lost` items more are sent than read."""

    number: int
    lost: int = 0
    breaks_after: int = 1 << 60
    never_ends: bool = False
    bodies: list[bytes] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    """Of all streams together, by their numbers."""
    ended: bool = False

    async def send(self, item: bytes) -> None:
        await asyncio.sleep(0)
        if len(self.bodies) >= self.breaks_after:
            raise ConnectionError("the stream was reset")
        self.bodies.append(item)
        self.turns.append(self.number)

    async def total(self) -> int:
        self.ended = True
        if self.never_ends:
            await asyncio.get_running_loop().create_future()
        return len(self.bodies) - self.lost


@dataclass
class Server:
    """Its streams in the order in which they were opened; what is special about some, by their numbers."""

    special: dict[int, Stream] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)
    connections: list[list[Stream]] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    closed: int = 0

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Calls]:
        assert address == ADDRESS
        mine: list[Stream] = []
        self.connections.append(mine)

        async def stream(_body: object) -> Stream:
            number = len(self.streams)
            made = replace(self.special.get(number, Stream(0)), number=number, turns=self.turns, bodies=[])
            mine.append(made)
            self.streams.append(made)
            return made

        yield {"stream": stream, "bytes": echo}
        self.closed += 1


async def run(load: Load, server: Server) -> Result:
    """Put it on the server, and see that all connections are closed after it."""
    result = await PATTERNS[load.pattern](ADDRESS, load, server.connect)
    assert server.closed == len(server.connections) == load.connections
    assert result.histogram == ""
    return result


@PATTERNS_OF_ITEMS
async def test_what_counts_is_what_the_server_has_read(pattern: str) -> None:
    server = Server()
    result = await run(replace(SOME, pattern=pattern), server)
    assert result.errors == 0
    assert result.calls == result.total == sum(len(one.bodies) for one in server.streams) > 0
    assert result.seconds >= SOME.seconds + SOME.warmup
    assert [[one.number for one in mine] for mine in server.connections] == [[0, 3], [1, 4], [2, 5]]
    for one in server.streams:
        assert one.ended
        assert set(one.bodies) == {BODIES["bytes"](100, one.number)[0]}


async def test_each_stream_sends_for_itself() -> None:
    server = Server()
    await run(SOME, server)
    assert all(len(one.bodies) % items.BATCH == 0 for one in server.streams)
    assert set(server.turns[:6]) == set(range(6))


async def test_a_fan_in_goes_round() -> None:
    server = Server()
    await run(replace(SOME, pattern="fan-in"), server)
    for first in range(3):
        mine = [number for number in server.turns if number % 3 == first]
        assert mine == [first, first + 3] * (len(mine) // 2)


@PATTERNS_OF_ITEMS
@pytest.mark.parametrize("lost", [2, -2])
async def test_lost_and_doubled_items_are_errors(pattern: str, lost: int, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server({1: Stream(0, lost=lost), 2: Stream(0, lost=1)})
    result = await run(replace(SOME, pattern=pattern), server)
    assert result.errors == 3
    assert result.calls == sum(len(one.bodies) for one in server.streams) - lost - 1
    assert "3 items lost or doubled, 0 failed streams" in capsys.readouterr().err


@PATTERNS_OF_ITEMS
async def test_a_stream_that_fails_is_an_error(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server({4: Stream(0, breaks_after=15)})
    result = await run(replace(SOME, pattern=pattern), server)
    assert result.errors == 1
    assert result.calls == sum(len(one.bodies) for one in server.streams if one.number != 4) > 0
    assert [one.ended for one in server.streams] == [True] * 4 + [False, True]
    said = capsys.readouterr().err
    assert "0 items lost or doubled, 1 failed streams, the first: ConnectionError('the stream was reset')" in said


async def test_a_stream_that_is_never_answered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "PATIENCE", 0.02)
    result = await run(SOME, Server({0: Stream(0, never_ends=True)}))
    assert result.errors == 1
    assert result.calls > 0


# Streams that are held.


@pytest.mark.parametrize("lost", [0, 1])
async def test_streams_are_held_until_standard_input_ends(
    lost: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n5\n"))
    server = Server({3: Stream(0, lost=lost)})
    result = await run(replace(SOME, pattern="hold"), server)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"streams": 2}, {"streams": 7}]
    assert (result.calls, result.errors) == (7 - lost, lost)
    assert [len(one.bodies) for one in server.streams] == [1] * 7
    assert [len(mine) for mine in server.connections] == [3, 2, 2]
