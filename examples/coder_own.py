"""A coder of your own: a checksum behind every frame. What is damaged on its way closes the connection, and says why.

python -m examples.coder_own
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import arpc
from arpc.coders import Coder, make_frame


class Checksum(Coder):
    """CRC-32 of the frame, in four bytes behind it, announced by bit 4."""

    name = "crc32"  # in the Hello, by which both sides agree
    bit = 4
    required = True  # the connection is closed where the other side lacks it
    overhead = 4

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        """Bytes 0 to 3 are the length, which ``make_frame`` sets; byte 4 has the bits of all coders."""
        return make_frame(frame[4] | 1 << 4, frame[5:], self.checksum(frame))

    def decode(self, frame: bytes, values: dict[str, Any], limit: int) -> bytes:
        if not frame[4] & 1 << 4:
            raise ValueError("a frame without a checksum")
        plain = make_frame(frame[4] & ~(1 << 4), frame[5:-4])
        if frame[-4:] != self.checksum(plain):
            raise ValueError("a frame was damaged on its way")
        return plain

    def checksum(self, frame: bytes) -> bytes:
        return zlib.crc32(frame[4:]).to_bytes(4, "little")


class Faulty(Checksum):
    """A bad line: changes the last byte of what was said, once it was summed up."""

    def encode(self, frame: bytes, values: Mapping[str, Any]) -> bytes:
        coded = bytearray(super().encode(frame, values))
        coded[-5] ^= 1
        return bytes(coded)


router = arpc.Router()


@router.handle("/pay")
async def pay(cents: int) -> str:
    return f"paid {cents}"


async def main() -> None:
    def tell(event: arpc.Event) -> None:
        if event.name == "close" and "crc32" in event.detail:
            print(f"the server: {event.detail}")

    async with arpc.serve("tcp://127.0.0.1:0", router, coders=[Checksum()], on_event=tell) as server:
        async with arpc.connect(server.address, coders=[Checksum()]) as peer:
            print(await peer.call("/pay", 250, returns=str))

        async with arpc.connect(server.address, coders=[Faulty()]) as peer:
            try:
                await peer.call("/pay", 250, returns=str)
            except arpc.ConnectionClosed as error:
                print(f"the caller: {error}")

        try:
            await arpc.connect(server.address)
        except arpc.ConnectError as error:
            print(f"without it: {error.__cause__}")


if __name__ == "__main__":
    arpc.run(main())
