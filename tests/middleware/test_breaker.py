"""CircuitBreaker, around what goes out and around handlers: what opens it, who is let through, and what callers see."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import arpc
from arpc.middleware import CircuitBreaker, Layer, Middleware, Next, Timeout
from tests.middleware.scripted import Clock, Script
from tests.tools import eventually


class Service:
    """Fails while it is down, with this error; hangs while it is to."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.release = asyncio.Event()
        self.release.set()
        self.router = arpc.Router()
        for method in ("/get", "/put"):
            self.router.handle(method)(self.get)
        self.router.stream("/watch")(self.watch)

    async def get(self) -> int:
        self.calls += 1
        error = self.error
        await self.release.wait()
        if error is not None:
            raise error
        return self.calls

    async def watch(self, stream: arpc.Stream[int, int]) -> None:
        await stream.send(1)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def outgoing(service: Service, *layers: Middleware, address: str = "mem://0") -> AsyncIterator[arpc.Client]:
    async with arpc.serve(address, service.router) as server, arpc.connect(server.address, outgoing=layers) as peer:
        yield peer


@asynccontextmanager
async def incoming(service: Service, *layers: Middleware, address: str = "mem://0") -> AsyncIterator[arpc.Client]:
    serving = arpc.serve(address, service.router, middleware=layers)
    async with serving as server, arpc.connect(server.address) as peer:
        yield peer


async def fail(peer: arpc.Peer, times: int, method: str = "/get") -> None:
    for _ in range(times):
        with pytest.raises(arpc.RemoteError, match="down"):
            await peer.call(method)


DOWN = arpc.RpcError("down", "unavailable")


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_calls_are_refused_here_while_it_is_open(service: Service, clock: Clock, address: str) -> None:
    changes: list[tuple[object, str]] = []
    breaker = CircuitBreaker(3, reset=30, clock=clock, on_change=lambda of, state: changes.append((of, state)))
    service.error = DOWN
    async with outgoing(service, breaker, address=address) as peer:
        await fail(peer, 3)
        clock.now += 12
        with pytest.raises(arpc.CallRefused) as caught:
            await peer.call("/get")
        assert str(caught.value) == (
            "/get is not called: its circuit is open for 12 s, after 3 failures in a row; try again in 18 s"
        )
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 18)
        assert service.calls == 3
        assert breaker.state("/get") == "open"
        await fail(peer, 1, "/put")
        assert breaker.state("/put") == "closed"

        clock.now += 18
        assert breaker.state("/get") == "half-open"
        await fail(peer, 1)
        assert breaker.state("/get") == "open"
        clock.now += 30
        service.error = None
        assert await peer.call("/get", returns=int) == 6
        assert breaker.state("/get") == "closed"
    assert changes == [("/get", state) for state in ("open", "half-open", "open", "half-open", "closed")]


async def test_a_timer_may_be_a_moment_early(service: Service, clock: Clock) -> None:
    breaker = CircuitBreaker(1, reset=30, clock=clock)
    service.error = DOWN
    async with outgoing(service, breaker) as peer:
        await fail(peer, 1)
        clock.now += 29.998
        with pytest.raises(arpc.CallRefused) as caught:
            await peer.call("/get")
        assert caught.value.retry_after is not None
        clock.now += caught.value.retry_after - 0.0009
        service.error = None
        assert await peer.call("/get", returns=int) == 2
        assert breaker.state("/get") == "closed"


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_around_handlers_callers_are_answered_the_refusal(service: Service, clock: Clock, address: str) -> None:
    service.error = RuntimeError("a database is down")
    breaker = CircuitBreaker(2, reset=30, clock=clock)
    async with incoming(service, breaker, address=address) as peer:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError, match="internal error"):
                await peer.call("/get")
        with pytest.raises(arpc.RemoteError, match=r"^/get is not served: its circuit is open for 0 s, ") as caught:
            await peer.call("/get")
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 30)
        await peer.notify("/get")  # dropped
        await peer.ping()
        assert service.calls == 2
        clock.now += 30
        service.error = arpc.RpcError("not you", "permission_denied")  # it works again
        with pytest.raises(arpc.RemoteError, match="not you"):
            await peer.call("/get")
        assert breaker.state("/get") == "closed"


