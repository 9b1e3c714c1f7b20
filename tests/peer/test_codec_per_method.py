"""One router, several codecs: each method may have its own, and so has who calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

import arpc
from arpc.codecs import JsonCodec, MsgpackCodec
from tests.peer.conftest import Connect
from tests.tools import eventually


@dataclass
class Point:
    x: int
    y: int


class Mirror:
    @arpc.rpc
    async def turn(self, point: Point) -> Point:
        return Point(point.y, point.x)

    @arpc.rpc
    async def path(self, point: Point) -> AsyncIterator[Point]:
        yield point
        yield Point(point.y, point.x)


def make_router(seen: list[bytes]) -> arpc.Router:
    packed = arpc.Router(codec="msgpack")

    @packed.handle("/turn")
    async def turn(point: Point, ctx: arpc.Context) -> Point:
        seen.append(ctx.body)
        return Point(point.y, point.x)

    @packed.handle("/json", codec="json")
    async def plain(point: Point, ctx: arpc.Context) -> Point:
        seen.append(ctx.body)
        return Point(point.y, point.x)

    @packed.stream("/path")
    async def path(point: Point) -> AsyncIterator[Point]:
        yield point
        yield Point(point.y, point.x)

    router = arpc.Router()
    router.include(packed, "/packed")
    router.register(Mirror(), codec="msgpack")

    @router.handle("/turn")
    async def by_default(point: Point, ctx: arpc.Context) -> Point:
        seen.append(ctx.body)
        return Point(point.y, point.x)

    @router.stream("/up", codec=MsgpackCodec())
    async def up(points: AsyncIterator[Point]) -> int:
        return sum([point.x async for point in points])

    return router


MSGPACK = MsgpackCodec().encode(Point(1, 2))
JSON = JsonCodec().encode(Point(1, 2))


@pytest.mark.parametrize("scheme", ["mem", "tcp"])
async def test_side_by_side(connect: Connect, scheme: str) -> None:
    seen: list[bytes] = []
    link = await connect(make_router(seen), scheme=scheme)
    peer = link.client
    assert await peer.call("/turn", Point(1, 2), returns=Point) == Point(2, 1)
    assert await peer.call("/packed/turn", Point(1, 2), returns=Point, codec="msgpack") == Point(2, 1)
    assert await peer.call("/packed/json", Point(1, 2), returns=Point, codec=JsonCodec()) == Point(2, 1)
    assert await peer.call("/packed/turn", Point(1, 2), returns=bytes, codec="msgpack") == MsgpackCodec().encode(
        Point(2, 1)
    )
    await peer.notify("/packed/turn", Point(1, 2), codec="msgpack")
    peer.try_notify("/packed/turn", Point(1, 2), codec="msgpack")
    await eventually(lambda: len(seen) == 6)
    assert seen == [JSON, MSGPACK, JSON, MSGPACK, MSGPACK, MSGPACK]


async def test_streams_and_services(connect: Connect) -> None:
    link = await connect(make_router([]))
    peer = link.client
    async with peer.stream("/packed/path", Point(1, 2), returns=Point, codec="msgpack") as points:
        assert [point async for point in points] == [Point(1, 2), Point(2, 1)]
    async with peer.open_stream("/up", returns=int, codec="msgpack") as stream:
        await stream.send(Point(1, 2))
        await stream.send(Point(3, 4))
        await stream.end()
        assert await stream.recv() == 4
    mirror = peer.service(Mirror, codec="msgpack")
    assert await mirror.turn(Point(1, 2)) == Point(2, 1)
    assert [point async for point in mirror.path(Point(1, 2))] == [Point(1, 2), Point(2, 1)]
    await peer.notifier(Mirror, codec="msgpack").turn(Point(1, 2))


async def test_broadcasts(connect: Connect) -> None:
    seen: list[bytes] = []
    link = await connect(arpc.Router(), make_router(seen))
    report = await link.server.broadcast("/packed/turn", Point(1, 2), codec="msgpack")
    assert report.sent == 1
    await eventually(lambda: seen)
    assert seen == [MSGPACK]


async def test_the_other_codec_is_a_clear_error(connect: Connect) -> None:
    link = await connect(make_router([]))
    with pytest.raises(arpc.RemoteError, match="invalid body: expected Point as msgpack") as caught:
        await link.client.call("/packed/turn", Point(1, 2))
    assert caught.value.code == "invalid_argument"
    with pytest.raises(arpc.DecodeError, match="expected list"):
        await link.client.call("/packed/turn", Point(1, 2), returns=list[int], codec="msgpack")


async def test_codecs_that_do_not_exist(connect: Connect) -> None:
    wrong: Any = 5
    router = arpc.Router()
    for codec in ("yaml", wrong):
        with pytest.raises(arpc.RegistrationError, match="no codec"):
            router.handle("/x", codec=codec)(lambda: None)
        with pytest.raises(arpc.RegistrationError, match="no codec"):
            arpc.Router(codec=codec)
    assert router.handlers() == {}
    link = await connect(router)
    for codec in ("yaml", wrong):
        with pytest.raises(ValueError, match="no codec"):
            await link.client.call("/x", codec=codec)
        with pytest.raises(ValueError, match="no codec"):
            await link.client.notify("/x", {}, codec=codec)
        with pytest.raises(ValueError, match="no codec"):
            await link.client.open_stream("/x", codec=codec)
