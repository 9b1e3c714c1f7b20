"""A timeout travels with a call: what is done for it further down ends with it. So does a call that is cancelled.

python -m examples.deadlines
"""

from __future__ import annotations

import asyncio

import arpc

front, database = arpc.Router(), arpc.Router()
queries: asyncio.Queue[str] = asyncio.Queue()


@front.handle("/page")
async def page(title: str, ctx: arpc.Context) -> str:
    """Asks the caller for what it needs, within what is left of the caller's time."""
    return await ctx.peer.call("/query", title, returns=str)


@database.handle("/query")
async def query(title: str, ctx: arpc.Context) -> str:
    left = ctx.remaining()
    queries.put_nowait(f"{title}: a deadline" if left is not None else f"{title}: no deadline")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        queries.put_nowait(f"{title}: cancelled")
        raise
    return "never"


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", front) as server, arpc.connect(server.address, database) as peer:
        try:
            await peer.call("/page", "late", returns=str, timeout=0.1)
        except arpc.CallTimeout:
            print("the page was late")
        print(await queries.get())
        print(await queries.get())

        asking = asyncio.create_task(peer.call("/page", "unwanted", returns=str, timeout=None))
        print(await queries.get())
        asking.cancel()
        print(await queries.get())


if __name__ == "__main__":
    arpc.run(main())
