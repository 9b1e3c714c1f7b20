"""Random schedules: what holds for Retry, its budget, a circuit and a cache, whatever happens in which order."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arpc
from arpc.middleware import Cache, Retry, RetryBudget, Target
from arpc_middleware.circuit import Circuit, State
from tests.middleware.scripted import Clock

times = st.floats(0, 5)


class Call:
    """As much of an outgoing context as a chain looks at, by a clock of the test's."""

    outgoing = True
    kind = "call"
    observers = None
    sent_metadata: dict[str, Any] | None = None

    def __init__(self, clock: Clock, seconds: float | None, body: bytes = b"", method: str = "/get") -> None:
        self.method, self.body, self.peer = method, body, Peer()
        self._clock = clock
        self.deadline = None if seconds is None else clock() + seconds

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - self._clock(), 0.0)

    def attach(self, key: str, value: Any) -> None: ...

    def end(self, error: BaseException | None, size: int = 0, *, since: int = 0) -> None: ...

    def code_of(self, error: BaseException) -> str:
        return "unknown"

    async def lend_while(self, waiting: Any) -> Any:
        return await waiting


class Peer:
    closed = False


TARGET = Target("/get", "message", True, bytes)


@settings(deadline=None)
@given(
    attempts=st.none() | st.integers(1, 6),
    timeout=st.none() | st.floats(0.1, 20),
    seconds=st.none() | st.floats(0.1, 20),
    outcomes=st.lists(st.tuples(times, st.none() | times, st.booleans()), max_size=12),
)
def test_retry_keeps_to_its_attempts_and_to_the_deadline(
    attempts: int | None,
    timeout: float | None,
    seconds: float | None,
    outcomes: list[tuple[float, float | None, bool]],
) -> None:
    """Each outcome: how long an attempt takes, after how long to come back, whether it fails."""
    clock = Clock()
    retry = Retry(attempts, timeout=timeout, budget=None, clock=clock, sleep=clock.sleep)
    ctx: Any = Call(clock, seconds)
    began = clock()
    starts: list[float] = []
    left = iter(outcomes)

    async def call_next(ctx: Any) -> bytes:
        starts.append(clock())
        takes, after, fails = next(left, (0.0, None, False))
        clock.now += takes
        if fails:
            raise arpc.RemoteError("x", "unavailable", None if after is None else {"retry_after": after})
        return b"answer"

    async def run() -> None:
        (result,) = await asyncio.gather(retry.wrap(call_next, TARGET)(ctx), return_exceptions=True)
        failed = len(starts) <= len(outcomes) and outcomes[len(starts) - 1][2]
        assert failed == isinstance(result, arpc.RemoteError)
        assert not failed or f"{len(starts)} attempt" in cast(Any, result).__notes__[0]

    asyncio.run(run())
    assert len(starts) <= (attempts or 99)
    for start in starts[1:]:
        assert seconds is None or start - began < seconds + 1e-9
        assert timeout is None or start - began < timeout + 1e-9
    for before, start, (takes, after, _) in zip(starts, starts[1:], outcomes, strict=False):
        assert start - before >= takes + (after or 0) - 1e-9


@given(tokens=st.floats(1, 50), ratio=st.floats(0.01, 1), events=st.lists(st.booleans(), max_size=200))
def test_a_budget_stays_within_its_bounds(tokens: float, ratio: float, events: list[bool]) -> None:
    """However it goes, no more than half of the tokens and what successes have put back is spent on retries."""
    budget = RetryBudget(tokens, ratio)
    retries = 0
    for succeeded in events:
        if succeeded:
            budget.succeeded()
        else:
            budget.failed()
            retries += not budget.spent
        assert 0 <= budget.left <= tokens
        assert budget.spent == (budget.left <= tokens / 2)
    assert retries <= tokens / 2 + ratio * sum(events) + 1


steps = st.one_of(
    st.tuples(st.just("call"), st.just(0.0)),
    st.tuples(st.sampled_from(["good", "bad", "nothing"]), st.floats(0, 1)),
    st.tuples(st.just("wait"), st.floats(0, 20)),
)


