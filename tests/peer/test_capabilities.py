"""Whatever two peers offer each other, they get along, and use exactly what both have.

Every set of capabilities meets every other one, and a peer without the extensions, on both ends of a connection; each
pair goes through one scenario in both directions. An error says in its note which pair it comes from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

import arpc
from arpc.hello import EVERY_CAPABILITY
from arpc.options import OptionKeywords
from tests.peer.raw import Events
from tests.tools import eventually

META, CANCEL, CREDIT, GOAWAY, EMPTY = arpc.Capability
NONE = arpc.Capability(0)
WITHOUT = None
"""A peer with ``extensions=False``."""

SETS: list[arpc.Capability | None] = [WITHOUT, *map(arpc.Capability, range(EVERY_CAPABILITY + 1))]
WINDOW = 1024
ITEM = bytes(500)
MANY = 20
"""Items that are far more than a window."""

Check = Callable[[arpc.Peer, arpc.Capability], Coroutine[Any, Any, None]]


def named(offered: arpc.Capability | None) -> str:
    if offered is None:
        return "without"
    return "+".join(str(flag.name) for flag in offered) or "nothing"


def options(offered: arpc.Capability | None, window: int = WINDOW) -> OptionKeywords:
    if offered is None:
        return {"extensions": False, "stream_window": window}
    return {"capabilities": offered, "stream_window": window}


def used(one: arpc.Capability | None, other: arpc.Capability | None) -> arpc.Capability:
    return NONE if one is None or other is None else one & other


def handlers() -> arpc.Router:
    """What each side of each pair serves; ``ctx.peer.state`` keeps the pairs apart."""
    router = arpc.Router()

    @router.handle("/me")
    async def me(name: str, ctx: arpc.Context) -> None:
        ctx.peer.state.update(name=name, held="", gate=asyncio.Event(), ends=asyncio.Queue[str]())

    @router.handle("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    @router.handle("/remaining")
    async def remaining(ctx: arpc.Context) -> float | None:
        return ctx.remaining()

    @router.handle("/fail")
    async def fail() -> None:
        raise arpc.RpcError("no such thing", arpc.Code.NOT_FOUND, {"id": 7})

    @router.handle("/metadata")
    async def metadata(ctx: arpc.Context) -> dict[str, Any]:
        ctx.answer_metadata["cost"] = 7
        return dict(ctx.metadata)

    @router.handle("/hold")
    async def hold(ctx: arpc.Context) -> None:
        state = ctx.peer.state
        state.held = "held"
        try:
            await state.gate.wait()
        except asyncio.CancelledError:
            state.held = "cancelled"
            raise
        state.held = "released"

    @router.handle("/held")
    async def held(ctx: arpc.Context) -> str:
        return str(ctx.peer.state.held)

    @router.handle("/release")
    async def release(ctx: arpc.Context) -> None:
        ctx.peer.state.gate.set()

    @router.handle("/end")
    async def end(ctx: arpc.Context) -> str:
        """How the stream that is served here has ended, when it has."""
        async with asyncio.timeout(20):
            return str(await ctx.peer.state.ends.get())

    add_streams(router)
    return router


def add_streams(router: arpc.Router) -> None:
    @router.handle("/stream/echo")
    async def echo(items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for item in items:
            yield item

    @router.handle("/stream/body")
    async def with_body(body: bytes) -> AsyncIterator[bytes]:
        yield b"for " + (body or b"nothing")

    @router.stream("/stream/metadata")
    async def metadata(stream: arpc.Stream[Any, Any], ctx: arpc.Context) -> None:
        await stream.send(dict(ctx.metadata))

    @router.stream("/stream/flood")
    async def flood(stream: arpc.Stream[bytes, bytes], ctx: arpc.Context) -> None:
        try:
            for _ in range(MANY):
                await stream.send(ITEM)
        except arpc.StreamReset as reset:
            ctx.peer.state.ends.put_nowait(f"reset {reset.message}")
        else:
            ctx.peer.state.ends.put_nowait("sent")

    @router.stream("/stream/leave")
    async def leave(stream: arpc.Stream[bytes, bytes]) -> None:
        await stream.recv()


# --- the scenario: ``peer`` is asked, ``has`` is what both sides have


async def calls(peer: arpc.Peer, has: arpc.Capability) -> None:
    assert await peer.call("/echo", b"x", returns=bytes) == b"x"
    left = await peer.call("/remaining", timeout=20, returns=float | None)
    assert (left is not None and 0 < left <= 20) if META in has else left is None
    assert await peer.call("/remaining", returns=float | None) is None
    with pytest.raises(arpc.RemoteError) as caught:
        await peer.call("/fail")
    said = (arpc.Code.NOT_FOUND, {"id": 7}) if META in has else (None, None)
    assert (caught.value.message, caught.value.code, caught.value.details) == ("no such thing", *said)


async def metadata(peer: arpc.Peer, has: arpc.Capability) -> None:
    given = {"tenant": "a"}
    answer: dict[str, Any] = {}
    if META in has:
        assert await peer.call("/metadata", metadata=given, answer_metadata=answer) == given
        assert answer == {"cost": 7}
        await peer.notify("/echo", b"x", metadata=given)
        async with peer.stream("/stream/metadata", metadata=given) as stream:
            assert await stream.recv() == given
        return
    with pytest.raises(arpc.LocalProtocolError, match="META"):
        await peer.call("/metadata", metadata=given)
    with pytest.raises(arpc.LocalProtocolError, match="META"):
        await peer.notify("/echo", b"x", metadata=given)
    with pytest.raises(arpc.LocalProtocolError, match="META"):
        await peer.open_stream("/stream/metadata", metadata=given)
    assert await peer.call("/metadata", answer_metadata=answer) == {}
    assert answer == {}


async def cancelling(peer: arpc.Peer, has: arpc.Capability) -> None:
    waiting = asyncio.create_task(peer.call("/hold"))
    async with asyncio.timeout(20):
        while await peer.call("/held", returns=str) != "held":
            pass
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await peer.call("/echo", b"x", returns=bytes)  # a Cancel has arrived before this one ...
    assert await peer.call("/held", returns=str) == ("cancelled" if CANCEL in has else "held")
    await peer.call("/release")
    await peer.call("/echo", b"x", returns=bytes)
    assert await peer.call("/held", returns=str) == ("cancelled" if CANCEL in has else "released")


async def items(peer: arpc.Peer, has: arpc.Capability) -> None:
    async with peer.open_stream("/stream/echo", returns=bytes) as stream:
        for item in (b"one", ITEM * 5, b"three"):
            await stream.send(item)
            assert await stream.recv() == item
        if EMPTY in has:
            await stream.send(b"")
            assert await stream.recv() == b""
        else:
            with pytest.raises(arpc.LocalProtocolError, match="EMPTY"):
                await stream.send(b"")
        await stream.send(b"last")
        await stream.end()
        assert [item async for item in stream] == [b"last"]
        with pytest.raises(arpc.StreamEnded):
            await stream.recv()
    async with peer.stream("/stream/echo", items=[ITEM] * MANY, returns=bytes) as stream:
        assert [item async for item in stream] == [ITEM] * MANY
    async with peer.stream("/stream/body", None, returns=bytes) as stream:
        assert [item async for item in stream] == [b"for nothing"]


async def leaving(peer: arpc.Peer, has: arpc.Capability) -> None:
    """This side leaves while the other has more to send than a window."""
    async with peer.open_stream("/stream/flood", returns=bytes) as stream:
        assert await stream.recv() == ITEM
    with pytest.raises(arpc.LocalProtocolError, match="left"):
        await stream.recv()
    end = await peer.call("/end", returns=str)
    if CANCEL not in has:
        assert end == "sent"  # for nobody, and not for ever
    elif CREDIT in has:
        assert end == "reset "
    else:
        assert end in ("sent", "reset ")


async def being_left(peer: arpc.Peer, has: arpc.Capability) -> None:
    """The other side leaves while this one has more to send than a window."""
    async with peer.open_stream("/stream/leave", returns=bytes) as stream:
        try:
            async with asyncio.timeout(20):
                for _ in range(MANY):
                    await stream.send(ITEM)
        except arpc.StreamReset:
            assert CANCEL in has
        else:
            assert CANCEL | CREDIT not in has
        assert [item async for item in stream] == []


async def leaving_a_standstill(peer: arpc.Peer, has: arpc.Capability) -> None:
    """Both sides have more to send than a window, and this one reads nothing."""
    async with peer.open_stream("/stream/echo", returns=bytes) as stream:
        for _ in range(3):
            with suppress(arpc.Overstock):
                for _ in range(MANY):
                    stream.try_send(ITEM)
            await peer.call("/echo", b"x", returns=bytes)  # meanwhile the other side goes on as far as it can
    assert stream.closed


async def refused(peer: arpc.Peer, has: arpc.Capability) -> None:
    """A method that is not served; the frame that opens the stream may also end it."""
    for stream in (
        await peer.stream("/nowhere", ITEM, returns=bytes),
        await peer.stream("/nowhere", items=[ITEM] * MANY, returns=bytes),
        await peer.open_stream("/nowhere", returns=bytes),
    ):
        async with stream:
            if CANCEL in has:
                with pytest.raises(arpc.StreamReset, match="method not found"):
                    await stream.recv()
            else:
                with pytest.raises(arpc.StreamEnded):
                    await stream.recv()


STEPS: list[Check] = [calls, metadata, cancelling, items, leaving, being_left, leaving_a_standstill, refused]


async def run_steps(asked: arpc.Peer, asking: str, has: arpc.Capability) -> None:
    await asked.call("/me", asking)
    for step in STEPS:
        try:
            async with asyncio.timeout(30):
                await step(asked, has)
        except Exception as error:
            error.add_note(f"in {step.__name__}, asked by the {asking}")
            raise


class Pair:
    """A client of the server, with its events."""

    def __init__(
        self, server: arpc.Server, offers: arpc.Capability | None, has: arpc.Capability, window: int = WINDOW
    ) -> None:
        self.server = server
        self.offers = offers
        self.has = has
        self.window = window
        self.events = Events()
        self.client: arpc.Client
        self.peer: arpc.Peer

    async def open(self, router: arpc.Router) -> None:
        known = self.server.peers
        keywords = options(self.offers, self.window)
        keywords["on_event"] = self.events
        self.client = await arpc.connect(self.server.address, router, **keywords)
        await eventually(lambda: self.server.peers - known)
        (self.peer,) = self.server.peers - known

    async def run(self) -> None:
        await run_steps(self.client, "client", self.has)
        await run_steps(self.peer, "server", self.has)
        both = (self.client, self.peer)
        await eventually(lambda: not any(peer.stats.streams for peer in both))
        assert not any(peer.stats.stream_bytes or peer.closed for peer in both)

    async def stopped(self) -> None:
        """After the server has stopped."""
        await asyncio.wait_for(self.client.wait_closed(), 20)
        why = ["the server was stopped"] if GOAWAY in self.has else []
        assert self.events.details("goaway") == why
        assert self.events.details("close") == [": ".join(["the other side closed the connection", *why])]


async def all_of(pairs: list[Pair], what: Callable[[Pair], Coroutine[Any, Any, None]], server: str) -> None:
    """Does that for all pairs at once; the errors of all that fail, each with its pair."""
    ends = await asyncio.gather(*map(what, pairs), return_exceptions=True)
    errors = []
    for pair, end in zip(pairs, ends, strict=True):
        if isinstance(end, BaseException):
            end.add_note(f"server: {server}, client: {named(pair.offers)} with a window of {pair.window}")
            errors.append(end)
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(pairs)} pairs", errors)


async def meet(server: arpc.Server, router: arpc.Router, pairs: list[Pair], name: str) -> None:
    try:
        for pair in pairs:
            await pair.open(router)
        await all_of(pairs, Pair.run, name)
    finally:
        await server.stop()
    await all_of(pairs, Pair.stopped, name)


@pytest.mark.parametrize("offers", SETS, ids=named)
async def test_a_server_and_clients_of_every_set(offers: arpc.Capability | None) -> None:
    router = handlers()
    server = await arpc.serve("mem://0", router, **options(offers))
    await meet(server, router, [Pair(server, other, used(offers, other)) for other in SETS], named(offers))


@pytest.mark.parametrize("window", [0, 1, 564, 5_000])
@pytest.mark.parametrize("offers", [NONE, CREDIT, CANCEL | CREDIT, EVERY_CAPABILITY], ids=named)
async def test_windows_of_any_size(offers: arpc.Capability, window: int) -> None:
    router = handlers()
    server = await arpc.serve("mem://0", router, **options(offers, window))
    pairs = [Pair(server, offers, offers, other) for other in (0, 1, 564, 5_000)]
    await meet(server, router, pairs, f"{named(offers)} with a window of {window}")
