"""The café: prints its address as one line, and serves until the demo ends.

python -m examples.cafe.server
"""

from __future__ import annotations

import asyncio
from itertools import count

import arpc

from .messages import Order, Question, Ready, Receipt, Till, Tip
from .parent import end_with_parent

CENTS = {"espresso": 250, "flat white": 380, "latte": 400}

router = arpc.Router()
numbers = count(1)
tips: list[Tip] = []


@router.handle("/order")
async def order(wish: Order) -> Receipt:
    if wish.drink not in CENTS:
        raise arpc.RpcError(f"we have no {wish.drink}")
    return Receipt(next(numbers), f"{wish.cups} x {wish.drink} for {wish.customer}", wish.cups * CENTS[wish.drink])


@router.handle("/latte")
async def latte(customer: str, ctx: arpc.Context) -> Receipt:
    question = Question("Which milk?", ["oat", "cow"])
    milk = await ctx.peer.call("/ask", question, returns=str, timeout=5)
    return Receipt(next(numbers), f"1 x latte with {milk} milk for {customer}", CENTS["latte"])


@router.handle("/tip")
async def tip(given: Tip) -> None:
    tips.append(given)


@router.handle("/tips")
async def all_tips() -> list[Tip]:
    return tips


@router.handle("/brew")
async def brew(number: int, ctx: arpc.Context) -> None:
    await ctx.peer.notify("/ready", Ready(number, "flat white"))


@router.handle("/roast")
async def roast() -> None:
    await asyncio.sleep(3600)


@router.handle("/echo")
async def echo(body: bytes) -> bytes:
    return body


class RealTill(Till):
    async def total(self, prices: list[int], percent_off: int = 0) -> int:
        return sum(prices) * (100 - percent_off) // 100


async def main() -> None:
    router.register(RealTill())
    async with arpc.serve("tcp://127.0.0.1:0", router) as server:
        print(server.address, flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    end_with_parent()
    arpc.run(main())
