"""Middleware of your own: a function, a class with options, and a layer, around handlers and around calls.

python -m examples.middleware_own
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import arpc
from arpc.middleware import Layer, Next, Target, refusal


async def show(ctx: arpc.Context, call_next: Next) -> Any:
    """A function sees every message on its way in and out. ``ctx.outgoing``: on the side that sends it."""
    side = "client" if ctx.outgoing else "server"
    print(f"{side} > {ctx.method} {ctx.body!r}")
    try:
        return await call_next(ctx)
    finally:
        print(f"{side} < {ctx.method}")


class Forbid:
    """An object with options. What it raises is what the caller gets, whichever side it stands on."""

    def __init__(self, *words: bytes) -> None:
        self.words = words

    async def __call__(self, ctx: arpc.Context, call_next: Next) -> Any:
        for word in self.words:
            if word in ctx.body:  # the bytes as they travel
                raise refusal(ctx, f"{word.decode()} is not sold here", arpc.Code.INVALID_ARGUMENT)
        return await call_next(ctx)


class Count(Layer):
    """A layer is asked once for each method, not for each message: other methods have nothing of it on their way."""

    def __init__(self, *methods: str) -> None:
        self.methods = methods
        self.ended: list[str] = []

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.method not in self.methods:
            return call_next

        def counted(ctx: arpc.Context) -> Coroutine[Any, Any, Any]:
            ctx.on_end(self.note)
            return call_next(ctx)

        return counted

    def note(self, ctx: arpc.Context, error: BaseException | None, size: int) -> None:
        """What is answered in the end, which nobody in the chain can see."""
        self.ended.append(f"{ctx.method}: " + (f"{size} bytes" if error is None else ctx.code_of(error)))


router = arpc.Router()


@router.handle("/order")
async def order(what: str) -> str:
    return f"one {what}"


@router.handle("/menu")
async def menu() -> str:
    return "scones"


async def main() -> None:
    count = Count("/order")
    # The first is outermost: it sees also what those within refuse.
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[show, count, Forbid(b"whisky")])
    async with serving as server, arpc.connect(server.address, outgoing=[show, Forbid(b"beer")]) as peer:
        print(await peer.call("/order", "tea", returns=str))
        print(await peer.call("/menu", returns=str))
        for drink in "whisky", "beer":
            try:
                await peer.call("/order", drink)
            except arpc.RemoteError as error:
                print(f"the server refused: {error}")
            except arpc.CallRefused as error:
                print(f"this side refused: {error}")
    print(count.ended)


if __name__ == "__main__":
    arpc.run(main())
