"""A service that fails now and then, called with Retry; and one that is down, left alone by CircuitBreaker.

python -m examples.retry
"""

from __future__ import annotations

import logging

import arpc
from arpc.middleware import CircuitBreaker, Retry

router = arpc.Router()
asked = {"/stock": 0, "/price": 0}


@router.handle("/stock")
async def stock(ctx: arpc.Context) -> int:
    """Two of three calls are refused: they were not executed, and the caller may send them again."""
    asked["/stock"] += 1
    if asked["/stock"] % 3:
        raise arpc.RpcError("the shelf is being counted", arpc.Code.UNAVAILABLE, {"retry_after": 0.01})
    print(f"attempt {ctx.metadata['retry_attempt']} found 7")
    return 7


@router.handle("/price")
async def price() -> int:
    asked["/price"] += 1
    raise RuntimeError("the database of prices is gone")


def on_retry(ctx: arpc.Outgoing, error: Exception, attempt: int, wait: float) -> None:
    print(f"{ctx.method}: {error}; once more")


async def main() -> None:
    retry = Retry(wait_jitter=0.01, on_retry=on_retry)
    breaker = CircuitBreaker(3, reset=30, on_change=lambda of, state: print(f"the circuit of {of} is {state}"))
    # Retry stands outside of the breaker: each attempt counts there, and it sees what the breaker refuses.
    serving = arpc.serve("tcp://127.0.0.1:0", router)
    async with serving as server, arpc.connect(server.address, outgoing=[retry, breaker]) as peer:
        print("in stock:", await peer.call("/stock", returns=int))

        for _ in range(5):
            try:
                await peer.call("/price", returns=int, timeout=2)
            except arpc.RemoteError as error:
                print("the service says:", error)
            except arpc.CallRefused as error:
                print("not called:", error.code, "for about", round(error.retry_after or 0), "s")
        print("/price was asked", asked["/price"], "times")


if __name__ == "__main__":
    logging.getLogger("arpc").setLevel(logging.CRITICAL)  # the failure over there is part of the show
    arpc.run(main())
