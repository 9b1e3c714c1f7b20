"""Buffers as bodies: they arrive whole on every path, and large ones are not copied."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from array import array
from collections.abc import AsyncIterator

import numpy as np
import pytest
from numpy.typing import NDArray

import arpc
from arpc.frame import LARGE
from tests.peer.conftest import Connect
from tests.peer.raw import Raw
from tests.tools import eventually

MIB = 1 << 20

schemes = pytest.mark.parametrize("scheme", ["mem", "tcp"])
sizes = pytest.mark.parametrize("size", [0, 1000, LARGE, LARGE + 8, 4 * MIB])


Floats = NDArray[np.float32]


def floats(size: int) -> Floats:
    """That many bytes."""
    return np.arange(size // 4, dtype=np.float32)


def buffers() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/double")
    async def double(values: Floats) -> Floats:
        return values * 2

    @router.handle("/square")
    async def square(values: memoryview) -> memoryview:
        size = len(values) // 2
        return memoryview(bytes(values)).cast("B", (2, size)) if size else values

    return router


@schemes
@sizes
async def test_calls_and_answers(connect: Connect, scheme: str, size: int) -> None:
    link = await connect(buffers(), scheme=scheme, codec="raw")
    values = floats(size)
    doubled = await link.client.call("/double", values, returns=Floats)
    assert np.array_equal(doubled, values * 2)
    if size:
        assert await link.client.call("/square", values.reshape(2, -1), returns=bytes) == values.tobytes()


@schemes
@sizes
async def test_notifies(connect: Connect, scheme: str, size: int) -> None:
    router, got = arpc.Router(), []

    @router.handle("/note")
    async def note(body: bytes, ctx: arpc.Context) -> None:
        got.append((body, dict(ctx.metadata)))

    link = await connect(router, scheme=scheme, codec="raw")
    await link.client.ping()
    values = floats(size)
    await link.client.notify("/note", values)
    await link.client.notify("/note", values.data, metadata={"k": "v"})
    await eventually(lambda: len(got) == 2)
    link.client.try_notify("/note", values)
    await eventually(lambda: len(got) == 3)
    assert got == [(values.tobytes(), {}), (values.tobytes(), {"k": "v"}), (values.tobytes(), {})]


@schemes
@sizes
async def test_items_of_streams(connect: Connect, scheme: str, size: int) -> None:
    router = arpc.Router()

    @router.handle("/doubled")
    async def doubled(values: Floats, items: AsyncIterator[bytes]) -> AsyncIterator[Floats]:
        yield values * 2
        async for item in items:
            yield np.frombuffer(item, np.float32) * 2

    link = await connect(router, scheme=scheme, codec="raw")
    values = floats(size)
    async with link.client.stream("/doubled", values, items=[values, values.data], returns=Floats) as stream:
        assert [np.array_equal(item, values * 2) async for item in stream] == [True] * 3
    async with link.client.open_stream("/doubled", returns=Floats) as opened:
        opened.try_send(values)
        await opened.send(values)
        await opened.end()
        assert [np.array_equal(item, values * 2) async for item in opened] == [True] * 2


async def test_a_json_codec_leaves_memoryviews_alone(connect: Connect) -> None:
    router = arpc.Router()

    @router.handle("/size")
    async def size(body: bytes) -> int:
        return len(body)

    link = await connect(router, codec="json")
    assert await link.client.call("/size", floats(MIB).data, returns=int) == MIB


async def test_what_is_too_large_is_measured_in_bytes(connect: Connect) -> None:
    link = await connect(buffers(), codec="raw", options={"max_body": 2 * MIB})
    with pytest.raises(arpc.LimitExceeded, match="a body of 2097159 bytes"):
        await link.client.call("/double", floats(2 * MIB))


class Sink:
    """A listener that speaks no extension, and reads when it is told to."""

    def __init__(self) -> None:
        self._listener = Raw.listener()
        host, port = self._listener.getsockname()
        self.address = f"tcp://{host}:{port}"

    async def accept(self) -> Raw:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        sock.setblocking(False)
        return Raw(sock)

    def close(self) -> None:
        self._listener.close()


async def test_large_buffers_are_not_copied() -> None:
    """By uvloop, and by asyncio since Python 3.12; before, asyncio copies what the socket does not take at once."""
    sink = Sink()
    async with arpc.connect(sink.address, codec="raw", extensions=False) as client:
        raw = await sink.accept()
        values = np.zeros(32 * MIB, np.uint8)
        receiving = asyncio.create_task(raw.receive(1))
        await asyncio.sleep(0)
        tracemalloc.start()
        await client.notify("/x", values)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await receiving
        raw.close()
    sink.close()
    if sys.version_info >= (3, 12) or not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        assert peak < MIB


async def test_small_buffers_may_change_at_once() -> None:
    sink = Sink()
    async with arpc.connect(sink.address, codec="raw", extensions=False) as client:
        raw = await sink.accept()
        values = array("B", bytes(LARGE))
        await client.notify("/x", values)
        values[0] = 1
        values.append(1)  # nothing holds its memory
        assert (await raw.receive(18 + LARGE))[18:] == bytes(LARGE)
        raw.close()
    sink.close()


async def test_a_bytearray_may_change_at_once() -> None:
    sink = Sink()
    async with arpc.connect(sink.address, codec="raw", extensions=False) as client:
        raw = await sink.accept()
        values = bytearray(8 * MIB)
        await client.notify("/x", values)
        values[-1] = 1
        values.append(1)
        assert (await raw.receive(18 + 8 * MIB))[18:] == bytes(8 * MIB)
        raw.close()
    sink.close()
