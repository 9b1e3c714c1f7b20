"""Hedge, seen from both sides: the first good answer wins, and nothing of the others is left."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import arpc
from arpc.middleware import Hedge, Middleware, Next, Timeout
from tests.middleware.scripted import Script
from tests.tools import eventually

DELAY = 0.01


class Service:
    """Calls that hang until they are let go, or end at once."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.hang: set[int] = set()
        """Numbers of the calls that hang, from 1."""
        self.errors: dict[int, BaseException] = {}
        self.release = asyncio.Event()
        self.router = arpc.Router()
        self.router.handle("/get")(self.get)
        self.router.handle("/put")(self.get)
        self.router.stream("/watch")(self.watch)

    async def get(self, ctx: arpc.Context) -> int:
        self.calls += 1
        number = self.calls
        ctx.answer_metadata["by"] = number
        ctx.answer_metadata[f"only {number}"] = True
        if number in self.hang:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if number in self.errors:
            raise self.errors[number]
        return number

    async def watch(self, stream: arpc.Stream[int, int]) -> None:
        await stream.send(1)


@pytest.fixture
def service() -> Service:
    return Service()


async def ask(
    service: Service, *outgoing: Middleware, method: str = "/get", address: str = "mem://0", **call: Any
) -> Any:
    serving = arpc.serve(address, service.router)
    async with serving as server, arpc.connect(server.address, outgoing=outgoing) as peer:
        before = asyncio.all_tasks()
        try:
            return await peer.call(method, **call)
        finally:
            assert asyncio.all_tasks() <= before | {
                task for task in asyncio.all_tasks() if "handler" in task.get_name()
            }


def hedge(**options: Any) -> Hedge:
    return Hedge(DELAY, methods=["/g*"], **options)


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_a_late_call_is_asked_again_and_the_first_is_cancelled(service: Service, address: str) -> None:
    service.hang = {1}
    metadata: dict[str, Any] = {}
    serving = arpc.serve(address, service.router)
    async with serving as server, arpc.connect(server.address, outgoing=[hedge()]) as peer:
        assert await peer.call("/get", returns=int, answer_metadata=metadata) == 2
        await eventually(lambda: service.cancelled == 1)
    assert metadata == {"by": 2, "only 2": True}


async def test_the_first_may_still_win(service: Service) -> None:
    service.hang = {1, 2}

    async def let_go() -> None:
        await eventually(lambda: service.calls == 2)
        service.hang = set()
        service.release.set()

    letting = asyncio.create_task(let_go())
    assert await ask(service, hedge(), returns=int) == 1
    await letting


async def test_a_prompt_answer_is_asked_for_once(service: Service) -> None:
    assert await ask(service, Hedge(60, methods=["/get"]), returns=int) == 1
    assert service.calls == 1


async def test_at_most_so_many(service: Service) -> None:
    service.hang = {1, 2, 3, 4, 5}
    with pytest.raises(arpc.CallTimeout):
        await ask(service, hedge(most=3), timeout=0.15)
    assert service.calls == 3


async def test_an_error_that_another_attempt_may_not_meet_asks_again_at_once(service: Service) -> None:
    service.errors = {1: arpc.RpcError("not now", "unavailable")}
    assert await ask(service, Hedge(60, methods=["/get"]), returns=int) == 2
    service.calls = 0
    service.errors.update({number: arpc.RpcError(f"no {number}", "unavailable") for number in range(9)})
    with pytest.raises(arpc.RemoteError, match=r"^no 3$"):
        await ask(service, Hedge(60, most=3, methods=["/get"]))
    assert service.calls == 3


async def test_who_says_when_to_come_back_is_not_asked_before(service: Service) -> None:
    service.errors = {1: arpc.RpcError("not now", "unavailable", {"retry_after": 3})}
    with pytest.raises(arpc.RemoteError, match=r"^not now$"):
        await ask(service, Hedge(60, methods=["/get"]))
    assert service.calls == 1


async def test_one_that_fails_leaves_the_other_its_time(service: Service) -> None:
    service.hang, service.errors = {1}, {2: arpc.RpcError("not now", "unavailable", {"retry_after": 3})}

    async def let_go() -> None:
        await eventually(lambda: service.calls == 2)
        service.release.set()

    letting = asyncio.create_task(let_go())
    assert await ask(service, hedge(most=3), returns=int) == 1
    await letting


async def test_any_other_error_ends_the_call(service: Service) -> None:
    service.hang, service.errors = {1}, {2: arpc.RpcError("wrong", "invalid_argument")}
    with pytest.raises(arpc.RemoteError, match=r"^wrong$"):
        await ask(service, hedge())
    assert service.calls == 2


async def test_an_attempt_may_have_a_time_of_its_own(service: Service) -> None:
    service.hang = {1}
    assert await ask(service, Hedge(60, methods=["/get"]), Timeout(0.02), returns=int) == 2


async def test_what_an_attempt_cancels_itself_with(service: Service) -> None:
    with pytest.raises(asyncio.CancelledError):
        await ask(service, hedge(), Script([asyncio.CancelledError()]))


async def test_a_cancelled_call_cancels_all(service: Service) -> None:
    service.hang = {1, 2}
    serving = arpc.serve("mem://0", service.router)
    async with serving as server, arpc.connect(server.address, outgoing=[hedge()]) as peer:
        call = asyncio.create_task(peer.call("/get", timeout=None))
        await eventually(lambda: service.calls == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: service.cancelled == 2)


