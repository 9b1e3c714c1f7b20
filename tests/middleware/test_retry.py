"""Retry, seen by callers: what is sent again, how often, and what the last error says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import arpc
from arpc.middleware import Middleware, Next, Retry, RetryBudget, Timeout
from tests.middleware.scripted import Clock, Script
from tests.tools import eventually

SOON: dict[str, Any] = {"wait_initial": 0.001, "wait_jitter": 0.001}


class Service:
    """Counts what it serves, and fails as it is told."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []
        self.slow = 0
        """So many calls never answer."""
        self.router = arpc.Router()
        self.router.handle("/get")(self.serve)
        self.router.handle("/put")(self.serve)
        self.router.stream("/watch")(self.watch)

    async def serve(self, ctx: arpc.Context) -> int:
        self.calls.append(dict(ctx.metadata))
        if self.slow:
            self.slow -= 1
            await asyncio.Event().wait()
        if self.errors:
            raise self.errors.pop(0)
        return len(self.calls)

    async def watch(self, ctx: arpc.Context) -> AsyncIterator[int]:
        self.calls.append(dict(ctx.metadata))
        if self.errors:
            raise self.errors.pop(0)
        yield 1

    def connect(self, *outgoing: Middleware, scheme: str = "mem://0") -> Any:
        return _Link(self.router, outgoing, scheme)


class _Link:
    def __init__(self, router: arpc.Router, outgoing: tuple[Middleware, ...], address: str) -> None:
        self._router, self._outgoing, self._address = router, outgoing, address

    async def __aenter__(self) -> arpc.Client:
        self._server = await arpc.serve(self._address, self._router)
        self._client = await arpc.connect(self._server.address, outgoing=self._outgoing)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._server.stop()


@pytest.fixture
def service() -> Service:
    return Service()


def unavailable(**details: Any) -> arpc.RpcError:
    return arpc.RpcError("not now", arpc.Code.UNAVAILABLE, details or None)


@pytest.mark.parametrize("scheme", ["mem://0", "tcp://127.0.0.1:0"])
async def test_what_was_not_executed_is_sent_again(service: Service, scheme: str) -> None:
    service.errors = [unavailable(), arpc.RpcError("full", "overloaded")]
    async with service.connect(Retry(**SOON), scheme=scheme) as peer:
        assert await peer.call("/put", returns=int) == 3
        assert service.calls == [{}, {"retry_attempt": 2}, {"retry_attempt": 3}]
        assert await peer.call("/put", returns=int) == 4


async def test_a_peer_without_metadata_is_sent_none(service: Service) -> None:
    script = Script([arpc.ConnectionClosed("gone")])
    serving = arpc.serve("mem://0", service.router, extensions=False)
    outgoing = [Retry(**SOON), script]
    async with serving as server, arpc.connect(server.address, outgoing=outgoing, extensions=False) as peer:
        assert await peer.call("/put", returns=int) == 1
    assert script.seen == [{}, {"retry_attempt": 2}]
    assert service.calls == [{}]


@pytest.mark.parametrize(
    ("error", "any_method", "idempotent"),
    [
        (lambda: arpc.ConnectionClosed("gone", sent=False), True, True),
        (lambda: arpc.ConnectionClosed("gone", sent=True), False, True),
        (lambda: arpc.CallTimeout("late"), False, True),
        (lambda: arpc.RemoteError("x", "unavailable"), True, True),
        (lambda: arpc.RemoteError("x", "overloaded"), True, True),
        (lambda: arpc.RemoteError("x", "resource_exhausted", {"retry_after": 0.001}), True, True),
        (lambda: arpc.RemoteError("x", "resource_exhausted"), False, False),
        (lambda: arpc.RemoteError("x", "aborted"), False, True),
        (lambda: arpc.RemoteError("x", "deadline_exceeded"), False, True),
        (lambda: arpc.RemoteError("x", "internal"), False, False),
        (lambda: arpc.RemoteError("x", "unknown"), False, False),
        (lambda: arpc.RemoteError("x", "invalid_argument"), False, False),
        (lambda: arpc.RemoteError("x"), False, False),
        (lambda: arpc.MethodNotFound(), False, False),
        (lambda: arpc.CallRefused("x", "unavailable", {"retry_after": 0.001}), True, True),
        (lambda: arpc.CallRefused("x", "permission_denied"), False, False),
        (lambda: arpc.Overstock("x"), False, False),
        (lambda: arpc.EncodeError("x"), False, False),
        (lambda: arpc.DecodeError("x"), False, False),
        (lambda: arpc.LimitExceeded("x"), False, False),
        (lambda: arpc.LocalProtocolError("x"), False, False),
        (lambda: RuntimeError("a middleware's own"), False, False),
    ],
)
async def test_which_errors_are_retried(
    service: Service, error: Callable[[], BaseException], any_method: bool, idempotent: bool
) -> None:
    """The table of docs/middleware-calls.md."""
    for method, again in (("/put", any_method), ("/get", idempotent)):
        script = Script([error])
        async with service.connect(Retry(idempotent=["/g*"], **SOON), script) as peer:
            if again:
                await peer.call(method)
            else:
                with pytest.raises(type(error())):
                    await peer.call(method)
        assert len(script.seen) == 1 + again, method


