"""JSON, protobuf and MessagePack over one connection: each method has its own codec. Needs the extra `protobuf`.

python -m examples.codecs_per_method
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration  # message classes of yours would do as well: these are there
from google.protobuf.timestamp_pb2 import Timestamp

import arpc


@dataclass
class Thumbnail:
    name: str
    pixels: bytes


class Album:
    @arpc.rpc
    async def first(self) -> Thumbnail:
        """The first picture."""
        raise NotImplementedError


class RealAlbum(Album):
    async def first(self) -> Thumbnail:
        return Thumbnail("cat", bytes(range(4)))


clock = arpc.Router(codec="protobuf")  # for all handlers of this router that say nothing else


@clock.handle("/later")
async def later(time: Timestamp) -> Timestamp:
    return Timestamp(seconds=time.seconds + 60)


@clock.handle("/zone", codec="json")
async def zone(city: str) -> dict[str, int]:
    return {city: 1}


router = arpc.Router()
router.include(clock, "/clock")
router.register(RealAlbum(), codec="msgpack")  # for all methods of a service: here, bytes stay bytes


@router.handle("/add")
async def add(a: int, b: int) -> int:
    """Says nothing: it has the codec of the endpoint, which is JSON."""
    return a + b


@router.stream("/ticks", codec="protobuf")
async def ticks(stream: arpc.Stream[Duration, Duration]) -> None:
    async for wait in stream:
        await stream.send(Duration(seconds=wait.seconds * 2))


async def main() -> None:
    # Nothing on the wire says which codec it is, so callers say the same.
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
        print("json:", await peer.call("/add", {"a": 1, "b": 2}, returns=int))

        answer = await peer.call("/clock/later", Timestamp(seconds=1000), returns=Timestamp, codec="protobuf")
        print("protobuf:", answer.seconds)
        print("json again:", await peer.call("/clock/zone", "Rome"))

        album = peer.service(Album, codec="msgpack")
        print("msgpack:", await album.first())

        async with peer.open_stream("/ticks", returns=Duration, codec="protobuf") as stream:
            await stream.send(Duration(seconds=21))
            print("a stream of protobuf:", (await stream.recv()).seconds)

        try:
            await peer.call("/clock/later", {"seconds": 1000})
        except arpc.RemoteError as error:
            print(f"with the codec forgotten: {error.code}: {error}")


if __name__ == "__main__":
    arpc.run(main())
