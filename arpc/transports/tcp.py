"""``tcp://host:port``: TCP over IPv4 and IPv6, with TCP_NODELAY, since frames are collected before they are written."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from ..errors import ConnectError
from ..options import Options
from ..transport import Address, Listener, ProtocolFactory, Transport, close_listener, format_tcp, reason


class TcpListener:
    """A listening TCP socket, or several where a name has several addresses."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.address = format_tcp(server.sockets[0].getsockname())

    async def close(self) -> None:
        await close_listener(self._server)


class Tcp:
    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                factory, address.host, address.port, backlog=4096, reuse_port=options.reuse_port or None
            )
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"cannot listen on {address}: {reason(error)}") from error
        return TcpListener(server)

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(factory, address.host, address.port)
        made = transport.get_extra_info("socket")
        if made is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended already, as the connection will tell
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return protocol


transport: Transport = Tcp()