async def test_a_method_is_idempotent_by_what_a_function_says(service: Service) -> None:
    script = Script([arpc.RemoteError("x", "aborted")] * 2)
    retry = Retry(idempotent=lambda ctx: ctx.body == b"1", **SOON)
    async with service.connect(retry, script) as peer:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/nothing", 2)
        assert caught.value.__notes__[0].endswith("it may have been executed, and idempotent= does not name it")
        with pytest.raises(arpc.MethodNotFound) as missing:
            await peer.call("/nothing", 1)
        assert "2 attempts" in missing.value.__notes__[0]
        assert "does not mend" in missing.value.__notes__[0]


async def test_the_last_error_says_how_often_it_was_tried(service: Service) -> None:
    service.errors = [unavailable() for _ in range(5)]
    async with service.connect(Retry(3, **SOON)) as peer:
        with pytest.raises(arpc.RemoteError, match=r"^not now") as caught:
            await peer.call("/put")
    assert len(service.calls) == 3
    (note,) = caught.value.__notes__
    assert note.startswith("/put: 3 attempts in ")
    assert note.endswith(" s, and no more: attempts=3")


async def test_the_callers_deadline_is_kept(service: Service) -> None:
    service.errors = [unavailable(retry_after=10) for _ in range(3)]
    async with service.connect(Retry(idempotent=["/get"], **SOON)) as peer:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/put", timeout=5)
        assert "its deadline leaves" in caught.value.__notes__[0]
        assert "would wait 10" in caught.value.__notes__[0]
        service.errors = []
        service.slow = 1
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/get", timeout=0.05)
    assert len(service.calls) == 2


async def test_no_attempt_begins_after_the_timeout(service: Service) -> None:
    service.errors = [unavailable() for _ in range(99)]
    clock = Clock()
    retry = Retry(None, timeout=10, wait_initial=4, wait_jitter=0, clock=clock, sleep=clock.sleep)
    async with service.connect(retry) as peer:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/put", timeout=None)
    assert caught.value.__notes__ == [
        "/put: 3 attempts in 9.000 s, and no more: the next would wait 5 s, past the timeout of 10 s"
    ]


async def test_waits_grow_up_to_the_most(service: Service) -> None:
    service.errors = [unavailable() for _ in range(1100)]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    retry = Retry(None, timeout=None, wait_jitter=0, budget=None, sleep=sleep)
    async with service.connect(retry) as peer:
        await peer.call("/put")
        assert waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
        assert set(waits[7:]) == {5.0}
        waits.clear()
        service.errors = [unavailable(retry_after=0.25), unavailable()]
        await peer.call("/put", timeout=60)
        assert waits == [0.25, 0.2]
        await peer.call("/put")


async def test_an_attempt_that_is_late_is_repeated(service: Service) -> None:
    """Timeout inside of Retry bounds each attempt; the handler that was given up is cancelled over there."""
    service.slow = 1
    async with service.connect(Retry(idempotent=["/get"], **SOON), Timeout(0.02)) as peer:
        assert await peer.call("/get", returns=int, timeout=5) == 2


async def test_a_cancelled_call_waits_no_more(service: Service) -> None:
    service.errors = [unavailable()]
    async with service.connect(Retry(wait_initial=100, wait_max=100, timeout=None)) as peer:
        call = asyncio.create_task(peer.call("/put", timeout=None))
        await eventually(lambda: service.calls and not service.errors)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(service.calls) == 1


async def test_a_connection_that_has_ended_is_not_tried_again(service: Service) -> None:
    async with service.connect(Retry(**SOON)) as peer:
        await peer.close()
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await peer.call("/put")
    assert caught.value.__notes__ == ["/put: 1 attempt in 0.000 s, and no more: the connection has ended for good"]


async def test_a_connection_that_ends_meanwhile(service: Service) -> None:
    service.errors = [unavailable()]
    ended: list[arpc.Client] = []

    async def sleep(seconds: float) -> None:
        await ended[0].close()

    async with service.connect(Retry(sleep=sleep)) as peer:
        ended.append(peer)
        with pytest.raises(arpc.RemoteError, match="not now") as caught:
            await peer.call("/put")
    assert "ended for good" in caught.value.__notes__[0]
    assert len(service.calls) == 1


async def test_a_spent_budget_stops_retries_until_calls_succeed(service: Service) -> None:
    budget = RetryBudget(4, 0.5)
    first, second = Retry(budget=budget, **SOON), Retry(budget=budget, **SOON)
    assert first.budget is second.budget is budget
    service.errors = [unavailable() for _ in range(2)]
    async with service.connect(first) as one, service.connect(second) as other:
        with pytest.raises(arpc.RemoteError) as caught:
            await one.call("/put")
        assert caught.value.__notes__[0].endswith("no more: retry budget spent")
        assert repr(budget) == "<RetryBudget 2 of 4, spent>"
        service.errors = [unavailable()]
        with pytest.raises(arpc.RemoteError):
            await other.call("/put")
        assert (budget.left, budget.spent) == (1, True)
        for _ in range(8):
            await other.call("/put")
        assert repr(budget) == "<RetryBudget 4 of 4>"
        service.errors = [unavailable()]
        await one.call("/put")


