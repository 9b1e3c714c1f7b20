"""All four kinds of streams: answers, items, both, and whatever two sides agree on. A slow reader holds up its writer.

python -m examples.streams
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import arpc


@dataclass
class Tick:
    symbol: str
    number: int


router = arpc.Router()
made = 0


@router.handle("/ticks")
async def ticks(symbol: str) -> AsyncIterator[Tick]:
    """One body, and answers without end: it goes on as fast as they are read, and ends when nobody reads any more."""
    global made
    while True:
        made += 1
        yield Tick(symbol, made)


@router.handle("/upload")
async def upload(chunks: AsyncIterator[bytes]) -> int:
    """Many items, one answer."""
    return sum([len(chunk) async for chunk in chunks])


@router.handle("/words")
async def words(separator: str, texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """Many items, many answers, beside each other."""
    async for text in texts:
        for word in text.split(separator):
            yield word


@router.stream("/printer")
async def printer(stream: arpc.Stream[str, str]) -> None:
    """The stream itself, to read and write as one likes."""
    sheets = 2
    await stream.send(f"{sheets} sheets")
    async for page in stream:
        if sheets == 0:
            raise arpc.RpcError(f"no paper for {page}")
        sheets -= 1
        await stream.send(f"printed {page}")


async def main() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", router) as server,
        arpc.connect(server.address, stream_window=10_000) as peer,
    ):
        async with peer.stream("/ticks", "ARPC", returns=Tick) as stream:
            first = await stream.recv()
            await asyncio.sleep(0.1)  # a slow reader
            print(f"read {first.number}; no more than the window was made meanwhile: {made < 1000}")
            async for tick in stream:
                if tick.number == 100:
                    break
        print(f"left after 100; still open: {peer.stats.streams}")

        async with peer.stream("/upload", items=(bytes(1000) for _ in range(50)), returns=int) as answer:
            print(f"uploaded {await answer.recv()} bytes")

        async with peer.stream("/words", "-", items=["one-two", "three"], returns=str) as found:
            print("words:", [word async for word in found])

        async with peer.open_stream("/printer", returns=str, sends=str) as pages:
            print("the printer has", await pages.recv())
            for page in "first", "second", "third":
                await pages.send(page)
            await pages.end()
            try:
                async for line in pages:
                    print(line)
            except arpc.StreamReset as error:
                print("the printer:", error.message)


if __name__ == "__main__":
    arpc.run(main())
