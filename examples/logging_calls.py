"""A line in the log for each message, as text and as JSON.

python -m examples.logging_calls
"""

from __future__ import annotations

import json
import logging
import sys

import arpc
from arpc.middleware import Logger

router = arpc.Router()


@router.handle("/greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@router.handle("/fail")
async def fail() -> None:
    raise arpc.RpcError("there is no such thing", arpc.Code.NOT_FOUND)


class Json(logging.Formatter):
    """The fields of the message in place of its text."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"level": record.levelname, **record.__dict__["arpc"]})


async def main() -> None:
    text, fields = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stdout)
    text.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    fields.setFormatter(Json())
    log = logging.getLogger("arpc.messages")
    log.setLevel(logging.INFO)
    log.handlers = [text, fields]

    # Of what ends well and quickly a tenth would do in production: Logger(sample=0.1, slow=0.5)
    serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[Logger()])
    async with serving as server, arpc.connect(server.address) as peer:
        await peer.call("/greet", "Ann", returns=str)
        try:
            await peer.call("/fail")
        except arpc.RemoteError as error:
            print("the caller got:", error)


if __name__ == "__main__":
    arpc.run(main())
