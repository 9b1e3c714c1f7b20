"""What handlers raise goes to a hook, and on."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import arpc
from arpc.middleware import Middleware, Recover
from tests.tools import eventually

user: ContextVar[str] = ContextVar("user", default="nobody")


class Failure(Exception):
    """Can be referred to weakly."""


def router() -> arpc.Router:
    made = arpc.Router()

    @made.handle("/fail")
    async def fail() -> None:
        user.set("ann")
        await asyncio.sleep(0)
        raise Failure("secret")

    @made.handle("/refuse")
    async def refuse() -> None:
        raise arpc.RpcError("no", "internal")

    @made.handle("/sleep")
    async def sleep() -> None:
        await asyncio.sleep(60)

    @made.handle("/value")
    async def value(number: int) -> int:
        raise ValueError("bad")

    @made.stream("/stream")
    async def stream(stream: arpc.Stream[int, int], ctx: arpc.Context) -> None:
        async for number in stream:
            if number == 1:
                raise Failure("one")
            if number == 2:
                raise TimeoutError("two")
            if number == 3:
                raise arpc.StreamReset("of another stream")
        await stream.send(1)

    return made


class Reports(list[tuple[str, BaseException]]):
    def __call__(self, ctx: arpc.Context, error: BaseException) -> None:
        self.append((ctx.method, error))

    def kinds(self) -> list[tuple[str, str]]:
        return [(method, type(error).__name__) for method, error in self]


async def serving(middleware: list[Middleware], use: Callable[[arpc.Client], Any]) -> None:
    server = arpc.serve("mem://0", router(), middleware=middleware)
    async with server as served, arpc.connect(served.address) as peer:
        await use(peer)


async def test_an_exception_is_reported_and_answered_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()

    async def use(peer: arpc.Client) -> None:
        with pytest.raises(arpc.RemoteError, match=r"^internal error$") as caught:
            await peer.call("/fail")
        assert caught.value.code == "internal"

    await serving([Recover(reports)], use)
    assert reports.kinds() == [("/fail", "Failure")]
    assert [record.message for record in caplog.records if record.name == "arpc"] == ["handler /fail failed"]


async def test_an_async_hook_in_the_context_of_the_handler() -> None:
    seen: list[tuple[str, bool]] = []

    async def report(ctx: arpc.Context, error: BaseException) -> None:
        await asyncio.sleep(0)
        seen.append((user.get(), arpc.current() is ctx))

    async def use(peer: arpc.Client) -> None:
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")
        assert seen == [("ann", True)]  # before the answer

    await serving([Recover(report)], use)


async def test_answers_and_cancellation_are_not_reported() -> None:
    reports = Reports()

    async def use(peer: arpc.Client) -> None:
        with pytest.raises(arpc.RemoteError, match=r"^no$"):
            await peer.call("/refuse")
        with pytest.raises(arpc.RemoteError, match="invalid body"):
            await peer.call("/value", "text")
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/sleep", timeout=0.05)
        with pytest.raises(arpc.RemoteError):
            await peer.call("/value", 1)

    await serving([Recover(reports, ignore=ValueError), Recover(reports, ignore=(ValueError, KeyError))], use)
    assert reports == []


async def test_streams() -> None:
    reports = Reports()

    async def use(peer: arpc.Client) -> None:
        for number in 1, 2, 3, "text":
            with pytest.raises(arpc.StreamReset):
                async with peer.open_stream("/stream", returns=int) as stream:
                    await stream.send(number)
                    await stream.recv()
        stream = await peer.open_stream("/stream", returns=int)
        stream.leave()
        await eventually(lambda: peer.stats.streams == 0)

    await serving([Recover(reports)], use)
    assert reports.kinds() == [("/stream", "Failure"), ("/stream", "StreamReset")]


async def test_notifies() -> None:
    reports = Reports()

    async def use(peer: arpc.Client) -> None:
        await peer.notify("/fail")
        await eventually(lambda: reports)

    await serving([Recover(reports)], use)


async def test_the_innermost_of_two_reports_and_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "arpc")  # records of the log would keep it
    outer, inner = Reports(), Reports()

    async def use(peer: arpc.Client) -> None:
        for _ in range(2):
            with pytest.raises(arpc.RemoteError):
                await peer.call("/fail")

    await serving([Recover(outer), Recover(inner)], use)
    assert (outer, inner.kinds()) == ([], [("/fail", "Failure")] * 2)
    failure = weakref.ref(inner[0][1])
    inner.clear()
    gc.collect()
    assert failure() is None


async def test_another_exception_in_its_place_is_reported_too() -> None:
    reports = Reports()

    async def change(ctx: arpc.Context, call_next: Any) -> Any:
        try:
            return await call_next(ctx)
        except Failure as error:
            raise KeyError("other") from error

    async def use(peer: arpc.Client) -> None:
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")

    await serving([Recover(reports), change, Recover(reports)], use)
    assert reports.kinds() == [("/fail", "Failure"), ("/fail", "KeyError")]


async def test_a_hook_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def report(ctx: arpc.Context, error: BaseException) -> None:
        raise OSError("the reporter is down")

    async def use(peer: arpc.Client) -> None:
        with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
            await peer.call("/fail")

    caplog.set_level(logging.ERROR, "arpc")
    await serving([Recover(report)], use)
    messages = [record.message for record in caplog.records if record.name == "arpc"]
    assert messages == ["the report of what a handler of /fail raised failed", "handler /fail failed"]


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((None,), {}, "report is called with a context and an exception, and None cannot be called"),
        ((print,), {"ignore": "ValueError"}, "ignore is a class of exceptions, or a tuple of such, and 'ValueError'"),
        ((print,), {"ignore": (ValueError, int)}, "<class 'int'> is none"),
    ],
)
def test_bad_options(arguments: tuple[Any, ...], options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Recover(*arguments, **options)


async def test_it_stands_around_handlers_alone() -> None:
    with pytest.raises(arpc.RegistrationError, match=r"Recover stands around handlers: write middleware=\[Recover"):
        await arpc.connect("mem://0", outgoing=[Recover(print)])
