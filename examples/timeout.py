"""Timeout ends what takes too long: around a handler, and around calls with all that is tried for them.

python -m examples.timeout
"""

from __future__ import annotations

import asyncio

import arpc
from arpc.middleware import Retry, Timeout

router = arpc.Router()


@router.handle("/search", middleware=[Timeout(0.1)])
async def search(word: str) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print(f"the search of {word} was given up")
        raise
    return "never"


@router.handle("/stock")
async def stock() -> int:
    raise arpc.RpcError("the shelf is being counted", arpc.Code.UNAVAILABLE)


@router.handle("/slow")
async def slow() -> None:
    await asyncio.sleep(60)


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router) as server:
        async with arpc.connect(server.address) as peer:
            try:
                await peer.call("/search", "cats", returns=str)
            except arpc.RemoteError as error:  # the server's limit: it says so in its answer
                print(f"{error.code}: {error}")

        # Outside of Retry: these 0.2 seconds are for all attempts together, and for the waits between them. Where
        # another would come too late, what went wrong is raised at once.
        outgoing = [Timeout(0.2), Retry(wait_jitter=0)]
        async with arpc.connect(server.address, outgoing=outgoing) as peer:
            for method in ("/stock", "/slow"):
                try:
                    await peer.call(method)
                except arpc.RemoteError as error:
                    print(f"RemoteError: {error}")
                except arpc.CallTimeout as error:  # this side's limit, which is a TimeoutError, too
                    print(f"CallTimeout: {error}")

            try:
                await peer.call("/slow", timeout=0.1)  # the same for one call, with no middleware
            except arpc.CallTimeout as error:
                print(f"CallTimeout: {error}")


if __name__ == "__main__":
    arpc.run(main())