async def test_notifies_are_sent_again_only_when_they_were_not_sent(service: Service) -> None:
    script = Script([arpc.ConnectionClosed("gone"), None, arpc.ConnectionClosed("gone", sent=True)])
    async with service.connect(Retry(idempotent=["*"], **SOON), script) as peer:
        await peer.notify("/put")
        await eventually(lambda: service.calls)
        with pytest.raises(arpc.ConnectionClosed) as caught:
            await peer.notify("/put")
        assert caught.value.__notes__[0].endswith("a notify is not sent twice")
    assert len(script.seen) == 3


async def test_try_notify_does_not_wait_for_another_attempt(service: Service) -> None:
    async with service.connect(Retry(**SOON), Script([arpc.ConnectionClosed("gone")])) as peer:
        with pytest.raises(arpc.Overstock, match="would have to wait"):
            peer.try_notify("/put")


async def test_streams_pass(service: Service) -> None:
    service.errors = [unavailable()]
    async with service.connect(Retry(**SOON)) as peer:
        with pytest.raises(arpc.StreamReset, match="not now"):
            async with peer.stream("/watch", returns=int) as items:
                await items.recv()
    assert len(service.calls) == 1


async def test_retries_are_told(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.errors = [unavailable()]
    told: list[tuple[str, str, int, float]] = []

    def on_retry(ctx: arpc.Outgoing, error: Exception, attempt: int, wait: float) -> None:
        told.append((ctx.method, str(error), attempt, wait))
        raise ValueError("an observer's own")

    retry = Retry(wait_initial=0.001, wait_jitter=0, on_retry=on_retry)
    with caplog.at_level(logging.INFO, "arpc"):
        async with service.connect(retry) as peer:
            await peer.call("/put")
    assert told == [("/put", "not now", 2, 0.001)]
    assert "/put: not now; attempt 2 comes in 0.001 s" in caplog.messages
    assert "on_retry of /put failed" in caplog.messages


async def test_each_attempt_ends_for_those_inside(service: Service) -> None:
    """An observer further in is told how its attempt ended, one further out how the call did."""
    service.errors = [unavailable()]
    ends: list[tuple[str, str | None]] = []

    def observer(name: str) -> Middleware:
        async def observed(ctx: arpc.Context, call_next: Next) -> Any:
            ctx.on_end(lambda ctx, error, size: ends.append((name, None if error is None else str(error))))
            return await call_next(ctx)

        return observed

    async with service.connect(observer("outer"), Retry(**SOON), observer("inner")) as peer:
        await peer.call("/put")
    assert ends == [("inner", "not now"), ("inner", None), ("outer", None)]


async def test_it_stands_around_what_goes_out_only(service: Service) -> None:
    with pytest.raises(arpc.RegistrationError, match=r"Retry stands around what goes out: write outgoing="):
        await arpc.serve("mem://0", service.router, middleware=[Retry()])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"attempts": 0}, "attempts is a whole number of 1 or more, or None for any number, not 0"),
        ({"attempts": 1.5}, "attempts is a whole number"),
        ({"attempts": True}, "attempts is a whole number"),
        ({"timeout": 0}, "timeout is seconds above 0, or None for ever, not 0"),
        ({"wait_initial": -1}, "wait_initial is seconds, 0 or more, not -1"),
        ({"wait_max": float("nan")}, "wait_max is seconds"),
        ({"wait_jitter": "1"}, "wait_jitter is seconds"),
        ({"wait_exp_base": 0.5}, "wait_exp_base is a number of 1 or more, not 0.5"),
        ({"budget": 10}, "budget is a RetryBudget, or None for none, not 10"),
        ({"idempotent": "/get"}, "idempotent is a list of methods, or of patterns such as \"/get*\", not '/get'"),
        ({"idempotent": [1]}, "idempotent is a list of methods"),
    ],
)
def test_options_that_make_no_sense(options: Any, problem: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Retry(**options)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(("tokens", "ratio"), [(0, 0.1), (float("inf"), 0.1), (10, 0), (10, 1.5), (10, float("nan"))])
def test_a_budget_that_makes_no_sense(tokens: float, ratio: float) -> None:
    with pytest.raises(ValueError, match=r"^(tokens|ratio) is "):
        RetryBudget(tokens, ratio)


@pytest.mark.parametrize("options", [{}, {"wait_max": 10_000.0}])
async def test_no_wait_without_end_is_asked_of_it(service: Service, options: dict[str, Any]) -> None:
    clock = Clock()
    service.errors = [unavailable(retry_after=5000), unavailable(retry_after=1e300)]
    retry = Retry(timeout=None, clock=clock, sleep=clock.sleep, **{**SOON, **options})
    async with service.connect(retry) as peer:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/get", timeout=None)
        (note,) = caught.value.__notes__
        assert note.endswith("without a deadline or timeout= the most is 3600 s")
        assert len(service.calls) == (2 if options else 1)
