"""What can go wrong with a call, and what the caller gets. After each the connection lives on, but for the last.

python -m examples.errors
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import arpc

E = TypeVar("E", bound=arpc.ArpcError)


@dataclass
class Transfer:
    account: str
    cents: int


router = arpc.Router()
started = asyncio.Event()


@router.handle("/transfer")
async def transfer(order: Transfer) -> int:
    if order.cents > 10_000:
        raise arpc.RpcError(f"{order.account} has not that much")  # the caller gets this text
    return 10_000 - order.cents


@router.handle("/broken")
async def broken() -> None:
    raise KeyError("a secret of this program")  # the caller gets "internal error"; the log gets this, with a traceback


@router.handle("/slow")
async def slow() -> None:
    started.set()
    await asyncio.Event().wait()


async def failure(what: str, kind: type[E], call: Awaitable[Any]) -> E:
    """Prints and returns the error that the call ends with."""
    try:
        await call
    except kind as error:
        print(f"  {what:32} {type(error).__name__}: {error}")
        return error
    raise AssertionError(f"{what}: no {kind.__name__}")


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router) as server, arpc.connect(server.address) as peer:
        refused = await failure(
            "an error of the handler", arpc.RemoteError, peer.call("/transfer", Transfer("Ann", 20_000), returns=int)
        )
        assert refused.message == "Ann has not that much"

        body = {"account": "Ann", "cents": "all"}
        wrong = await failure("a wrong body", arpc.RemoteError, peer.call("/transfer", body, returns=int))
        assert "$.cents" in wrong.message

        bug = await failure("a bug in the handler", arpc.RemoteError, peer.call("/broken"))
        assert bug.message == "internal error"

        await failure("no such method", arpc.MethodNotFound, peer.call("/nowhere"))

        answer = peer.call("/transfer", Transfer("Ann", 1), returns=list[str])
        await failure("an answer of another type", arpc.DecodeError, answer)

        await failure("a body that cannot be encoded", arpc.EncodeError, peer.call("/transfer", {"account": object()}))

        late = await failure("no answer in time", arpc.CallTimeout, peer.call("/slow", timeout=0.1))
        assert isinstance(late, TimeoutError)

        started.clear()
        waiting = asyncio.create_task(peer.call("/slow"))
        await started.wait()
        await server.stop()
        ended = await failure("the connection ended", arpc.ConnectionClosed, waiting)
        assert isinstance(ended, ConnectionError)
        assert ended.sent  # the request was on its way: calling again might do it twice
        assert peer.closed


if __name__ == "__main__":
    logging.getLogger("arpc").addHandler(logging.NullHandler())  # or the bug's traceback would be shown on stderr
    arpc.run(main())
