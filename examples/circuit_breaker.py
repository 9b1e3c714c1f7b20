"""A service that is down is left alone by CircuitBreaker: callers know at once, and a trial finds out when it is back.

python -m examples.circuit_breaker
"""

from __future__ import annotations

import asyncio
import logging

import arpc
from arpc.middleware import CircuitBreaker

router = arpc.Router()
asked = 0
down = True


@router.handle("/price")
async def price(product: str) -> int:
    global asked
    asked += 1
    if down:
        raise RuntimeError("the database of prices is gone")
    return len(product)


async def main() -> None:
    global down
    breaker = CircuitBreaker(3, reset=0.5, on_change=lambda of, state: print(f"the circuit of {of} is {state}"))
    serving = arpc.serve("tcp://127.0.0.1:0", router)
    async with serving as server, arpc.connect(server.address, outgoing=[breaker]) as peer:
        wait = 0.0
        for _ in range(5):
            try:
                await peer.call("/price", "tea", returns=int)
            except arpc.RemoteError as error:
                print(f"the service says: {error}")
            except arpc.CallRefused as error:
                print(f"not called: {error.code}, and it says when to come back: {error.retry_after is not None}")
                wait = error.retry_after or 0
        print(f"/price was asked {asked} times")

        await asyncio.sleep(wait)
        down = False
        print("a trial:", await peer.call("/price", "tea", returns=int))
        print("from now on as ever:", await peer.call("/price", "shortbread", returns=int))


if __name__ == "__main__":
    logging.getLogger("arpc").setLevel(logging.CRITICAL)  # the failure over there is part of the show
    arpc.run(main())
