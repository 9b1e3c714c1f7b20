"""MessagePack in place of JSON: both sides name the codec, and nothing else changes.

python -m examples.codecs_msgpack
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

import arpc
from arpc.codecs import MsgpackCodec


class Photo(msgspec.Struct):
    """A Struct is decoded faster than a dataclass. In MessagePack, bytes within it stay bytes; JSON needs base64."""

    name: str
    taken: datetime
    pixels: bytes


router = arpc.Router()


@router.handle("/thumbnail")
async def thumbnail(photo: Photo) -> Photo:
    return Photo(f"small {photo.name}", photo.taken, photo.pixels[::2])


async def main() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", router, codec="msgpack") as server,
        arpc.connect(server.address, codec=MsgpackCodec()) as peer,
    ):
        photo = Photo("cat", datetime(2026, 5, 1, 12, 30, tzinfo=UTC), bytes(range(8)))
        small = await peer.call("/thumbnail", photo, returns=Photo)
        print(f"  {small}")
        assert small == Photo("small cat", photo.taken, bytes(range(0, 8, 2)))


if __name__ == "__main__":
    arpc.run(main())
