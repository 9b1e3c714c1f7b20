"""A server that ends on SIGTERM: what runs is finished and answered, nothing new is begun.

python -m examples.graceful
"""

from __future__ import annotations

import asyncio
import os
import signal

import arpc
from arpc.middleware import Graceful

router, shop = arpc.Router(), arpc.Router()
begun, paid = asyncio.Event(), asyncio.Event()


@router.handle("/order")
async def order(item: str, ctx: arpc.Context) -> str:
    begun.set()
    await paid.wait()
    price = await ctx.peer.call("/price", item, returns=int)  # handlers that run may call their peers to the end
    return f"{item} for {price}"


@shop.handle("/price")
async def price(item: str) -> int:
    return len(item)


async def serve(address: asyncio.Future[str]) -> None:
    graceful = Graceful("closing for the night")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await arpc.serve("tcp://127.0.0.1:0", router, middleware=[graceful])
    address.set_result(server.address)
    await stop.wait()
    print(f"{graceful.running} order runs")
    ended = await graceful.shutdown(server, timeout=10)
    print(f"all orders have ended by themselves: {ended}")


async def main() -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(address))
    told = asyncio.Event()
    async with arpc.connect(
        await address, shop, on_event=lambda event: told.set() if event.name == "goaway" else None
    ) as peer:
        call = asyncio.create_task(peer.call("/order", "tea", returns=str))
        await begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
        try:
            await peer.call("/order", "cake", returns=str)
        except arpc.ConnectionClosed as error:
            print(f"a second order was not sent: {error}")
        paid.set()
        print(await call)
        await peer.wait_closed()
    await serving


if __name__ == "__main__":
    arpc.run(main())
