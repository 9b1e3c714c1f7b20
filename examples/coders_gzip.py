"""Frames are compressed where that helps: both sides name the coder, handlers and callers see nothing of it.

python -m examples.coders_gzip
"""

from __future__ import annotations

from typing import Any

import arpc
from arpc.coders import Gzip

router = arpc.Router()


@router.handle("/rows")
async def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"row {number}", "tags": ["a", "b"]} for number in range(count)]


class Measured(Gzip):
    """A coder is an ordinary object. This one remembers what it has saved."""

    def __init__(self, threshold: int) -> None:
        super().__init__(threshold)
        self.plain = self.sent = 0

    def encode(self, frame: bytes, values: Any) -> bytes:
        coded = super().encode(frame, values)
        self.plain += len(frame)
        self.sent += len(coded)
        return coded


async def main() -> None:
    gzip = Measured(1024)  # frames of up to 1024 bytes travel as they are
    async with (
        arpc.serve("tcp://127.0.0.1:0", router, coders=[gzip]) as server,
        arpc.connect(server.address, coders=[Gzip()]) as peer,
        arpc.connect(server.address) as other,  # has no such coder: nothing is compressed for this one
    ):
        answer = await peer.call("/rows", 1000, returns=list[dict[str, Any]])
        print(f"  {len(answer)} rows came in {gzip.sent / gzip.plain:.0%} of their bytes")
        assert gzip.sent < gzip.plain / 4
        assert await other.call("/rows", 1000, returns=list[dict[str, Any]]) == answer


if __name__ == "__main__":
    arpc.run(main())
