"""A server that bounds what it takes on, and callers that are told which limit it was and when to come back.

python -m examples.limits
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import arpc
from arpc.middleware import ConcurrencyLimit, LoadShed, RateLimit, Validate

router = arpc.Router()
resized = asyncio.Event()


@router.handle("/resize", middleware=[ConcurrencyLimit(2, queue=1)])
async def resize(picture: str) -> str:
    """Two at a time, and one more may wait for its turn."""
    await resized.wait()
    return f"small {picture}"


@router.handle("/quote", middleware=[RateLimit(10, burst=3)])
async def quote(symbol: str) -> str:
    """Each peer may ask ten times a second, and three times at once."""
    return f"{symbol}: 100"


@router.handle("/count")
async def count(words: list[str]) -> int:
    return len(words)


@router.handle("/block")
def block() -> None:
    time.sleep(0.5)  # a mistake: nothing else is served meanwhile


@router.handle("/health")
async def health() -> str:
    return "alive"


async def refused(peer: arpc.Peer, method: str, body: Any = None) -> arpc.RemoteError:
    """Prints and returns what the caller is told."""
    try:
        await peer.call(method, body, returns=str)
    except arpc.RemoteError as error:
        print(f"{error.code}: {error}")
        return error
    raise AssertionError(f"{method} was not refused")


async def main() -> None:
    limits = [LoadShed(max_inflight=100, max_lag=0.1, interval=0.05, exempt=["/health"]), Validate(max_request=1000)]
    server = arpc.serve("tcp://127.0.0.1:0", router, middleware=limits)
    async with server as running, arpc.connect(running.address) as peer:
        calls = [asyncio.create_task(peer.call("/resize", name, returns=str)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)  # they are on their way
        await refused(peer, "/resize", "d")
        resized.set()
        print(await asyncio.gather(*calls))

        for symbol in ("A", "B", "C"):
            await peer.call("/quote", symbol, returns=str)
        error = await refused(peer, "/quote", "D")
        assert error.retry_after is not None
        await asyncio.sleep(error.retry_after)
        print(await peer.call("/quote", "D", returns=str))

        await refused(peer, "/count", ["word"] * 1000)

        await peer.call("/block")
        await refused(peer, "/count", ["word"])
        print(await peer.call("/health", returns=str))


if __name__ == "__main__":
    logging.getLogger("arpc").addHandler(logging.NullHandler())  # or it would say on stderr which handler has blocked
    arpc.run(main())
