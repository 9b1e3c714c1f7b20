"""Validate: how large requests and answers may be, method by method. (That they fit their types is seen to anyhow.)

python -m examples.validate
"""

from __future__ import annotations

from typing import Any

import arpc
from arpc.middleware import Validate

router = arpc.Router()


@router.handle("/count")
async def count(words: list[str]) -> int:
    return len(words)


@router.handle("/upload")
async def upload(file: bytes) -> int:
    return len(file)


@router.handle("/repeat")
async def repeat(text: str, times: int) -> str:
    return text * times


async def show(peer: arpc.Peer, method: str, body: Any) -> None:
    try:
        print(f"{method}: {await peer.call(method, body, returns=str)}")
    except arpc.RemoteError as error:
        print(f"{error.code}: {error}")


async def main() -> None:
    limits = Validate(max_request=1000, max_answer=500, methods={"/upload": 1_000_000})
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[limits])
    async with serving as server:
        async with arpc.connect(server.address) as peer:
            await show(peer, "/count", ["word"] * 10)
            await show(peer, "/count", ["word"] * 1000)  # refused before it is decoded
            await show(peer, "/upload", bytes(100_000))  # has a limit of its own
            await show(peer, "/repeat", {"text": "ab", "times": 2})
            await show(peer, "/repeat", {"text": "ab", "times": 1000})  # the answer is made, and not sent

        # Around calls: what would be refused over there need not be sent.
        async with arpc.connect(server.address, outgoing=[Validate(max_request=1000)]) as careful:
            try:
                await careful.call("/count", ["word"] * 1000)
            except arpc.CallRefused as error:
                print(f"not sent: {error}")


if __name__ == "__main__":
    arpc.run(main())
