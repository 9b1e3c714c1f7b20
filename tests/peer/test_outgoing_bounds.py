"""Chains around what goes out: times are kept whatever they wait for, and nobody is left behind who gives up."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import arpc
from arpc.middleware import Layer, Middleware, Next, Target, Timeout
from arpc.opener import open_stream
from tests.peer.raw import Raw
from tests.tools import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")


class Linked:
    def __init__(self, peer: arpc.Peer, got: list[bytes], open_streams: Callable[[], int]) -> None:
        self.peer = peer
        self.got = got
        self.open_streams = open_streams


@asynccontextmanager
async def linked(*outgoing: Middleware) -> AsyncIterator[Linked]:
    got: list[bytes] = []
    router = arpc.Router()

    @router.handle("/notified")
    async def notified(body: bytes) -> None:
        got.append(body)

    @router.stream("/lasts")
    async def lasts(stream: arpc.Stream[int, int]) -> None:
        async for number in stream:
            await stream.send(number)

    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address, outgoing=outgoing) as peer:
        await peer.ping()
        yield Linked(peer, got, lambda: sum(one.stats.streams for one in server.peers))


class Ends(Layer):
    """Notes how messages end."""

    def __init__(self) -> None:
        self.seen: list[BaseException | None] = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        def noted(ctx: arpc.Context) -> Any:
            ctx.on_end(lambda ctx, error, size: self.seen.append(error))
            return call_next(ctx)

        return noted


async def attaches(ctx: arpc.Context, call_next: Next) -> Any:
    assert isinstance(ctx, arpc.Outgoing)
    ctx.attach("key", 1)
    return await call_next(ctx)


@asynccontextmanager
async def silent() -> AsyncIterator[arpc.Peer]:
    """A peer that has not said Hello."""
    async with (
        arpc.serve("tcp://127.0.0.1:0", arpc.Router(), outgoing=[attaches], hello_timeout=60) as server,
        await Raw.connect(server.address),
    ):
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        yield peer


async def test_a_call_keeps_its_time_while_it_is_not_decided_what_may_be_attached() -> None:
    async with silent() as peer:
        with pytest.raises(arpc.CallTimeout, match="has not answered the Hello"):
            await asyncio.wait_for(peer.call("/x", timeout=0.03), 10)


async def test_a_stream_keeps_its_time_while_it_is_not_decided_what_may_be_attached() -> None:
    async with silent() as peer:
        with pytest.raises(arpc.CallTimeout, match="has not answered the Hello"):
            await asyncio.wait_for(opens(peer, timeout=0.03), 10)


async def opens(peer: arpc.Peer, **options: Any) -> arpc.Stream[Any, Any]:
    return await peer.open_stream("/lasts", **options)


class TestTryNotify:
    async def test_a_chain_goes_on_when_it_is_sent(self) -> None:
        go = asyncio.Event()

        async def waits_after(ctx: arpc.Context, call_next: Next) -> Any:
            await call_next(ctx)
            await go.wait()

        ends = Ends()
        async with linked(ends, waits_after) as link:
            link.peer.try_notify("/notified", b"once")
            await eventually(lambda: link.got == [b"once"])
            assert not ends.seen
            go.set()
            await eventually(lambda: ends.seen == [None])

    async def test_what_fails_afterwards_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async def fails_after(ctx: arpc.Context, call_next: Next) -> Any:
            await call_next(ctx)
            await asyncio.sleep(0)
            raise ValueError("afterwards")

        ends = Ends()
        async with linked(ends, fails_after) as link:
            link.peer.try_notify("/notified", b"once")
            await eventually(lambda: link.got == [b"once"] and ends.seen)
        assert repr(ends.seen) == "[ValueError('afterwards')]"
        (record,) = caplog.records
        assert record.getMessage() == "a middleware failed after it had sent the notify /notified"

    async def test_what_is_cancelled_afterwards(self, caplog: pytest.LogCaptureFixture) -> None:
        async def waits_after(ctx: arpc.Context, call_next: Next) -> Any:
            await call_next(ctx)
            await asyncio.sleep(60)

        ends = Ends()
        async with linked(ends, waits_after) as link:
            link.peer.try_notify("/notified", b"once")
            (rest,) = [task for task in asyncio.all_tasks() if task.get_name() == "arpc outgoing /notified"]
            await asyncio.sleep(0)  # it has begun
            rest.cancel()
            await eventually(lambda: ends.seen)
        assert isinstance(ends.seen[0], asyncio.CancelledError)
        assert not caplog.records

    async def test_what_is_raised_before_is_seen_by_those_who_wait_for_the_end(self) -> None:
        class Raises(Layer):
            def wrap(self, call_next: Next, target: Target) -> Next:
                def raises(ctx: arpc.Context) -> Any:
                    raise ValueError("before")

                return raises

        ends = Ends()
        async with linked(ends, Raises()) as link:
            with pytest.raises(ValueError, match="before"):
                link.peer.try_notify("/notified")
        assert repr(ends.seen) == "[ValueError('before')]"

    async def test_a_timeout_in_a_callback_of_the_loop(self) -> None:
        async def waits(ctx: arpc.Context, call_next: Next) -> Any:
            await asyncio.sleep(0)
            return await call_next(ctx)

        errors: list[str] = []

        def notify(peer: arpc.Peer) -> None:
            try:
                peer.try_notify("/notified")
            except arpc.Overstock as error:
                errors.append(str(error))

        async with linked(Timeout(1), waits) as link:
            asyncio.get_running_loop().call_soon(notify, link.peer)
            await eventually(lambda: errors == ["a middleware would have to wait; /notified was not sent"])


class TestWhoOpensGivesUp:
    async def test_nothing_is_left_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        reached = asyncio.Event()

        async def waits(ctx: arpc.Context, call_next: Next) -> Any:
            reached.set()
            await asyncio.sleep(60)

        ends = Ends()
        async with linked(ends, waits) as link:
            opening = asyncio.create_task(opens(link.peer))
            await reached.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await eventually(lambda: ends.seen)
            assert isinstance(ends.seen[0], asyncio.CancelledError)
        with caplog.at_level(logging.ERROR, "asyncio"):
            del opening
            gc.collect()
        assert not caplog.records

    async def test_a_middleware_that_goes_on_opens_nothing(self) -> None:
        reached = asyncio.Event()

        async def goes_on(ctx: arpc.Context, call_next: Next) -> Any:
            reached.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return await call_next(ctx)

        ends = Ends()
        async with linked(ends, goes_on) as link:
            opening = asyncio.create_task(opens(link.peer))
            await reached.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await eventually(lambda: ends.seen)
            assert isinstance(ends.seen[0], asyncio.CancelledError)
            assert link.open_streams() == link.peer.stats.streams == 0

    async def test_a_stream_that_opens_afterwards_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reached, go = asyncio.Event(), asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def opens_late(*args: Any) -> Any:
            stream = await open_stream(*args)
            reached.set()
            await go.wait()
            return stream

        async def shields(ctx: arpc.Context, call_next: Next) -> Any:
            tasks.append(asyncio.create_task(call_next(ctx)))
            return await asyncio.shield(tasks[0])

        monkeypatch.setattr("arpc.layered.open_stream", opens_late)
        async with linked(shields) as link:
            opening = asyncio.create_task(opens(link.peer))
            await reached.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0)  # the chain has gone, too
            go.set()
            await asyncio.wait(tasks)
            assert tasks[0].cancelled()
            await eventually(lambda: link.open_streams() == link.peer.stats.streams == 0)

    async def test_in_the_very_moment_in_which_it_opens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opening: asyncio.Task[Any] | None = None

        async def gives_up(*args: Any) -> Any:
            assert opening is not None
            stream = await open_stream(*args)
            asyncio.get_running_loop().call_soon(opening.cancel)
            return stream

        monkeypatch.setattr("arpc.layered.open_stream", gives_up)
        ends = Ends()
        async with linked(ends) as link:
            opening = asyncio.create_task(opens(link.peer))
            with pytest.raises(asyncio.CancelledError):
                await opening
            await eventually(lambda: ends.seen and link.open_streams() == link.peer.stats.streams == 0)
