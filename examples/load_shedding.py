"""LoadShed: a process with too much to do refuses what is new at once, and stays good for what it has begun.

python -m examples.load_shedding
"""

from __future__ import annotations

import asyncio
import logging
import time

import arpc
from arpc.middleware import LoadShed

router = arpc.Router()
baked = asyncio.Event()


@router.handle("/bake")
async def bake(what: str) -> str:
    await baked.wait()
    return f"a warm {what}"


@router.handle("/block")
def block() -> None:
    time.sleep(0.5)  # a mistake: nothing else is served meanwhile


@router.handle("/health")
async def health() -> str:
    return "alive"


async def show(peer: arpc.Peer, method: str, body: str | None = None) -> None:
    try:
        print(f"{method}: {await peer.call(method, body, returns=str)}")
    except arpc.RemoteError as error:
        print(f"refused: {error}")


async def main() -> None:
    shed = LoadShed(max_inflight=3, max_lag=0.1, interval=0.05, exempt=["/health"])
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[shed])
    async with serving as server, arpc.connect(server.address) as peer:
        cakes = [asyncio.create_task(peer.call("/bake", "cake", returns=str)) for _ in range(3)]
        await asyncio.sleep(0)  # they are on their way
        await show(peer, "/bake", "scone")
        await show(peer, "/health")  # always answered: whoever watches this process must not think it dead
        baked.set()
        print(await asyncio.gather(*cakes))

        await peer.call("/block")
        await show(peer, "/bake", "scone")
        await show(peer, "/health")


if __name__ == "__main__":
    logging.getLogger("arpc").addHandler(logging.NullHandler())  # or it would say on stderr which handler has blocked
    arpc.run(main())
