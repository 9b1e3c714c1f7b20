"""Streams between two real peers, whatever is done to them in whatever order.

For each direction of each stream, what has been received is at any time a prefix of the items whose ``send()`` has
returned, in order. Whoever was told that the other side has ended has received all of them. At the end nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import arpc
from arpc.hello import EVERY_CAPABILITY
from arpc.options import OptionKeywords
from tests.tools import eventually

STEPS = 50
"""Steps of a run."""
RUNS = 250
"""Runs on each transport."""
LEAST = 8000
"""Steps of all of them; some end early."""

FAILURES = (
    arpc.StreamReset,
    arpc.ConnectionClosed,
    arpc.LocalProtocolError,
    arpc.LimitExceeded,
    arpc.Overstock,
)
"""What using a stream may raise."""

Capability = arpc.Capability
ways: list[OptionKeywords] = [
    {},
    {},
    {},
    {"capabilities": Capability.META | Capability.CREDIT | Capability.EMPTY},
    {"capabilities": EVERY_CAPABILITY & ~Capability.CREDIT},
    {"extensions": False},
    {"extensions": False, "overflow": "reset"},
]


class End:
    """One end of a stream: what went out and came in here."""

    def __init__(self, stream: arpc.Stream[bytes, bytes]) -> None:
        self.stream = stream
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.read_to_the_end = False
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, item: bytes) -> None:
        await self.stream.send(item)
        self.sent.append(item)

    async def receive(self, count: int, *, iterates: bool = False) -> None:
        for _ in range(count):
            try:
                item = await (anext(self.stream) if iterates else self.stream.recv())
            except (arpc.StreamEnded, arpc.StreamReset, StopAsyncIteration):
                self.read_to_the_end = True
                return
            self.received.append(item)

    async def receive_all(self) -> None:
        while not self.read_to_the_end:
            await self.receive(1)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except FAILURES:
                pass

        self.tasks.append(asyncio.get_running_loop().create_task(run()))

    def pending(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks if not task.done()]

    def check(self) -> None:
        for task in self.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self.tasks = self.pending()


class Both:
    """A stream with both of its ends; the far one comes later, or never."""

    def __init__(self, near: arpc.Stream[bytes, bytes]) -> None:
        self.near = End(near)
        self.far: End | None = None
        self.finish: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ends(self) -> list[End]:
        return [self.near] if self.far is None else [self.near, self.far]

    def check(self, *, reset_by_overflow: bool) -> None:
        for end in self.ends():
            end.check()
        if self.far is None:
            assert not self.near.received
            return
        for sender, receiver in ((self.near, self.far), (self.far, self.near)):
            count = len(receiver.received)
            assert receiver.received == sender.sent[:count], "not a prefix of what was sent"
            if receiver.read_to_the_end and not reset_by_overflow:
                assert count == len(sender.sent), "the end came before all items"

    async def serve(self, stream: arpc.Stream[bytes, bytes]) -> None:
        self.far = End(stream)
        while not self.finish.done():
            try:
                await asyncio.shield(self.finish)
            except asyncio.CancelledError:
                pass
        self.finish.result()


async def some_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Streams(RuleBasedStateMachine):
    """A server and a client; either opens streams."""

    address = "mem://0"
    taken = 0
    """Steps, of all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.streams: list[Both] = []
        self.calls: list[asyncio.Task[bytes]] = []
        self.number = 0
        self.options: OptionKeywords = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def within() -> Any:
            async with asyncio.timeout(10):
                return await work

        return self.loop.run_until_complete(within())

    @initialize(way=st.sampled_from(ways), window=st.sampled_from([0, 1, 200, 5000]), limit=st.sampled_from([4, 100]))
    def begin(self, way: OptionKeywords, window: int, limit: int) -> None:
        self.options = {"stream_window": window, "max_streams": limit, "write_buffer": 8192, **way}
        self.run(self.connect())

    def router(self, opener: str) -> arpc.Router:
        """What serves the streams of ``opener``."""
        router = arpc.Router()

        @router.stream("/stream")
        async def serve(stream: arpc.Stream[bytes, bytes]) -> None:
            await self.opened[opener, stream.id].serve(stream)

        @router.handle("/echo")
        def echo(body: bytes) -> bytes:
            return body

        return router

    async def connect(self) -> None:
        self.opened: dict[tuple[str, int], Both] = {}
        self.server = await arpc.serve(self.address, self.router("client"), **self.options)
        self.client = await arpc.connect(self.server.address, self.router("server"), **self.options)
        await self.client.call("/echo", b"", returns=bytes)
        (peer,) = self.server.peers
        self.peers: dict[str, arpc.Peer] = {"client": self.client, "server": peer}

    # --- what may happen

    @rule(side=st.sampled_from(["client", "server"]))
    def open(self, side: str) -> None:
        async def open() -> None:
            try:
                stream = await self.peers[side].open_stream("/stream", returns=bytes, sends=bytes)
            except arpc.LimitExceeded:
                assert self.peers[side].stats.streams >= self.options.get("max_streams", 0)
            else:
                self.opened[side, stream.id] = both = Both(stream)
                self.streams.append(both)

        self.run(open())

    def one(self, data: st.DataObject) -> tuple[Both, End]:
        both = data.draw(st.sampled_from(self.streams))
        return both, data.draw(st.sampled_from(both.ends()))

    def item(self, size: int) -> bytes:
        self.number += 1
        return (b"%d;" % self.number + bytes(size))[: max(size, 8)] if size else b""

    some = precondition(lambda self: self.streams)

    @some
    @rule(data=st.data(), sizes=st.lists(st.sampled_from([0, 1, 10, 100, 3000]), min_size=1, max_size=6))
    def send(self, data: st.DataObject, sizes: list[int]) -> None:
        _, end = self.one(data)

        async def send() -> None:
            for size in sizes:
                end.start(end.send(self.item(size)))
            await some_turns(data.draw(st.integers(0, 3)))

        self.run(send())

    @some
    @rule(data=st.data(), size=st.sampled_from([1, 100, 3000]))
    def try_send(self, data: st.DataObject, size: int) -> None:
        _, end = self.one(data)

        async def send() -> None:
            item = self.item(size)
            try:
                end.stream.try_send(item)
            except FAILURES:
                return
            end.sent.append(item)

        self.run(send())

    @some
    @rule(data=st.data(), count=st.integers(1, 5), iterates=st.booleans(), turns=st.integers(0, 3))
    def receive(self, data: st.DataObject, count: int, iterates: bool, turns: int) -> None:
        _, end = self.one(data)

        async def receive() -> None:
            end.start(end.receive(count, iterates=iterates))
            await some_turns(turns)

        self.run(receive())

    @some
    @rule(data=st.data(), turns=st.integers(0, 3))
    def end(self, data: st.DataObject, turns: int) -> None:
        _, end = self.one(data)

        async def finish() -> None:
            end.start(end.stream.end())
            await some_turns(turns)

        self.run(finish())

    @some
    @rule(data=st.data(), text=st.sampled_from(["", "why"]), turns=st.integers(0, 2))
    def reset(self, data: st.DataObject, text: str, turns: int) -> None:
        _, end = self.one(data)

        async def reset() -> None:
            await (end.stream.reset(text) if text else end.stream.close())
            await some_turns(turns)

        self.run(reset())

    @some
    @rule(data=st.data(), fails=st.booleans())
    def handler_ends(self, data: st.DataObject, fails: bool) -> None:
        both, _ = self.one(data)
        if both.far is not None and not both.finish.done():
            if fails:
                both.finish.set_exception(arpc.RpcError("the handler's"))
            else:
                both.finish.set_result(None)
            self.run(some_turns(1))

    @some
    @rule(data=st.data(), turns=st.integers(0, 2))
    def cancel(self, data: st.DataObject, turns: int) -> None:
        """Gives up something that waits."""
        waiting = [task for both in self.streams for end in both.ends() for task in end.pending()]
        if waiting:
            data.draw(st.sampled_from(waiting)).cancel()
            self.run(some_turns(turns))

    @rule(side=st.sampled_from(["client", "server"]))
    def call(self, side: str) -> None:
        async def call() -> None:
            body = self.item(20)
            answer = asyncio.ensure_future(self.peers[side].call("/echo", body, returns=bytes))
            self.calls.append(answer)
            if self.peers[side]._connection.session.credits:
                assert await answer == body  # whatever waits on streams meanwhile

        self.run(call())

    @rule(count=st.integers(1, 10))
    def turns(self, count: int) -> None:
        self.run(some_turns(count))

    @rule(chance=st.integers(0, 9), abort=st.booleans(), side=st.sampled_from(["client", "server"]))
    def lose_the_connection(self, chance: int, abort: bool, side: str) -> None:
        if chance:
            return

        async def lose() -> None:
            peer = self.peers[side]
            transport = peer._connection.transport
            if abort and transport is not None:
                transport.abort()
            else:
                await peer.close()
            await self.finish()
            await self.connect()

        self.run(lose())

    @invariant()
    def items_are_a_prefix(self) -> None:
        type(self).taken += 1
        self.check()

    def check(self) -> None:
        for both in self.streams:
            both.check(reset_by_overflow=self.options.get("overflow") == "reset")

    # --- the end

    def teardown(self) -> None:
        try:
            if self.options:
                self.run(self.finish())
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def finish(self) -> None:
        """Reads every stream to its end, ends it, and looks for what is left."""
        finishing: list[End] = []

        def all_ended() -> bool:
            ends = [end for both in self.streams for end in both.ends()]  # a far one may come only now
            for end in ends:
                if end not in finishing:
                    finishing.append(end)
                    end.start(end.receive_all())
                    end.start(end.stream.end())
            return not any(end.pending() for end in ends)

        await eventually(all_ended, why="it waits")
        self.check()
        for both in self.streams:
            if not both.finish.done():
                both.finish.set_result(None)
            await both.near.stream.close()
        for result in await asyncio.gather(*self.calls, return_exceptions=True):
            assert isinstance(result, (bytes, arpc.ConnectionClosed)), result
        peers = list(self.peers.values())
        await eventually(lambda: not any(peer.stats.streams for peer in peers), why="there are streams")
        await eventually(lambda: not any(peer._connection.acceptor for peer in peers), why="there are handlers")
        assert not any(peer.stats.stream_bytes or peer._connection.holds for peer in peers)
        for both in self.streams:
            both.finish.exception()  # it was meant
        self.streams.clear()
        self.calls.clear()
        await self.client.close()
        await self.server.stop()
        assert not self.server._endpoint.buffered
        assert not self.client._endpoint.buffered
        await eventually(lambda: len(asyncio.all_tasks()) == 1, why="tasks are left")


class OverTcp(Streams):
    address = "tcp://127.0.0.1:0"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("machine", [Streams, OverTcp], ids=["mem", "tcp"])
def test_streams(machine: type[Streams]) -> None:
    machine.taken = 0
    chosen = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(machine, settings=chosen)
    assert machine.taken >= LEAST
