"""Where several things happen in one turn, or meet a bound: timeouts, full sockets, pauses and ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import arpc
from arpc.endpoint import Endpoint
from arpc.frame import REQUEST, encode
from arpc.middleware import Timeout
from arpc.options import KIB, MIB
from arpc.runner import Lane, Runner
from arpc.wheel import EXPIRED, TICK, wheel_of
from tests.peer.target import under_attack
from tests.tools import eventually


def endpoint_of(server: arpc.Server) -> Endpoint:
    return server._endpoint


async def test_a_slot_whose_time_is_up_says_so() -> None:
    """A call that the gate lets through in that very turn must not wait in it for ever."""
    loop = asyncio.get_running_loop()
    slot = wheel_of(loop).slots[TICK]
    future: asyncio.Future[Any] = loop.create_future()
    slot.add(future)
    assert not slot.over
    assert await future is EXPIRED
    assert slot.over


async def test_calls_into_a_full_socket_end_in_time() -> None:
    """The gate opens and timeouts come, again and again, in the same turns: none of the calls is forgotten."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(MIB):  # noqa: ASYNC110  # a slow reader, not a wait for something
            await asyncio.sleep(0.001)
        writer.close()

    listener = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    peer = await arpc.connect(f"tcp://127.0.0.1:{port}", extensions=False, write_buffer=64 * KIB)
    began = time.monotonic()
    calls = [peer.call("/x", bytes(8 * KIB), timeout=0.05 + 0.01 * (number % 10)) for number in range(3000)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {arpc.CallTimeout}
    assert time.monotonic() - began < 10
    await peer.close()
    listener.close()


async def test_a_slow_client_of_handlers_that_call_back_is_served() -> None:
    router, calling = arpc.Router(), arpc.Router()

    @router.handle("/ask")
    async def ask(body: bytes, ctx: arpc.Context) -> bytes:
        return bytes(await ctx.peer.call("/size", body, returns=int))

    @calling.handle("/size")
    async def size(body: bytes) -> int:
        return 4 * KIB

    serving = arpc.serve("tcp://127.0.0.1:0", router, max_inflight=4, timeout=30)
    async with serving as server, arpc.connect(server.address, calling, timeout=30) as peer:

        async def one() -> int:
            answer = await peer.call("/ask", b"x", returns=bytes)
            time.sleep(0.00005)  # noqa: ASYNC251  # the client is slow, not asleep: its socket is full most of the time
            return len(answer)

        assert await asyncio.gather(*(one() for _ in range(20_000))) == [4 * KIB] * 20_000


async def test_large_notifies_of_one_turn_stay_within_the_write_buffer() -> None:
    serving = arpc.serve("tcp://127.0.0.1:0", arpc.Router())
    async with serving as server, arpc.connect(server.address, write_buffer=64 * KIB) as peer:
        for body in (bytes(MIB), bytes(60 * KIB), bytes(5 * KIB)):
            await peer.ping()
            sent = 0
            with pytest.raises(arpc.Overstock):
                while sent < 64 * MIB:
                    peer.try_notify("/x", body)
                    sent += len(body)
            connection = peer._connection
            held = connection.unwritten + sum(map(len, connection.session.out))
            assert held <= 2 * len(body) + 256 * KIB


async def test_small_messages_count_for_what_they_hold() -> None:
    async with under_attack(max_inflight=1) as target, await target.connect() as raw:
        await raw.send(b"".join(encode(REQUEST, 0, seq, b"/hang") for seq in range(1, 2001)))
        await eventually(lambda: endpoint_of(target.server).buffered >= 1990 * 256)


async def test_who_closes_properly_while_it_is_not_read_is_served_to_the_end() -> None:
    router, served = arpc.Router(), 0

    @router.handle("/note")
    async def note(body: bytes) -> None:
        nonlocal served
        await asyncio.sleep(0)
        served += 1

    serving = arpc.serve("tcp://127.0.0.1:0", router, max_inflight=2, max_queued=20, stall_timeout=0.4)
    async with serving as server:
        async with arpc.connect(server.address) as peer:
            for _ in range(2000):
                await peer.notify("/note", bytes(2 * KIB))
        await eventually(lambda: served == 2000, within=10)


async def test_a_frame_does_not_stand_still_while_it_is_not_read() -> None:
    release = asyncio.Event()
    async with under_attack(max_inflight=1, max_queued=2, stall_timeout=0.2, notify_grace=5) as target:

        @target.router.handle("/gate")
        async def gate(body: bytes) -> bytes:
            await release.wait()
            return body

        async with await target.connect() as raw:
            requests = b"".join(encode(REQUEST, 0, seq, b"/gate", b"x") for seq in range(1, 9))
            await raw.send(requests + encode(REQUEST, 0, 9, b"/gate", bytes(1000))[:500])
            connection = target.peer()._connection
            await eventually(lambda: connection.reading_paused)
            began = time.monotonic()
            await eventually(lambda: time.monotonic() - began > 0.5)  # that long nothing can arrive
            release.set()
            await raw.send(encode(REQUEST, 0, 9, b"/gate", bytes(1000))[500:])
            for _ in range(9):
                await raw.receive_frame()


async def test_timeout_around_handlers_does_not_cost_a_task_each(monkeypatch: pytest.MonkeyPatch) -> None:
    router, runners = arpc.Router(), 0
    make = Runner.__init__

    def count(runner: Runner, lane: Lane) -> None:
        nonlocal runners
        runners += 1
        make(runner, lane)

    @router.handle("/x")
    async def x() -> None: ...

    monkeypatch.setattr(Runner, "__init__", count)
    serving = arpc.serve("mem://0", router, middleware=[Timeout(5)])
    async with serving as server, arpc.connect(server.address) as peer:
        await asyncio.gather(*(peer.call("/x") for _ in range(200)))
    assert runners < 20


@pytest.mark.parametrize("text", [5, None, ValueError("why")], ids=["number", "nothing", "exception"])
@pytest.mark.parametrize("suspends", [False, True])
async def test_an_rpc_error_of_anything_is_answered(text: object, suspends: bool) -> None:
    router = arpc.Router()

    @router.handle("/x")
    async def x() -> None:
        if suspends:
            await asyncio.sleep(0)
        raise arpc.RpcError(text)

    async with arpc.serve("mem://0", router) as server, arpc.connect(server.address) as peer:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/x", timeout=5)
        assert caught.value.message == str(text)


async def test_a_call_that_times_out_in_a_handler_is_forgotten_though_its_slot_is_long_in_coming() -> None:
    """The handler's call has timed out, it waits for its slot, and is cancelled there: nothing of the call is left."""
    router, calling, hold = arpc.Router(), arpc.Router(), asyncio.Event()

    @router.handle("/ask")
    async def ask(ctx: arpc.Context) -> None:
        await ctx.peer.call("/silent", timeout=0.02)

    @router.handle("/busy")
    async def busy() -> None:
        await hold.wait()

    @calling.handle("/silent")
    async def silent() -> None:
        await hold.wait()

    serving = arpc.serve("mem://0", router, max_inflight=1)
    async with serving as server, arpc.connect(server.address, calling) as peer:
        calls = [asyncio.ensure_future(peer.call(method)) for method in ("/ask", "/busy")]
        (accepted,) = server.peers
        session = accepted._connection.session
        await eventually(lambda: session.pending)
        await eventually(lambda: not session.pending)  # its time is up, and "/busy" has the slot
        assert not calls[0].done()
        hold.set()
        assert isinstance((await asyncio.gather(*calls, return_exceptions=True))[0], arpc.RemoteError)
