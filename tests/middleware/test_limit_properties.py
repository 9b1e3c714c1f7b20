"""What holds of ConcurrencyLimit and RateLimit whatever comes when, by a loop whose time is virtual."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from arpc.errors import RpcError
from arpc.middleware import ConcurrencyLimit, Next, RateLimit, Target
from tests.middleware.virtual import Message, Someone, now, run

TARGET = Target("/x", "message", False, bytes)
SLACK = 1e-5
"""Seconds by which floats, and the clock's resolution, may be off."""


@dataclass
class Planned:
    """A message: when it comes after the one before, how long it is served, when its caller gives up (after so long,
    and then so many turns of the loop)."""

    after: float
    takes: float
    gives_up: float | None
    turns: int
    peer: int


quarters = st.integers(0, 12).map(lambda number: number / 4)
planned = st.builds(Planned, quarters, quarters, st.none() | quarters, st.integers(0, 3), st.integers(0, 1))


@dataclass
class Seen:
    """What became of them, in order of time."""

    came: dict[int, float] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    refused: dict[int, tuple[float, Any]] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    running: Counter[int] = field(default_factory=Counter[int])
    """By peer, or all as one."""
    most: int = 0


async def replay(plan: list[Planned], chain: Next, seen: Seen, peers: list[Someone]) -> None:
    async def one(number: int) -> None:
        message: Any = Message(peers[plan[number].peer], number)
        seen.came[number] = now()
        try:
            await chain(message)
        except RpcError as error:
            seen.refused[number] = now(), error.details
        except asyncio.CancelledError:
            seen.cancelled.add(number)

    tasks: list[asyncio.Task[None]] = []
    for number, message in enumerate(plan):
        await asyncio.sleep(message.after)
        task = asyncio.create_task(one(number))
        await asyncio.sleep(0)
        if message.gives_up is not None:
            asyncio.get_running_loop().call_later(message.gives_up, cancel_in, message.turns, task)
        tasks.append(task)
    await asyncio.gather(*tasks)


def cancel_in(turns: int, task: asyncio.Task[None]) -> None:
    if turns:
        asyncio.get_running_loop().call_soon(cancel_in, turns - 1, task)
    else:
        task.cancel()


def serving(plan: list[Planned], seen: Seen, *, by_peer: bool) -> Next:
    async def innermost(ctx: Any) -> None:
        message = plan[ctx.name]
        seen.begun[ctx.name] = now()
        scope = message.peer if by_peer else 0
        seen.running[scope] += 1
        seen.most = max(seen.most, seen.running[scope])
        try:
            await asyncio.sleep(message.takes)
        finally:
            seen.running[scope] -= 1

    return innermost


def in_order(seen: Seen, numbers: list[int]) -> bool:
    begun = [number for number in seen.begun if number in numbers]
    return begun == sorted(begun)


@given(
    plan=st.lists(planned, max_size=25),
    limit=st.integers(1, 3),
    queue=st.integers(0, 4),
    wait=st.none() | st.integers(1, 8).map(lambda number: number / 4),
    per=st.sampled_from(["method", "peer"]),
)
@settings(deadline=None)
def test_never_more_than_the_limit_in_order_and_nobody_waits_for_ever(
    plan: list[Planned], limit: int, queue: int, wait: float | None, per: Literal["method", "peer"]
) -> None:
    async def main() -> None:
        seen, peers = Seen(), [Someone(), Someone()]
        bound = ConcurrencyLimit(limit, per=per, queue=queue, wait=wait if queue else None, clock=now)
        chain = bound.wrap(serving(plan, seen, by_peer=per == "peer"), TARGET)
        await replay(plan, chain, seen, peers)
        assert seen.most <= limit
        assert {*seen.begun, *seen.refused, *seen.cancelled} == {*range(len(plan))}
        for number, begun in seen.begun.items():
            assert wait is None or not queue or begun - seen.came[number] <= wait + SLACK
        for number, (when, details) in seen.refused.items():
            assert when - seen.came[number] <= (wait or 0) + SLACK
            assert details["limit"] == limit
        groups = [[n for n, m in enumerate(plan) if per == "method" or m.peer == peer] for peer in (0, 1)]
        assert all(in_order(seen, group) for group in groups)
        assert not bound._peers
        assert [(slots.taken, slots.waiting) for slots in bound._methods.values()] in ([], [(0, 0)])

    run(main())


@given(
    plan=st.lists(planned, max_size=40),
    rate=st.sampled_from([0.3, 1.0, 3.0, 7.0]),
    burst=st.sampled_from([1.0, 1.5, 2.0, 5.0]),
    wait=st.sampled_from([0.0, 0.5, 2.0, 100.0]),
)
@settings(deadline=None)
def test_never_more_than_rate_times_time_and_a_burst(
    plan: list[Planned], rate: float, burst: float, wait: float
) -> None:
    async def main() -> None:
        seen, peers = Seen(), [Someone(), Someone()]
        bound = RateLimit(rate, burst=burst, wait=wait, clock=now)
        chain = bound.wrap(serving(plan, seen, by_peer=True), TARGET)
        await replay(plan, chain, seen, peers)
        assert {*seen.begun, *seen.refused, *seen.cancelled} == {*range(len(plan))}
        for peer in (0, 1):
            group = [number for number, message in enumerate(plan) if message.peer == peer]
            assert in_order(seen, group)
            passed = [when for number, when in seen.begun.items() if number in group]
            for first, since in enumerate(passed):
                for count, until in enumerate(passed[first:], 1):
                    assert count <= rate * (until - since + SLACK) + burst
            for number in group:
                if number in seen.begun:
                    assert seen.begun[number] - seen.came[number] <= wait + SLACK
                if number in seen.refused:
                    when, details = seen.refused[number]
                    assert when == seen.came[number]
                    assert details["retry_after"] > wait - SLACK
                    earlier = [n for n in group if n < number and when - seen.came[n] <= burst / rate + wait + SLACK]
                    assert len(earlier) >= int(burst)  # somebody has emptied the bucket
        assert not bound._queues

    run(main())