async def test_failures_count_in_a_row_and_within_the_window(service: Service, clock: Clock) -> None:
    breaker = CircuitBreaker(3, window=10, clock=clock)
    async with outgoing(service, breaker) as peer:
        for _ in range(5):
            service.error = DOWN
            await fail(peer, 2)
            service.error = None
            await peer.call("/get")
        service.error = DOWN
        for _ in range(5):
            await fail(peer, 1)
            clock.now += 6
        assert breaker.state("/get") == "closed"
        await fail(peer, 1)
        clock.now += 1
        await fail(peer, 1)
        assert breaker.state("/get") == "open"


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (arpc.RemoteError("x", "unavailable"), True),
        (arpc.RemoteError("x", "deadline_exceeded"), True),
        (arpc.RemoteError("x", "internal"), True),
        (arpc.ConnectionClosed("x"), True),
        (arpc.CallTimeout("x"), True),
        (arpc.RemoteError("x", "invalid_argument"), False),
        (arpc.RemoteError("x", "overloaded"), False),
        (arpc.RemoteError("x"), False),
        (arpc.CallRefused("x", "unavailable"), False),
        (arpc.LimitExceeded("x"), False),
        (asyncio.CancelledError(), False),
    ],
)
async def test_what_is_a_failure(service: Service, error: BaseException, counts: bool) -> None:
    """The table of docs/middleware-calls.md."""
    breaker = CircuitBreaker(1)
    async with outgoing(service, breaker, Script([error])) as peer:
        with pytest.raises(type(error)):
            await peer.call("/get")
    assert breaker.state("/get") == ("open" if counts else "closed")


async def test_what_counts_can_be_said(service: Service) -> None:
    breaker = CircuitBreaker(1, counts=lambda ctx, error: ctx.code_of(error) == "not_found")
    service.error = arpc.RpcError("x", "internal")
    async with outgoing(service, breaker) as peer:
        with pytest.raises(arpc.RemoteError):
            await peer.call("/get")
        assert breaker.state("/get") == "closed"
        service.error = arpc.RpcError("x", "not_found")
        with pytest.raises(arpc.RemoteError):
            await peer.call("/get")
        assert breaker.state("/get") == "open"


async def test_a_handler_that_its_callers_deadline_ends_has_not_failed(service: Service) -> None:
    breaker = CircuitBreaker(1, counts=lambda ctx, error: True)
    service.release.clear()
    async with incoming(service, breaker) as peer:
        call = asyncio.create_task(peer.call("/put", timeout=None))
        await eventually(lambda: service.calls)
        call.cancel()  # given up: that says nothing about the handler
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/get", timeout=0.02)
        await eventually(lambda: not peer.stats.pending)
        service.release.set()
        assert await peer.call("/get", returns=int) == 3
        assert breaker.state("/get") == breaker.state("/put") == "closed"


async def test_what_fails_after_its_callers_deadline_says_nothing(service: Service) -> None:
    async def late(ctx: arpc.Context, call_next: Next) -> Any:
        try:
            return await call_next(ctx)
        except asyncio.CancelledError:
            raise DOWN from None

    breaker = CircuitBreaker(1)
    service.release.clear()
    async with incoming(service, breaker, late) as peer:
        with pytest.raises((arpc.CallTimeout, arpc.RemoteError)):  # whichever comes first
            await peer.call("/get", timeout=0.02)
        service.release.set()
        assert await peer.call("/get", returns=int) == 2


async def test_a_timeout_of_the_handlers_own_has_failed(service: Service) -> None:
    breaker = CircuitBreaker(1)
    service.release.clear()
    async with incoming(service, breaker, Timeout(0.01)) as peer:
        with pytest.raises(arpc.RemoteError, match=r"took longer than 0\.01 s"):
            await peer.call("/get", timeout=5)
        assert breaker.state("/get") == "open"


