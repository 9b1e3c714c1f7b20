"""RateLimit: so many a second for each peer, and callers are told when to come back.

python -m examples.rate_limit
"""

from __future__ import annotations

import asyncio

import arpc
from arpc.middleware import RateLimit

router = arpc.Router()


@router.handle("/quote", middleware=[RateLimit(2, burst=3)])
async def quote(symbol: str) -> str:
    """Each peer may ask twice a second, and three times at once after a pause."""
    return f"{symbol}: 100"


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router) as server:
        async with arpc.connect(server.address) as eager, arpc.connect(server.address) as other:
            wait = 0.0
            for symbol in ("A", "B", "C"):
                print(await eager.call("/quote", symbol, returns=str))
            try:
                await eager.call("/quote", "D", returns=str)
            except arpc.RemoteError as error:
                print(f"{error.code}: {error}")
                wait = error.retry_after or 0
            print("another peer has its own bucket,", await other.call("/quote", "D", returns=str))

            await asyncio.sleep(wait)
            print("after that wait,", await eager.call("/quote", "D", returns=str))

        # Around calls, where it waits: whoever knows the limit keeps to it, and is never refused.
        async with arpc.connect(server.address, outgoing=[RateLimit(2, burst=3, wait=5)]) as polite:
            answers = [await polite.call("/quote", symbol, returns=str) for symbol in ("A", "B", "C", "D")]
            print("kept to:", ", ".join(answers))


if __name__ == "__main__":
    arpc.run(main())
