"""The server tells everybody at once: the message is encoded once, and a report says who missed it.

python -m examples.broadcast
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import arpc
from arpc.coders import Gzip


@dataclass
class Price:
    product: str
    cents: int


class Screen:
    """A client that shows prices."""

    def __init__(self) -> None:
        self.shown: list[Price] = []
        self.changed = asyncio.Event()
        self.router = arpc.Router()

        @self.router.handle("/prices", ordered=True)
        async def prices(prices: list[Price]) -> None:
            self.shown = prices
            self.changed.set()


async def main() -> None:
    screens = [Screen() for _ in range(5)]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(arpc.serve("tcp://127.0.0.1:0", arpc.Router(), coders=[Gzip()]))
        for screen in screens:
            await stack.enter_async_context(arpc.connect(server.address, screen.router, coders=[Gzip()]))

        prices = [Price(f"product {number}", number * 10) for number in range(500)]
        report = await server.broadcast("/prices", prices, full="drop")
        print(f"  sent to {report.sent} screens, missed by {len(report.missed)}")
        async with asyncio.timeout(5):
            for screen in screens:
                await screen.changed.wait()
                assert screen.shown == prices

        gone = next(iter(server.peers))
        await gone.close()
        report = await server.broadcast("/prices", prices[:1], to=[gone, *server.peers], full="wait")
        print(f"  sent to {report.sent} screens, missed by {len(report.missed)}:")
        for error in report.missed.values():
            print(f"  {type(error).__name__}: {error}")


if __name__ == "__main__":
    arpc.run(main())
