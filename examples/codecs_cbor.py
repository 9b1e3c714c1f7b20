"""CBOR, for devices that speak it: small bodies, bytes as they are, large integers. Needs the extra `cbor`.

python -m examples.codecs_cbor
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import arpc
from arpc.codecs import CborCodec


@dataclass
class Reading:
    sensor: bytes
    at: datetime
    celsius: float
    counter: int = 0


router = arpc.Router()


@router.handle("/warmer")
async def warmer(reading: Reading) -> Reading:
    return Reading(reading.sensor, reading.at, reading.celsius + 1, reading.counter + 1)


@router.handle("/size")
async def size(body: bytes) -> int:
    return len(body)


async def main() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", router, codec="cbor") as server,
        arpc.connect(server.address, codec=CborCodec()) as peer,
    ):
        reading = Reading(b"\x00\x17\xff", datetime(2026, 5, 1, 12, 30, tzinfo=UTC), 20.5, 2**70)
        answer = await peer.call("/warmer", reading, returns=Reading)
        print(f"  {answer}")
        assert answer == Reading(reading.sensor, reading.at, 21.5, 2**70 + 1)

        # What a device sends is tagged as it likes: times as text or as seconds, integers of any size.
        from_device = bytes.fromhex("a3 66 73656e736f72 41 17 62 6174 c1 1a 69f49f88 67 63656c73697573 f9 4d20")
        answer = await peer.call("/warmer", from_device, returns=Reading)
        print(f"  {answer.celsius} degrees at {answer.at:%H:%M} UTC")
        print(f"  a reading has {await peer.call('/size', reading, returns=int)} bytes")


if __name__ == "__main__":
    arpc.run(main())
