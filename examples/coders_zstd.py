"""Zstandard and LZ4 side by side: each connection uses what both of its ends have. Needs the extras `zstd` and `lz4`.

python -m examples.coders_zstd
"""

from __future__ import annotations

from collections.abc import Sequence

import arpc
from arpc.coders import Coder, Lz4, Zstd

router = arpc.Router()


@router.handle("/rows")
async def rows(count: int) -> list[str]:
    return [f"row {number}" for number in range(count)]


def told(coder: Coder, plain: bytes, packed: bytes) -> bytes:
    print(f"    {coder.name} left {len(packed) / len(plain):.0%} of {len(plain)} bytes")
    return packed


class ToldZstd(Zstd):
    """As the original, but the server says what it does. What is below the threshold does not come here."""

    def compress(self, data: bytes) -> bytes:
        return told(self, data, super().compress(data))


class ToldLz4(Lz4):
    def compress(self, data: bytes) -> bytes:
        return told(self, data, super().compress(data))


async def main() -> None:
    # Of those that both ends have, the first one compresses.
    coders = [ToldZstd(threshold=1024, level=3), ToldLz4(threshold=1024)]
    clients: list[Sequence[Coder]] = [[Zstd()], [Lz4()], [Zstd(), Lz4()], []]
    async with arpc.serve("tcp://127.0.0.1:0", router, coders=coders) as server:
        for mine in clients:
            async with arpc.connect(server.address, coders=mine) as peer:
                print(f"  a client with {[coder.name for coder in mine]}")
                answer = await peer.call("/rows", 1000, returns=list[str])
                print(f"    {len(answer)} rows from a server with {list(peer.remote_capabilities.coders)}")


if __name__ == "__main__":
    arpc.run(main())
