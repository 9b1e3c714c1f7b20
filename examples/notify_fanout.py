"""The server tells everybody: ``server.peers`` are those who are connected now, and each can be notified and called.

python -m examples.notify_fanout
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import arpc


@dataclass
class News:
    number: int
    headline: str


class Reader:
    """One client, with what it has been told. An ordered handler sees news in the order in which they were sent."""

    def __init__(self) -> None:
        self.read: list[News] = []
        self.complete = asyncio.Event()
        self.router = arpc.Router()

        @self.router.handle("/news", ordered=True)
        async def news(item: News) -> None:
            self.read.append(item)
            if item.headline == "that was all":
                self.complete.set()


async def tell_all(server: arpc.Server, item: News) -> int:
    """Returns to how many it was sent. Nobody who reads slowly, or has just left, keeps the others waiting."""
    told = 0
    for peer in server.peers:
        try:
            peer.try_notify("/news", item)
            told += 1
        except (arpc.Overstock, arpc.ConnectionClosed):
            continue
    return told


async def main() -> None:
    readers = [Reader() for _ in range(5)]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(arpc.serve("tcp://127.0.0.1:0", arpc.Router()))
        for reader in readers:
            await stack.enter_async_context(arpc.connect(server.address, reader.router))
        for number, headline in enumerate(["rain", "sun", "that was all"]):
            told = await tell_all(server, News(number, headline))
            print(f"  server told {told} readers: {headline}")
            assert told == len(readers)
        async with asyncio.timeout(5):
            for reader in readers:
                await reader.complete.wait()
                assert [item.number for item in reader.read] == [0, 1, 2]
        print(f"  {len(readers)} readers have read all of it, in order")


if __name__ == "__main__":
    arpc.run(main())
