from dataclasses import dataclass

import arpc


@dataclass
class Order:
    drink: str
    cups: int


cafe, guest = arpc.Router(), arpc.Router()


@cafe.handle("/order")
async def order(wish: Order, ctx: arpc.Context) -> str:
    milk = await ctx.peer.call("/which-milk", returns=str)  # the server calls the client that is calling it
    return f"{wish.cups} x {wish.drink} with {milk} milk"


@guest.handle("/which-milk")
async def which_milk() -> str:
    return "oat"


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", cafe) as server, arpc.connect(server.address, guest) as peer:
        answer = await peer.call("/order", Order("flat white", 2), returns=str, timeout=5)
        assert answer == "2 x flat white with oat milk"
        print(answer)


arpc.run(main())