async def test_a_connection_that_ends(service: Service) -> None:
    service.hang = {1, 2}
    serving = arpc.serve("mem://0", service.router)
    async with serving as server, arpc.connect(server.address, outgoing=[hedge()]) as peer:
        call = asyncio.create_task(peer.call("/get", timeout=None))
        await eventually(lambda: service.calls == 2)
        await peer.close()
        with pytest.raises(arpc.ConnectionClosed):
            await call


async def test_what_it_does_not_concern(service: Service) -> None:
    outgoing = [Hedge(0.001, methods=["/get", "/watch"])]
    serving = arpc.serve("mem://0", service.router)
    async with serving as server, arpc.connect(server.address, outgoing=outgoing) as peer:
        service.hang = {1}
        call = asyncio.create_task(peer.call("/put", returns=int))
        await eventually(lambda: service.calls)
        await peer.notify("/get")
        await eventually(lambda: service.calls == 2)
        service.release.set()
        assert await call == 1
        async with peer.stream("/watch", returns=int) as items:
            assert await items.recv() == 1
    assert service.calls == 2


async def test_inside_of_a_handler_its_deadline_and_slot_are_kept(service: Service) -> None:
    """A handler that calls back hedged, at full load: its slot is lent, and its deadline is that of both attempts."""
    service.hang = {1}
    front = arpc.Router()
    left: list[float | None] = []

    @front.handle("/ask")
    async def ask_back(ctx: arpc.Context) -> int:
        answer: int = await ctx.peer.call("/get", returns=int)
        return answer

    async def look(ctx: arpc.Context, call_next: Next) -> Any:
        left.append(ctx.remaining())
        return await call_next(ctx)

    serving = arpc.serve("mem://0", front, outgoing=[hedge()], max_inflight=1)
    async with serving as server, arpc.connect(server.address, service.router, middleware=[look]) as peer:
        first = peer.call("/ask", returns=int, timeout=5)
        assert sorted(await asyncio.gather(first, peer.call("/ask", returns=int, timeout=5))) in (
            [2, 3],
            [2, 4],
            [3, 4],
        )
        await eventually(lambda: server._endpoint.inflight == 0)
    assert all(seconds is not None and seconds <= 5 for seconds in left)


async def test_each_attempt_ends_for_those_inside(service: Service) -> None:
    service.hang = {1}
    ends: list[tuple[type | None, int]] = []
    states: set[int] = set()

    async def observed(ctx: arpc.Context, call_next: Next) -> Any:
        assert isinstance(ctx, arpc.Outgoing)
        states.add(id(ctx.state))
        ctx.attach("attempt", len(ends))
        ctx.on_end(lambda ctx, error, size: ends.append((None if error is None else type(error), size)))
        return await call_next(ctx)

    async def trace(ctx: arpc.Context, call_next: Next) -> Any:
        assert isinstance(ctx, arpc.Outgoing)
        ctx.attach("trace", "x")
        return await call_next(ctx)

    script = Script()
    assert await ask(service, trace, hedge(), observed, script, returns=int) == 2
    assert ends == [(None, 1), (asyncio.CancelledError, 0)]
    assert len(states) == 1
    assert [seen["trace"] for seen in script.seen] == ["x", "x"]


async def test_an_error_that_comes_with_the_answer_is_not_reported(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Both attempts end in the same turn of the loop: the good one wins, and of the other nothing is said."""
    both = asyncio.Event()
    attempts = 0

    async def together(ctx: arpc.Context, call_next: Next) -> Any:
        nonlocal attempts
        attempts += 1
        number = attempts
        if number == 2:
            both.set()
        await both.wait()
        if number == 2:
            raise arpc.RemoteError("late", "unavailable")
        return b"1"

    assert await ask(service, hedge(), together, returns=int) == 1
    gc.collect()
    assert not caplog.records


async def test_what_stands_outside_may_change_what_is_sent() -> None:
    router = arpc.Router()

    @router.handle("/get")
    async def get(body: bytes) -> bytes:
        return body

    async def changes(ctx: arpc.Context, call_next: Next) -> Any:
        ctx.body = b"changed"
        return await call_next(ctx)

    async with (
        arpc.serve("mem://0", router) as server,
        arpc.connect(server.address, outgoing=[changes, hedge()]) as peer,
    ):
        assert await peer.call("/get", b"given", returns=bytes) == b"changed"


async def test_an_answer_that_is_none(service: Service) -> None:
    async def wrong(ctx: arpc.Context, call_next: Next) -> Any:
        return 5

    with pytest.raises(TypeError):
        await ask(service, hedge(), wrong)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delay": 0}, "delay is seconds above 0, not 0"),
        ({"delay": "1"}, "delay is seconds above 0"),
        ({"most": 1}, "most is how often a call may be sent, a whole number of 2 or more, not 1"),
        ({"most": 2.0}, "most is how often"),
        ({"methods": "/get"}, "methods is a list of methods"),
    ],
)
def test_options_that_make_no_sense(options: Any, problem: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Hedge(**{"delay": 1, "methods": ["/get"], **options})
    assert str(caught.value).startswith(problem)
