"""Middleware around what a peer sends, whichever side it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

import arpc
from arpc.coders import Appender
from arpc.middleware import Layer, Next, Target, Timeout
from tests.tools import eventually


class Note(Layer):
    """Notes what is sent and what became of it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.ends: list[tuple[str, int]] = []
        self.results: list[Any] = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        async def note(ctx: arpc.Context) -> Any:
            assert ctx.outgoing
            assert target.outgoing
            assert target.method == ctx.method
            self.sent.append((ctx.kind, ctx.method, ctx.body))
            ctx.on_end(self.end)
            result = await call_next(ctx)
            self.results.append(result)
            return result

        return note

    def end(self, ctx: arpc.Context, error: BaseException | None, size: int) -> None:
        self.ends.append(("ok" if error is None else ctx.code_of(error), size))


def make_router() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/double")
    async def double(number: int, ctx: arpc.Context) -> int:
        ctx.answer_metadata["answered"] = True
        return number * 2

    @router.handle("/seen")
    async def seen(ctx: arpc.Context) -> dict[str, Any]:
        return {"metadata": dict(ctx.metadata), "deadline": ctx.deadline is not None}

    @router.handle("/fails")
    async def fails() -> None:
        raise arpc.RpcError("no", arpc.Code.NOT_FOUND)

    @router.handle("/waits")
    async def waits() -> None:
        await asyncio.sleep(60)

    @router.stream("/echo")
    async def echo(items: AsyncIterator[str], ctx: arpc.Context) -> AsyncIterator[str]:
        async for item in items:
            yield item

    @router.stream("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "item"
        raise arpc.RpcError("enough")

    return router


Around = Callable[..., Coroutine[Any, Any, arpc.Peer]]
"""Takes middleware for what the peer sends, and options of its side."""


@pytest.fixture(params=["client", "server"])
async def around(request: pytest.FixtureRequest, nothing_left: None) -> AsyncIterator[Around]:
    closes: list[Any] = []

    async def connect(*middleware: Any, **options: Any) -> arpc.Peer:
        of_server = {"outgoing": middleware, **options} if request.param == "server" else {}
        of_client = {} if of_server else {"outgoing": middleware, **options}
        server = await arpc.serve("mem://0", make_router(), **of_server)
        client = await arpc.connect(server.address, make_router(), **of_client)
        closes.extend((client.close, server.stop))
        if of_client:
            assert isinstance(client, arpc.Client)
            return client
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        return peer

    yield connect
    for close in closes:
        await close()


async def test_a_call_goes_through(around: Around) -> None:
    note = Note()
    peer = await around(note)
    answer: dict[str, Any] = {}
    assert await peer.call("/double", 21, returns=int, answer_metadata=answer) == 42
    assert answer == {"answered": True}
    assert await peer.call("/double", b"4", returns=bytes) == b"8"
    assert note.sent == [("call", "/double", b"21"), ("call", "/double", b"4")]
    assert note.results == [b"42", b"8"]
    assert note.ends == [("ok", 2), ("ok", 1)]
    assert "Layered" not in repr(peer)


async def test_views_are_bytes_to_a_chain(around: Around) -> None:
    note = Note()
    peer = await around(note)
    assert await peer.call("/double", memoryview(b"21"), returns=int) == 42
    large = memoryview(bytes(200_000))
    await peer.notify("/double", large)
    peer.try_notify("/double", large)
    async with peer.stream("/echo", large, returns=bytes):
        pass
    assert all(body.__class__ is bytes for _, _, body in note.sent)
    assert [len(body) for _, _, body in note.sent] == [2, 200_000, 200_000, 200_000]


async def test_errors_are_seen_as_callers_see_them(around: Around) -> None:
    note = Note()
    peer = await around(note)
    with pytest.raises(arpc.RemoteError, match=r"^no$"):
        await peer.call("/fails")
    with pytest.raises(arpc.CallTimeout):
        await peer.call("/waits", timeout=0.02)
    with pytest.raises(arpc.DecodeError, match="the answer of /double"):
        await peer.call("/double", 1, returns=list[int])
    with pytest.raises(arpc.MethodNotFound):
        await peer.call("/nothing")
    call = asyncio.create_task(peer.call("/waits"))
    await eventually(lambda: len(note.sent) == 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await peer.close()
    with pytest.raises(arpc.ConnectionClosed):
        await peer.call("/double", 1)
    codes = [code for code, _ in note.ends]
    assert codes == ["not_found", "deadline_exceeded", "unknown", "unimplemented", "cancelled", "unavailable"]


async def test_what_is_wrong_before_the_chain_is_told_as_without_one(around: Around) -> None:
    note = Note()
    peer = await around(note)
    wrong: Any = complex
    with pytest.raises(arpc.EncodeError):
        await peer.call("/double", object())
    with pytest.raises(TypeError):
        await peer.call("/double", 1, returns=wrong)
    with pytest.raises(arpc.LocalProtocolError):
        await peer.call("", 1)
    with pytest.raises(ValueError, match="timeout"):
        await peer.call("/double", 1, timeout=-1)
    assert note.sent == []


async def test_notifies_go_through(around: Around) -> None:
    note = Note()
    peer = await around(note)
    await peer.notify("/double", 1)
    peer.try_notify("/double", 2)
    assert note.sent == [("notify", "/double", b"1"), ("notify", "/double", b"2")]
    assert note.results == [None, None]
    await peer.close()
    with pytest.raises(arpc.ConnectionClosed):
        await peer.notify("/double", 3)
    with pytest.raises(arpc.ConnectionClosed):
        peer.try_notify("/double", 4)
    assert note.ends == [("ok", 0), ("ok", 0), ("unavailable", 0), ("unavailable", 0)]


async def test_try_notify_never_waits(around: Around) -> None:
    async def waits(ctx: arpc.Context, call_next: Next) -> Any:
        await asyncio.sleep(60)

    peer = await around(waits)
    with pytest.raises(arpc.Overstock, match="/double was not sent"):
        peer.try_notify("/double", 1)


async def test_what_is_attached_travels_where_it_can(around: Around) -> None:
    async def attach(ctx: arpc.Context, call_next: Next) -> Any:
        assert isinstance(ctx, arpc.Outgoing)
        ctx.attach("hop", len(ctx.metadata))
        assert ctx.metadata["hop"] in (0, 1)
        return await call_next(ctx)

    peer = await around(attach)
    assert (await peer.call("/seen"))["metadata"] == {"hop": 0}
    assert (await peer.call("/seen", metadata={"mine": 1}))["metadata"] == {"mine": 1, "hop": 1}
    await peer.notify("/seen", metadata={"mine": 1})
    peer.try_notify("/seen")
    async with peer.stream("/echo", items=["a"], returns=str) as items:
        assert await items.recv() == "a"


async def test_what_is_attached_stays_where_the_other_side_takes_none(around: Around) -> None:
    async def attach(ctx: arpc.Context, call_next: Next) -> Any:
        assert isinstance(ctx, arpc.Outgoing)
        ctx.attach("hop", 1)
        return await call_next(ctx)

    peer = await around(attach, capabilities=arpc.Capability.CANCEL)
    assert (await peer.call("/seen"))["metadata"] == {}
    peer.try_notify("/seen")
    await peer.notify("/seen")
    with pytest.raises(arpc.LocalProtocolError, match="META"):
        await peer.call("/seen", metadata={"mine": 1})


async def test_the_default_timeout_does_not_travel_a_said_one_does(around: Around) -> None:
    async def attach(ctx: arpc.Outgoing, call_next: Next) -> Any:
        ctx.attach("hop", 1)
        return await call_next(ctx)

    peer = await around(Note(), attach)
    assert (await peer.call("/seen"))["deadline"] is False
    assert (await peer.call("/seen", timeout=20))["deadline"] is True
    assert (await peer.call("/seen", timeout=None))["deadline"] is False


async def test_a_chain_that_waits_takes_of_the_callers_time(around: Around) -> None:
    async def waits(ctx: arpc.Context, call_next: Next) -> Any:
        await asyncio.sleep(0.03)
        assert ctx.remaining() is not None
        return await call_next(ctx)

    peer = await around(waits)
    assert (await peer.call("/seen", timeout=20))["deadline"] is True
    assert (await peer.call("/seen"))["deadline"] is True  # a part of it is over, so it is said
    with pytest.raises(arpc.CallTimeout, match=r"/seen could not be sent within 0\.01 s"):
        await peer.call("/seen", timeout=0.01)


async def test_call_next_may_be_called_again(around: Around) -> None:
    async def twice(ctx: arpc.Context, call_next: Next) -> Any:
        await call_next(ctx)
        return await call_next(ctx)

    peer = await around(twice)
    assert await peer.call("/double", 2, returns=int) == 4


async def test_a_call_inside_of_a_handler_has_its_deadline() -> None:
    router, seen = make_router(), make_router()

    @router.handle("/back")
    async def back(ctx: arpc.Context) -> dict[str, Any]:
        answer: dict[str, Any] = await ctx.peer.call("/seen")
        return answer

    async with (
        arpc.serve("mem://0", router, outgoing=[Note()]) as server,
        arpc.connect(server.address, seen) as peer,
    ):
        assert (await peer.call("/back", timeout=20))["deadline"] is True
        assert (await peer.call("/back"))["deadline"] is False


async def test_a_middleware_answers_itself(around: Around) -> None:
    async def answers(ctx: arpc.Context, call_next: Next) -> Any:
        return b"5" if ctx.body == b"1" else 5

    peer = await around(answers)
    assert await peer.call("/double", 1, returns=int) == 5
    with pytest.raises(TypeError, match="returns the answer's body, bytes, not 5"):
        await peer.call("/double", 2)


async def test_timeout_bounds_calls_and_lets_streams_last(around: Around) -> None:
    peer = await around(Timeout(0.03))
    with pytest.raises(arpc.CallTimeout, match=r"^/waits took longer than 0\.03 s$"):
        await peer.call("/waits")
    async with peer.open_stream("/echo", returns=str) as stream:
        await stream.send("a")
        assert await stream.recv() == "a"


class TestStreams:
    async def test_the_chain_stands_around_all_of_a_stream(self, around: Around) -> None:
        note = Note()
        peer = await around(note)
        async with peer.open_stream("/echo", returns=str) as stream:
            await stream.send("a")
            assert await stream.recv() == "a"
            assert note.sent == [("stream", "/echo", b"")]
            assert note.ends == []
        await eventually(lambda: note.ends)
        assert note.ends == [("ok", 0)]

    async def test_its_end_by_the_other_side(self, around: Around) -> None:
        note = Note()
        peer = await around(note)
        async with peer.stream("/breaks", returns=str) as stream:
            assert await stream.recv() == "item"
            with pytest.raises(arpc.StreamReset, match="enough"):
                await stream.recv()
        await eventually(lambda: note.ends)
        assert note.ends == [("unknown", 0)]

    async def test_its_end_by_an_error_of_this_side(self, around: Around) -> None:
        note = Note()
        peer = await around(note)
        with pytest.raises(ZeroDivisionError):
            async with peer.open_stream("/echo", returns=str):
                raise ZeroDivisionError
        await eventually(lambda: note.ends)
        assert note.ends == [("unknown", 0)]

    async def test_its_end_with_the_connection(self, around: Around) -> None:
        note = Note()
        peer = await around(note)
        stream = await peer.open_stream("/echo", returns=str)
        await peer.close()
        await eventually(lambda: note.ends)
        assert note.ends == [("unavailable", 0)]
        assert stream.closed

    async def test_a_chain_that_raises_before(self, around: Around) -> None:
        async def refuses(ctx: arpc.Context, call_next: Next) -> Any:
            raise arpc.CallRefused("not now", arpc.Code.OVERLOADED)

        peer = await around(refuses)
        with pytest.raises(arpc.CallRefused, match="not now"):
            await peer.open_stream("/echo")

    async def test_a_chain_that_does_not_open_it(self, around: Around) -> None:
        async def forgets(ctx: arpc.Context, call_next: Next) -> Any:
            return None

        peer = await around(forgets)
        with pytest.raises(RuntimeError, match="without opening the stream"):
            await peer.open_stream("/echo")

    async def test_a_chain_that_opens_it_twice(self, around: Around) -> None:
        seen: list[BaseException] = []

        async def twice(ctx: arpc.Context, call_next: Next) -> Any:
            await call_next(ctx)
            try:
                await call_next(ctx)
            except RuntimeError as error:
                seen.append(error)

        peer = await around(twice)
        async with peer.open_stream("/echo"):
            pass
        await eventually(lambda: seen)
        assert "was opened before" in str(seen[0])

    async def test_a_chain_that_ends_while_it_is_open(self, around: Around) -> None:
        async def bounds(ctx: arpc.Context, call_next: Next) -> Any:
            async with asyncio.timeout(0.03):
                return await call_next(ctx)

        peer = await around(bounds)
        async with peer.open_stream("/echo", returns=str) as stream:
            with pytest.raises(TimeoutError):
                await stream.recv()
            assert stream.closed

    async def test_a_chain_that_returns_while_it_is_open(self, around: Around) -> None:
        async def bounds(ctx: arpc.Context, call_next: Next) -> Any:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.03):
                    await call_next(ctx)

        peer = await around(bounds)
        async with peer.open_stream("/echo", returns=str) as stream:
            with pytest.raises(arpc.StreamReset, match="a middleware has ended it"):
                await stream.recv()

    async def test_a_chain_whose_task_is_cancelled(self, around: Around) -> None:
        async def cancels(ctx: arpc.Context, call_next: Next) -> Any:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.03, task.cancel)
            return await call_next(ctx)

        peer = await around(cancels)
        async with peer.open_stream("/echo", returns=str) as stream:
            with pytest.raises(arpc.StreamReset, match="cancelled"):
                await stream.recv()

    async def test_who_opens_gives_up(self, around: Around) -> None:
        reached = asyncio.Event()

        async def waits(ctx: arpc.Context, call_next: Next) -> Any:
            reached.set()
            await asyncio.sleep(60)

        peer = await around(waits)
        opening = asyncio.create_task(opens(peer))
        await reached.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    async def test_its_timeout_is_kept(self, around: Around) -> None:
        peer = await around(Note())
        async with peer.open_stream("/echo", returns=str, timeout=0.03) as stream:
            with pytest.raises(arpc.CallTimeout, match="took too long"):
                await stream.recv()

    async def test_what_is_wrong_with_it_is_told(self, around: Around) -> None:
        peer = await around(Note())
        with pytest.raises(arpc.LocalProtocolError):
            await peer.open_stream("")
        await peer.close()
        with pytest.raises(arpc.ConnectionClosed):
            await peer.open_stream("/echo")


async def opens(peer: arpc.Peer) -> None:
    await peer.open_stream("/echo")


async def test_so_many_methods_that_their_chains_are_made_anew(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arpc.chains.METHODS", 2)
    note = Note()
    peer = await around(note)
    for name in ("/a", "/b", "/c", "/double", "/a"):
        await peer.notify(name, 1)
    assert await peer.call("/double", 3, returns=int) == 6


async def test_what_is_attached_goes_with_the_coder_that_carries_it() -> None:
    async def attach(ctx: arpc.Context, call_next: Next) -> Any:
        assert isinstance(ctx, arpc.Outgoing)
        ctx.attach("carried", "by a coder")
        ctx.attach("hop", 1)
        return await call_next(ctx)

    def coder() -> Appender:
        return Appender("carried", 3, encode=lambda value: str(value).encode(), decode=lambda data: data.decode())

    options: Any = {"capabilities": arpc.Capability.CANCEL}
    async with (
        arpc.serve("mem://0", make_router(), coders=[coder()], **options) as server,
        arpc.connect(server.address, outgoing=[attach], coders=[coder()], **options) as peer,
    ):
        assert (await peer.call("/seen"))["metadata"] == {"carried": "by a coder"}
