"""One call of five is slow: Hedge asks once more when an answer is late, takes the first, and cancels the other.

python -m examples.hedge
"""

from __future__ import annotations

import asyncio
from time import perf_counter

import arpc
from arpc.middleware import Hedge

router = arpc.Router()
calls = 0
cancelled = 0


@router.handle("/search")
async def search(word: str) -> str:
    global calls, cancelled
    calls += 1
    try:
        await asyncio.sleep(2 if calls % 5 == 1 else 0.005)
    except asyncio.CancelledError:
        cancelled += 1
        raise
    return f"found {word}"


async def main() -> None:
    hedge = Hedge(delay=0.1, methods=["/search"])
    serving = arpc.serve("tcp://127.0.0.1:0", router)
    async with serving as server, arpc.connect(server.address, outgoing=[hedge]) as peer:
        slowest = 0.0
        for number in range(12):
            began = perf_counter()
            assert await peer.call("/search", f"cat {number}", returns=str) == f"found cat {number}"
            slowest = max(slowest, perf_counter() - began)
        await peer.ping()
    print(f"12 answers, {calls} calls, {cancelled} of them cancelled")
    print("a slow call takes 2 s, but the slowest answer came within 1 s:", slowest < 1)


if __name__ == "__main__":
    arpc.run(main())
