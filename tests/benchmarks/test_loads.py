"""The patterns of load: what counts, what is an error, and what latencies include."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from benchmarks import histogram
from benchmarks.loads import PATTERNS, closed, oneway
from benchmarks.loads import open as paced
from benchmarks.workload import BODIES, Load, Person, Result, older
from tests.benchmarks.fakes import ADDRESS, BUSY, Clock, Server, echo, failing, silent, wrong

SHORT = Load(callers=6, connections=3, seconds=0.05, warmup=0.0)
PACED = Load(pattern="open", connections=2, seconds=0.1, warmup=0.05, rate=200)
DUE = 30
"""Calls of `PACED` in all; a third of them in the warm-up."""
NOTES = Load(pattern="notify", callers=4, connections=2, seconds=0.02, warmup=0.01)


async def run(load: Load, server: Server) -> Result:
    """Put it on the server, and see that all connections are closed after it."""
    result = await PATTERNS[load.pattern](ADDRESS, load, server.connect)
    assert server.opened == server.closed
    return result


def with_pattern(pattern: str) -> Load:
    return Load(pattern=pattern, callers=6, connections=3, seconds=0.05, warmup=0.0)


def latencies(result: Result) -> HdrHistogram:
    merged = histogram.merged([result.histogram])
    assert result.calls <= merged.get_total_count() <= result.total
    return merged


def first_fails(others: Any) -> Any:
    """The caller with number 0 fails; what the others get."""

    async def answer(body: bytes) -> Any:
        return await (failing if body.endswith(b"00000000") else others)(body)

    return answer


# The closed loop, over shared connections and over one for each call.


@pytest.mark.parametrize("pattern", ["closed", "connect"])
async def test_right_answers(pattern: str) -> None:
    server = Server()
    result = await run(with_pattern(pattern), server)
    assert result.errors == 0
    assert 0 < result.calls <= result.total == sum(map(len, server.bodies))
    assert result.seconds == SHORT.seconds
    assert 0 < histogram.percentile(latencies(result), 50) < SHORT.seconds
    assert {body for bodies in server.bodies for body in bodies} == {BODIES["bytes"](581, n)[0] for n in range(6)}


async def test_callers_share_the_connections() -> None:
    server = Server()
    await run(SHORT, server)
    assert [{int(body[-8:]) for body in bodies} for bodies in server.bodies] == [{0, 3}, {1, 4}, {2, 5}]


async def test_each_call_has_a_connection_of_its_own() -> None:
    server = Server()
    result = await run(with_pattern("connect"), server)
    assert server.opened == 1 + result.total  # the first is made before anything counts
    assert [len(bodies) for bodies in server.bodies] == [0] + [1] * result.total


async def test_other_bodies() -> None:
    async def age(body: Person) -> Person:
        await asyncio.sleep(0)
        return older(body)

    server = Server(age)
    load = Load(body="json", size=10, callers=3, connections=1, seconds=0.05, warmup=0.0)
    result = await run(load, server)
    assert result.errors == 0
    assert result.calls
    assert {len(body.note) for body in server.bodies[0]} == {10}
    assert (await run(load, Server())).errors  # not older


@pytest.mark.parametrize("pattern", ["closed", "connect"])
async def test_wrong_answers_are_counted_and_go_on(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrongs = 0

    async def answer(body: bytes) -> Any:
        nonlocal wrongs
        if not body.endswith(b"1"):
            return await echo(body)
        wrongs += 1
        return b"wrong" if wrongs % 2 else await wrong(body)

    server = Server(answer)
    result = await run(with_pattern(pattern), server)
    assert result.errors == wrongs > 1
    assert result.total == sum(map(len, server.bodies)) - wrongs
    assert latencies(result).get_total_count() > 0
    assert f"{wrongs} wrong answers, 0 failed calls" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["closed", "connect"])
async def test_a_caller_whose_call_fails_stops(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(first_fails(echo))
    result = await run(with_pattern(pattern), server)
    bodies = [body for bodies in server.bodies for body in bodies]
    assert result.errors == sum(body.endswith(b"00000000") for body in bodies) == 1
    assert result.total == len(bodies) - 1
    assert result.calls > 5
    assert "1 failed calls, the first: ConnectionError('the fake server is gone')" in capsys.readouterr().err


async def test_nothing_but_failures() -> None:
    result = await run(SHORT, Server(failing))
    assert (result.calls, result.total, result.errors) == (0, 0, SHORT.callers)
    assert latencies(result).get_total_count() == 0


@pytest.mark.parametrize("callers", [1, 4, 16])
async def test_waiting_counts_in_the_closed_loop(callers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(closed, "time", clock)
    load = Load(callers=callers, connections=1, seconds=128 * BUSY, warmup=64 * BUSY)
    result = await run(load, Server(clock.work))
    assert (result.calls, result.errors) == (128, 0)
    assert 192 <= result.total <= 192 + callers
    assert result.cpu == pytest.approx(BUSY * result.total / 2)
    for percent in (50, 100):  # each waits for all others; fewer and fewer when the window has ended
        assert histogram.percentile(latencies(result), percent) == pytest.approx(callers * BUSY, rel=2e-3)


# The open loop.


async def test_calls_start_when_they_are_due() -> None:
    server = Server()
    result = await run(PACED, server)
    assert result.errors == 0
    assert result.total == sum(map(len, server.bodies)) == pytest.approx(DUE, abs=1)
    assert result.calls == pytest.approx(DUE * 2 / 3, abs=1)
    assert latencies(result).get_total_count()
    assert abs(len(server.bodies[0]) - len(server.bodies[1])) <= 1


async def test_a_stall_counts_in_full_in_the_open_loop() -> None:
    stall = 0.06
    stalled = False

    async def answer(body: bytes) -> Any:
        nonlocal stalled
        if not stalled and sum(map(len, server.bodies)) > DUE / 3 + 2:
            stalled = True
            time.sleep(stall)  # noqa: ASYNC251  this is the stall
        return await echo(body)

    server = Server(answer)
    result = await run(PACED, server)
    assert result.errors == 0
    # Those that were due meanwhile, each 5 ms later than the one before, were held up by what was left of it.
    for late in (10, 20, 30, 40, 50):
        assert slower(result, late / 1e3) >= (stall * 1e3 - late) // 5 - 1


def slower(result: Result, seconds: float) -> int:
    """Calls whose latency was above this."""
    recorded = latencies(result).get_recorded_iterator()
    return sum(one.count_at_value_iterated_to for one in recorded if one.value_iterated_to * histogram.UNIT > seconds)


@pytest.mark.parametrize("answer", [wrong, failing])
async def test_every_failure_is_counted_in_the_open_loop(answer: Any) -> None:
    server = Server(answer)
    result = await run(PACED, server)
    assert (result.calls, result.total) == (0, 0)
    assert result.errors == sum(map(len, server.bodies)) == pytest.approx(DUE, abs=1)


async def test_what_never_was_answered_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "PATIENCE", 0.02)
    every_third = 0

    async def answer(body: bytes) -> Any:
        nonlocal every_third
        every_third += 1
        return await (silent if every_third % 3 == 0 else echo)(body)

    before = asyncio.all_tasks()
    result = await run(PACED, Server(answer))
    assert result.errors == pytest.approx(DUE / 3, abs=1)
    assert result.total + result.errors == pytest.approx(DUE, abs=1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_never_was_sent_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "PATIENCE", 0.02)
    monkeypatch.setattr(paced, "MOST", 5)
    server = Server(silent)
    result = await run(PACED, server)
    assert sum(map(len, server.bodies)) == 5
    assert (result.calls, result.total) == (0, 0)
    assert result.errors == pytest.approx(DUE, abs=1)


def sizes(server: Server) -> list[int]:
    return sorted({len(body) for bodies in server.bodies for body in bodies})


BESIDE = Load(pattern="open", connections=2, seconds=0.1, warmup=0.0, rate=100, background=50)
LARGE = 5
"""The 1 MiB bodies of it."""


async def test_large_bodies_beside() -> None:
    server = Server()
    result = await run(BESIDE, server)
    assert result.errors == 0
    assert result.total == pytest.approx(10, abs=1)
    assert sizes(server) == [581, 1 << 20]
    assert sum(map(len, server.bodies)) - result.total == pytest.approx(LARGE, abs=1)


@pytest.mark.parametrize("answer", [wrong, failing, silent])
async def test_failures_of_the_large_bodies(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "PATIENCE", 0.02)

    async def either(body: bytes) -> Any:
        return await (echo if len(body) == 581 else answer)(body)

    result = await run(BESIDE, Server(either))
    assert result.total == pytest.approx(10, abs=1)
    assert result.errors == pytest.approx(LARGE, abs=1)


# Notifies.


class Counter:
    """A server of notifies that has handled a thousand before this load.

    Of each hundred it loses some and counts some twice; after so many looks at its count it has handled all.
    """

    def __init__(self, lost: int = 0, twice: int = 0, looks: int = 1) -> None:
        self.lost, self.twice, self.looks = lost, twice, looks
        self.sent = self.handled = self.asked = 0

    async def notified(self, body: bytes) -> None:
        assert len(body) == 581
        self.sent += 1

    def received(self) -> int:
        self.asked += 1
        arrived = self.sent - self.sent // 100 * (self.lost - self.twice)
        self.handled = min(arrived, self.handled + arrived // self.looks)
        return 1000 + self.handled

    def server(self) -> Server:
        return Server(notified=self.notified, received=self.received)


async def test_what_counts_is_what_the_server_has_handled() -> None:
    counter = Counter()
    result = await run(NOTES, counter.server())
    assert result.calls == result.total == counter.sent > 0
    assert (result.errors, result.histogram) == (0, "")
    assert result.seconds >= NOTES.warmup + NOTES.seconds


async def test_a_slow_server_of_notifies_is_waited_for() -> None:
    counter = Counter(looks=20)
    result = await run(NOTES, counter.server())
    assert (result.calls, result.errors) == (counter.sent, 0)
    assert counter.asked > counter.looks  # once before the load
    assert result.seconds > NOTES.warmup + NOTES.seconds


@pytest.mark.parametrize("counter", [Counter(lost=3), Counter(twice=3)], ids=["lost", "twice"])
async def test_lost_and_doubled_notifies_are_errors(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oneway, "PATIENCE", 0.02)
    result = await run(NOTES, counter.server())
    assert result.errors == counter.sent // 100 * 3 > 0
    assert result.calls == counter.sent + (counter.twice - counter.lost) * counter.sent // 100


# Reverse calls.


async def test_reverse_merges_what_the_connections_did() -> None:
    together = asyncio.Barrier(3)
    shares: list[Load] = []

    async def reverse(load: Load) -> Result:
        shares.append(load)
        number = len(shares)
        async with asyncio.timeout(5):
            await together.wait()  # all connections at the same time
        return Result(number, 2 * number, number - 1, 99.0, 99.0, histogram.encoded([0.01 * number] * number))

    load = Load(pattern="reverse", callers=7, connections=3, seconds=0.5)
    result = await run(load, Server(reverse=reverse))
    assert (result.calls, result.total, result.errors, result.seconds) == (6, 12, 3, 0.5)
    assert result.cpu < 5  # of this process
    assert [histogram.percentile(latencies(result), percent) for percent in (10, 50, 100)] == (
        pytest.approx([0.01, 0.02, 0.03], rel=1e-3)
    )
    assert {(share.pattern, share.callers, share.connections, share.seconds) for share in shares} == (
        {("closed", 2, 1, 0.5)}
    )


async def test_a_failed_reverse_call_fails_the_load() -> None:
    with pytest.raises(ConnectionError):
        await run(Load(pattern="reverse", connections=2), Server(reverse=failing))
