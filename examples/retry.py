"""A service that fails now and then, called with Retry: what was not executed, and what may be executed twice.

python -m examples.retry
"""

from __future__ import annotations

import arpc
from arpc.middleware import Retry

router = arpc.Router()
asked = {"/stock": 0, "/price": 0, "/order": 0}


def fails(method: str) -> bool:
    """Two of three times."""
    asked[method] += 1
    return asked[method] % 3 > 0


@router.handle("/stock")
async def stock() -> int:
    """``unavailable`` means that nothing was executed: any caller may try again."""
    if fails("/stock"):
        raise arpc.RpcError("the shelf is being counted", arpc.Code.UNAVAILABLE, {"retry_after": 0.01})
    return 7


@router.handle("/price")
async def price() -> int:
    if fails("/price"):
        raise arpc.RpcError("prices were changed meanwhile", arpc.Code.ABORTED)
    return 250


@router.handle("/order")
async def order() -> str:
    if fails("/order"):
        raise arpc.RpcError("prices were changed meanwhile", arpc.Code.ABORTED)
    return "ordered"


def on_retry(ctx: arpc.Outgoing, error: Exception, attempt: int, wait: float) -> None:
    print(f"{ctx.method}: {error}; attempt {attempt}")


async def main() -> None:
    # To ask for a price twice does no harm. To order twice does.
    retry = Retry(wait_initial=0.01, wait_jitter=0.01, idempotent=["/price"], on_retry=on_retry)
    serving = arpc.serve("tcp://127.0.0.1:0", router)
    async with serving as server, arpc.connect(server.address, outgoing=[retry]) as peer:
        print("in stock:", await peer.call("/stock", returns=int))
        print("for:", await peer.call("/price", returns=int))
        try:
            await peer.call("/order", returns=str)
        except arpc.RemoteError as error:
            print(f"not sent again: {error.code}: {error}")


if __name__ == "__main__":
    arpc.run(main())
