"""RPyC: remote calls of Python objects; a server with threads, the client driven by the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.loads.calls import Calls
from benchmarks.opponents.python import PythonOpponent
from benchmarks.workload import Setup


class Rpyc(PythonOpponent):
    """`ThreadedServer`, which has one thread a connection; the client calls `rpyc.async_` functions.

    The client has no threads: the event loop watches the connection and has it serve what came, as RPyC's tutorial says
    (part 5). One thread a caller is 2 to 5 times slower from 10 callers on, whether they share connections or not. The
    remote function is fetched once, not for every call.

    RPyC compresses what is longer than 3000 bytes, and its servers have no option against it.
    """

    name = "rpyc"
    title = "RPyC"
    packages = ("rpyc", "uvloop")

    @asynccontextmanager
    async def serve(self, setup: Setup) -> AsyncIterator[str]:
        import rpyc
        from rpyc.utils.server import ThreadedServer

        class Echo(rpyc.Service):  # type: ignore[misc,unused-ignore]
            def exposed_echo(self, body: bytes) -> bytes:
                return body

        server: Any = ThreadedServer(Echo, hostname="127.0.0.1", port=0)
        server.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit it
        server.listener.listen(server.backlog)  # before the address is known; `start` does it again
        threading.Thread(target=server.start, daemon=True).start()
        yield f"127.0.0.1:{server.port}"
        server.close()

    @asynccontextmanager
    async def connect(self, address: str, setup: Setup) -> AsyncIterator[Calls]:
        import rpyc

        connection, remote = await asyncio.to_thread(_open, address)
        echo: Any = rpyc.async_(remote)
        loop = asyncio.get_running_loop()
        pending: set[asyncio.Future[bytes]] = set()

        def readable() -> None:
            try:
                while connection.poll():
                    pass
            except (EOFError, OSError) as error:
                loop.remove_reader(descriptor)
                for future in pending:
                    if not future.done():
                        future.set_exception(error)

        def call(body: bytes) -> asyncio.Future[bytes]:
            future: asyncio.Future[bytes] = loop.create_future()
            pending.add(future)
            echo(body).add_callback(partial(answered, future))
            return future

        def answered(future: asyncio.Future[bytes], result: Any) -> None:
            pending.discard(future)
            if future.done():
                return
            if result.error:
                future.set_exception(RuntimeError("the server raised an error"))
            else:
                future.set_result(result.value)

        descriptor = connection.fileno()
        loop.add_reader(descriptor, readable)
        try:
            yield {"bytes": call}
        finally:
            loop.remove_reader(descriptor)
            await asyncio.to_thread(connection.close)


def _open(address: str) -> tuple[Any, Any]:
    """A connection and its remote function: round trips that block, so this runs in a thread."""
    import rpyc
    from rpyc.core.stream import SocketStream

    host, _, port = address.partition(":")
    connection: Any = rpyc.connect_stream(SocketStream.connect(host, int(port), nodelay=True))
    return connection, connection.root.echo