async def test_circuits_of_so_many_methods_that_some_are_forgotten(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arpc_middleware.breaker.METHODS", 4)
    breaker = CircuitBreaker(1, counts=lambda ctx, error: ctx.method.startswith("/bad"))
    async with outgoing(service, breaker) as peer:
        for method in ("/bad1", "/fine1", "/fine2", "/fine3", "/fine4"):
            with pytest.raises(arpc.MethodNotFound):
                await peer.call(method)
        assert breaker.state("/bad1") == "open"  # those that are closed go first
        for method in ("/bad2", "/bad3", "/bad4", "/bad5"):
            with pytest.raises(arpc.MethodNotFound):
                await peer.call(method)
        states = [breaker.state(f"/bad{number}") for number in range(1, 6)]
        assert states == ["closed", "open", "open", "open", "open"]


@pytest.mark.parametrize("side", [outgoing, incoming])
async def test_a_trial_that_is_given_up_gives_its_place_back(
    service: Service, clock: Clock, side: Callable[..., Any]
) -> None:
    breaker = CircuitBreaker(1, reset=10, clock=clock)
    service.error = DOWN
    async with side(service, breaker) as peer:
        await fail(peer, 1)
        clock.now += 10
        service.error = None
        service.release.clear()
        trial = asyncio.create_task(peer.call("/get", timeout=None))
        await eventually(lambda: service.calls == 2)
        with pytest.raises(
            (arpc.CallRefused, arpc.RemoteError), match="a trial is under way; try again soon"
        ) as caught:
            await peer.call("/get")
        refused: Any = caught.value
        assert (refused.code, refused.retry_after) == ("unavailable", None)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        service.release.set()
        await peer.ping()
        assert breaker.state("/get") == "half-open"
        await peer.call("/get")
        assert breaker.state("/get") == "closed"


async def test_several_trials_and_late_results(service: Service, clock: Clock) -> None:
    """A call that began before the circuit opened says nothing about how things are now."""
    breaker = CircuitBreaker(1, reset=10, trial=2, clock=clock)
    async with outgoing(service, breaker) as peer:
        service.release.clear()
        old = asyncio.create_task(peer.call("/get"))
        await eventually(lambda: service.calls == 1)
        service.error = DOWN
        failing = [asyncio.create_task(peer.call("/get")) for _ in range(2)]
        await eventually(lambda: service.calls == 3)
        service.release.set()
        results = await asyncio.gather(old, *failing, return_exceptions=True)
        assert results[0] == 3
        assert breaker.state("/get") == "open"
        clock.now += 10
        service.release.clear()
        service.error = None
        trials = [asyncio.create_task(peer.call("/get")) for _ in range(2)]
        await eventually(lambda: service.calls == 5)
        with pytest.raises(arpc.CallRefused):
            await peer.call("/get")
        service.release.set()
        await asyncio.gather(*trials)
        assert breaker.state("/get") == "closed"


async def test_a_circuit_for_each_peer(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A server that calls its clients: one that fails does not keep the others from being called."""
    changes: list[tuple[object, str]] = []
    breaker = CircuitBreaker(1, per="peer", on_change=lambda of, state: changes.append((of, state)))
    service.error = DOWN
    async with arpc.serve("mem://0", Service().router, outgoing=[breaker]) as server:
        async with arpc.connect(server.address, service.router):
            (bad,) = server.peers
            await fail(bad, 1)
            with pytest.raises(arpc.CallRefused, match="its circuit is open"):
                await bad.call("/put")
            async with arpc.connect(server.address, Service().router):
                (good,) = server.peers - {bad}
                for _ in range(2):
                    await good.call("/put")
            assert (breaker.state(bad), breaker.state(good)) == ("open", "closed")
        assert changes == [(bad, "open")]
    changes.clear()
    caplog.clear()
    del bad, good
    gc.collect()
    assert not breaker._peers


async def test_connections_that_share_a_breaker_share_its_circuits(service: Service) -> None:
    breaker = CircuitBreaker(2)
    service.error = DOWN
    for _ in range(2):
        async with outgoing(service, breaker) as peer:
            await fail(peer, 1)
    assert breaker.state("/get") == "open"


async def test_what_on_change_raises_is_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    def on_change(of: object, state: str) -> None:
        raise ValueError("the application's own")

    service.error = DOWN
    async with outgoing(service, CircuitBreaker(1, on_change=on_change)) as peer:
        await fail(peer, 1)
    assert caplog.messages[-2:] == ["the circuit of /get is open", "on_change of the circuit of /get failed"]


async def test_streams_and_notifies_that_go_out_pass(service: Service) -> None:
    service.error = DOWN
    breaker = CircuitBreaker(1)
    async with outgoing(service, breaker) as peer:
        await fail(peer, 1)
        await peer.notify("/get")
        await eventually(lambda: service.calls == 2)
        async with peer.stream("/watch", returns=int) as items:
            assert await items.recv() == 1


async def test_a_chain_that_raises_where_it_is_called(service: Service, clock: Clock) -> None:
    class Raises(Layer):
        def wrap(self, call_next: Next, target: object) -> Next:
            def raises(ctx: arpc.Context) -> Any:
                raise arpc.RpcError("at once", "unavailable")

            return raises

    breaker = CircuitBreaker(1, clock=clock)
    async with incoming(service, breaker, Raises()) as peer:
        with pytest.raises(arpc.RemoteError, match="at once"):
            await peer.call("/get")
    assert breaker.state("/get") == "open"
    assert breaker.state("/never called") == "closed"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"failures": 0}, "failures is a whole number of 1 or more, not 0"),
        ({"trial": True}, "trial is a whole number"),
        ({"window": 0}, "window is seconds above 0, not 0"),
        ({"reset": -1}, "reset is seconds above 0, not -1"),
        ({"per": "host"}, 'per is "method" or "peer", not \'host\''),
    ],
)
def test_options_that_make_no_sense(options: Any, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        CircuitBreaker(**options)
    assert str(caught.value).startswith(problem)
