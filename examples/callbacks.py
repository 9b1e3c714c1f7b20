"""A handler calls back the peer that is calling it, to any depth.

python -m examples.callbacks
"""

from __future__ import annotations

import arpc

router = arpc.Router()
"""Served by both sides: once connected, neither is more than the other."""


@router.handle("/countdown")
async def countdown(n: int, ctx: arpc.Context) -> list[str]:
    """Says its own number, and has the other side say the rest."""
    rest = await ctx.peer.call("/countdown", n - 1, returns=list[str]) if n else []
    return [f"{ctx.peer.state.name} asked for {n}", *rest]


@router.handle("/name")
async def name(who: str, ctx: arpc.Context) -> None:
    """``ctx.peer.state`` belongs to the connection: what is put there, later handlers of this peer find."""
    ctx.peer.state.name = who


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address, router) as peer:
        await peer.call("/name", "the client")
        peer.state.name = "the server"
        said = await peer.call("/countdown", 3, returns=list[str])
        print("  " + "\n  ".join(said))
        assert said == [
            "the client asked for 3",
            "the server asked for 2",
            "the client asked for 1",
            "the server asked for 0",
        ]


if __name__ == "__main__":
    arpc.run(main())
