"""ConcurrencyLimit: so many at a time, a short queue for the next, and a clear answer for the rest.

python -m examples.concurrency
"""

from __future__ import annotations

import asyncio

import arpc
from arpc.middleware import ConcurrencyLimit

router = arpc.Router()
go = asyncio.Event()
running: set[str] = set()
most = 0


@router.handle("/resize", middleware=[ConcurrencyLimit(2, queue=1)])
async def resize(picture: str) -> str:
    """Two at a time, and one more may wait for its turn."""
    global most
    running.add(picture)
    most = max(most, len(running))
    await go.wait()
    await asyncio.sleep(0.001)
    running.remove(picture)
    return f"small {picture}"


async def main() -> None:
    global most
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
        calls = [asyncio.create_task(peer.call("/resize", name, returns=str)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)  # they are on their way
        try:
            await peer.call("/resize", "d", returns=str)
        except arpc.RemoteError as error:
            print(f"{error.code}: {error}")
        go.set()
        print(f"{await asyncio.gather(*calls)}, no more than {most} at a time")

        # Around calls it bounds what this side has under way: the others wait here, and nobody is refused.
        async with arpc.connect(server.address, outgoing=[ConcurrencyLimit(1, queue=100)]) as polite:
            most = 0
            answers = await asyncio.gather(*[polite.call("/resize", f"{n}", returns=str) for n in range(20)])
            print(f"{len(answers)} answers, no more than {most} at a time")


if __name__ == "__main__":
    arpc.run(main())
