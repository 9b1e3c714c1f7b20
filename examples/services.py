"""A service: one class is the interface, its subclass is what serves it, and both sides are typed.

python -m examples.services
"""

from __future__ import annotations

from dataclasses import dataclass

import arpc


@dataclass
class Item:
    name: str
    cents: int


class Till:
    """The interface: what both sides import. Its marked methods have no bodies worth running."""

    @arpc.rpc
    async def add(self, item: Item, count: int = 1) -> int:
        """Adds items to the bill; returns its new total in cents."""
        raise NotImplementedError

    @arpc.rpc
    async def bill(self) -> list[Item]:
        """Everything on the bill."""
        raise NotImplementedError


class RealTill(Till):
    """The implementation. A method that overrides a marked one is served without a mark of its own."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def add(self, item: Item, count: int = 1) -> int:
        if count < 1:
            raise arpc.RpcError(f"{count} of {item.name} cannot be added")
        self.items += [item] * count
        print(f"  till   {count} x {item.name}, asked by {arpc.current().method}")
        return sum(item.cents for item in self.items)

    async def bill(self) -> list[Item]:
        return self.items


async def main() -> None:
    router = arpc.Router()
    router.register(RealTill())  # as Till.add and Till.bill; register(till, name="Bar") would serve Bar.add
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
        till = peer.service(Till, timeout=5)  # a Till, for type checkers, too
        total = await till.add(Item("espresso", 250))
        total = await till.add(Item("cake", 420), count=2)
        print(f"  client the total is {total} cents")
        assert total == 1090

        # The same methods as notifies: sent, and not waited for.
        await peer.notifier(Till).add(Item("water", 0))
        names = [item.name for item in await till.bill()]
        print(f"  client on the bill: {', '.join(names)}")
        assert names == ["espresso", "cake", "cake", "water"]

        # A method with several parameters takes the fields of one object, so anybody can call it by name.
        assert await peer.call("Till.add", {"item": {"name": "tea", "cents": 300}, "count": 1}, returns=int) == 1390


if __name__ == "__main__":
    arpc.run(main())
