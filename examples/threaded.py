"""Blocking work: ``threaded=True`` runs a plain function in a thread, and the event loop goes on.

python -m examples.threaded
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

import arpc


@dataclass
class Job:
    password: str
    rounds: int


server_side = arpc.Router()
client_side = arpc.Router()


@server_side.handle("/stretch", threaded=True)
def stretch(job: Job, ctx: arpc.Context) -> bytes:
    """Blocks for as long as it takes; from here the peer is reached by ``ctx.from_thread``, which blocks, too."""
    assert threading.current_thread() is not threading.main_thread()
    key = job.password.encode()
    for part in range(4):
        ctx.from_thread.notify("/progress", part + 1)
        key = hashlib.pbkdf2_hmac("sha256", key, b"salt", job.rounds)
    if not ctx.from_thread.call("/proceed", len(key), returns=bool):
        raise arpc.RpcError("the client has changed its mind")
    return key


@server_side.handle("/hello")
async def hello() -> str:
    return "still here"


seen: list[int] = []


@client_side.handle("/progress")
async def progress(part: int) -> None:
    seen.append(part)


@client_side.handle("/proceed")
async def proceed(size: int, ctx: arpc.Context) -> bool:
    """While the handler's thread waits for this answer, the server serves others."""
    return await ctx.peer.call("/hello", returns=str) == "still here" and size == 32


async def main() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", server_side, max_threads=4) as server,
        arpc.connect(server.address, client_side) as peer,
    ):
        key = await peer.call("/stretch", Job("secret", 50_000), returns=bytes)
        print(f"  a key of {len(key)} bytes, after progress {seen}")
        assert len(key) == 32
        assert seen == [1, 2, 3, 4]
        print("  meanwhile the server answered another call")


if __name__ == "__main__":
    arpc.run(main())
