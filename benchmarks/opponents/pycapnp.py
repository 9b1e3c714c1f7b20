"""pycapnp: the RPC system of Cap'n Proto's C++ library, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import Setup

SCHEMA = Path(__file__).with_name("echo.capnp")


class Pycapnp(PythonOpponent):
    """On plain asyncio: on uvloop it dies of a segmentation fault as soon as data comes before it reads.

    (It then pauses reading inside of `get_buffer`, which uvloop does not survive.) Its calls have no timeout to set.
    """

    name = "pycapnp"
    title = "pycapnp"
    packages = ("pycapnp",)

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        asyncio.run(_capnp().run(main))

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        capnp = _capnp()

        class Echo(_interface().Server):  # type: ignore[misc]
            async def echo(self, body: bytes, **_: object) -> bytes:
                return body

        async def connected(stream: Any) -> None:
            await capnp.TwoPartyServer(stream, bootstrap=Echo()).on_disconnect()

        async with await capnp.AsyncIoStream.create_server(connected, "127.0.0.1", 0, backlog=4096) as listener:
            yield "{}:{}".format(*listener.sockets[0].getsockname())

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        capnp = _capnp()
        host, port = address.rsplit(":", 1)
        stream = await capnp.AsyncIoStream.create_connection(host, int(port))
        client = capnp.TwoPartyClient(stream)
        echo = client.bootstrap().cast_as(_interface()).echo

        async def call(body: bytes) -> Any:
            return (await echo(body=body)).body

        yield {"bytes": call}
        client.close()
        stream.close()


def _capnp() -> Any:
    return import_module("capnp")  # type checkers see nothing of a Cython module


@cache
def _interface() -> Any:
    return _capnp().load(str(SCHEMA)).Echo