@given(failures=st.integers(1, 4), trial=st.integers(1, 3), schedule=st.lists(steps, max_size=60))
def test_a_circuit(failures: int, trial: int, schedule: list[tuple[str, float]]) -> None:
    """Open, it lets nothing through before its time; half open, never more than its trials; and it gets closed."""
    clock, changes = Clock(), cast("list[State]", ["closed"])
    circuit = Circuit(failures, 10, 10, trial, changes.append, clock)
    running: list[tuple[int, State]] = []
    bad_in_a_row = 0
    for step, number in schedule:
        if step == "wait":
            clock.now += number
        elif step == "call":
            before = circuit.state
            if circuit.admit():
                assert before != "open"
                running.append((circuit.period, circuit.state))
        elif running:
            period, state = running.pop(int(number * (len(running) - 1)))
            current = period == circuit.period
            {"good": circuit.succeeded, "bad": circuit.failed, "nothing": circuit.left}[step](period)
            if current and state == "closed":
                bad_in_a_row = bad_in_a_row + 1 if step == "bad" else bad_in_a_row if step == "nothing" else 0
                assert circuit.state == "closed" or bad_in_a_row >= failures
            elif current and step != "nothing":
                assert circuit.state == ("closed" if step == "good" else "open")
            if circuit.state != "closed":
                bad_in_a_row = 0
        trials = sum(1 for period, state in running if state == "half-open" and period == circuit.period)
        assert trials <= trial
        assert circuit.closed or circuit.trials == trials
    allowed = {("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("half-open", "closed")}
    assert set(pairwise(changes)) <= allowed
    clock.now += 10
    for period, _ in running:
        circuit.left(period)
    assert circuit.admit()
    circuit.succeeded(circuit.period)
    assert circuit.state == "closed"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "answer", "fail", "cancel", "clear", "turn"]), st.integers(0, 7)), max_size=50
    )
)
def test_a_cache_makes_one_call_at_a_time_and_loses_nobody(schedule: list[tuple[str, int]]) -> None:
    asyncio.run(_ask_and_answer(schedule))


async def _ask_and_answer(schedule: list[tuple[str, int]]) -> None:
    clock = Clock()
    cache = Cache(60, methods=["*"], key=lambda ctx: None)
    made: list[asyncio.Future[bytes]] = []
    asked: list[asyncio.Task[bytes]] = []
    cancelled: set[asyncio.Task[bytes]] = set()
    at_once, failures, clears = 0, 0, 0

    async def call_next(ctx: Any) -> bytes:
        nonlocal at_once
        at_once += 1
        assert at_once <= 1 + clears
        made.append(asyncio.get_running_loop().create_future())
        try:
            return await made[-1]
        finally:
            at_once -= 1

    chain = cache.wrap(call_next, TARGET)

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    for step, number in schedule:
        open_calls = [call for call in made if not call.done()]
        if step == "ask":
            asked.append(asyncio.create_task(cast(Any, chain(cast(Any, Call(clock, None))))))
        elif step == "answer" and open_calls:
            open_calls[number % len(open_calls)].set_result(b"answer")
        elif step == "fail" and open_calls:
            failures += 1
            open_calls[number % len(open_calls)].set_exception(arpc.RemoteError("x"))
        elif step == "cancel" and asked:
            cancelled.add(asked[number % len(asked)])
            asked[number % len(asked)].cancel()
        elif step == "clear":
            clears += 1
            cache.clear()
        elif step == "turn":
            await settle()
    await settle()
    while open_calls := [call for call in made if not call.done()]:
        open_calls[0].set_result(b"answer")
        await settle()
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
    wrong = [error for error in results if isinstance(error, arpc.RemoteError)]
    assert len(wrong) <= failures
    for task, result in zip(asked, results, strict=True):
        assert result == b"answer" or task in cancelled or isinstance(result, arpc.RemoteError)
    assert not cache._flights._open
    assert cache._waiting == 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_crowd_over_a_connection(seed: int) -> None:
    """Hundreds ask for few things, some give up: each thing is made once, and everybody else is answered."""
    router, made = arpc.Router(), dict[int, int]()

    @router.handle("/get")
    async def get(number: int) -> int:
        made[number] = made.get(number, 0) + 1
        await asyncio.sleep(0.005)
        return number

    cache = Cache(60, methods=["/get"])
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[cache])
    async with serving as server, arpc.connect(server.address) as peer:
        calls = [asyncio.create_task(peer.call("/get", (n * 7 + seed) % 10, returns=int)) for n in range(300)]
        await asyncio.sleep(0)
        for call in calls[seed::50]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
    for n, result in enumerate(results):
        assert result == (n * 7 + seed) % 10 or n % 50 == seed
    assert max(made.values()) <= 1 + 300 // 50
