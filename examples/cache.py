"""A slow handler behind a Cache: many ask the same at once, and it runs once; what changes is forgotten.

python -m examples.cache
"""

from __future__ import annotations

import asyncio

import arpc
from arpc.middleware import Cache

router = arpc.Router()
cache = Cache(ttl=60, methods=["/report"], errors={"not_found": 5})
orders = {"Ann": 3}
runs = 0


@router.handle("/report")
async def report(name: str) -> str:
    global runs
    runs += 1
    await asyncio.sleep(0.05)
    if name not in orders:
        raise arpc.RpcError(f"no orders of {name}", arpc.Code.NOT_FOUND)
    return f"{name} has {orders[name]} orders"


@router.handle("/order")
async def order(name: str) -> None:
    orders[name] = orders.get(name, 0) + 1
    cache.clear("/report")


async def main() -> None:
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[cache])
    async with serving as server, arpc.connect(server.address) as peer:
        answers = await asyncio.gather(*[peer.call("/report", "Ann", returns=str) for _ in range(100)])
        print(f"{len(answers)} asked at once and were told {set(answers)}, made {runs} time")

        await peer.call("/order", "Ann")
        print("after an order:", await peer.call("/report", "Ann", returns=str))

        for again in "once", "again":
            try:
                await peer.call("/report", "Bob")
            except arpc.RemoteError as error:
                print(f"asked {again}: {error}")
        stats = cache.stats
        print(f"of {stats.hits + stats.shared + stats.misses} calls {stats.misses} reached the handler")


if __name__ == "__main__":
    arpc.run(main())
