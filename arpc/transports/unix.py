"""``unix:///path``: a socket in the file system. A stale one is removed, a live one is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat

from ..errors import ConnectError
from ..options import Options
from ..transport import Address, Listener, ProtocolFactory, Transport, close_listener, reason


class UnixListener:
    """A listening unix socket; closing it removes its file, unless another has taken its place."""

    def __init__(self, server: asyncio.Server, path: str) -> None:
        self._server = server
        self._path = path
        self._identity = _identity(path)
        self.address = f"unix://{path}"

    async def close(self) -> None:
        ours = self._identity is not None and _identity(self._path) == self._identity
        await close_listener(self._server)
        if ours:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


class Unix:
    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        path = address.rest
        try:
            await _remove_stale(path)
            server = await asyncio.get_running_loop().create_unix_server(factory, path, backlog=4096)
        except ConnectError:
            raise
        except OSError as error:
            raise ConnectError(f"cannot listen on {address}: {reason(error)}") from error
        return UnixListener(server, path)

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        _, protocol = await asyncio.get_running_loop().create_unix_connection(factory, address.rest)
        return protocol


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on any more."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConnectError(f"cannot listen on unix://{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_connect(probe, path)
        except ConnectionRefusedError:
            os.unlink(path)
        except (TimeoutError, BlockingIOError):  # its backlog is full
            raise ConnectError(f"cannot listen on unix://{path}: a server that does not answer holds it") from None
        else:
            raise ConnectError(f"cannot listen on unix://{path}: another server is listening there")


transport: Transport = Unix()
