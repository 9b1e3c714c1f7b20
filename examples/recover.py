"""What handlers raise goes to an error reporter; here it is printed.

python -m examples.recover
"""

from __future__ import annotations

import logging

import arpc
from arpc.middleware import Recover

router = arpc.Router()


@router.handle("/divide")
async def divide(a: int, b: int) -> float:
    return a / b


def report(ctx: arpc.Context, error: BaseException) -> None:
    """With Sentry: ``sentry_sdk.capture_exception(error)``."""
    print(f"reported: {type(error).__name__} in {ctx.method}")


async def main() -> None:
    logging.getLogger("arpc").setLevel(logging.CRITICAL)  # it is logged, too, which is not wanted here
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[Recover(report)])
    async with serving as server, arpc.connect(server.address) as peer:
        assert await peer.call("/divide", {"a": 1, "b": 2}) == 0.5
        try:
            await peer.call("/divide", {"a": 1, "b": 0})
        except arpc.RemoteError as error:
            print("the caller got:", error)


if __name__ == "__main__":
    arpc.run(main())
