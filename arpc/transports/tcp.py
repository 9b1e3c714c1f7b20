"""``tcp://host:port``: TCP over IPv4 and IPv6, with TCP_NODELAY, since frames are collected before they are written."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from ..errors import ConnectError
from ..options import Options
from ..transport import Address, Listener, ProtocolFactory, Transport, close_listener, format_address, reason


class TcpListener:
    """A listening TCP socket, or several where a name has several addresses."""

    def __init__(self, server: asyncio.Server, scheme: str) -> None:
        self._server = server
        self.address = format_address(scheme, server.sockets[0].getsockname())

    async def close(self) -> None:
        await close_listener(self._server)


async def listen_tcp(address: Address, factory: ProtocolFactory, options: Options, **tls: Any) -> Listener:
    """Listens with what ``create_server`` takes for TLS, if anything."""
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            factory, address.host, address.port, backlog=4096, reuse_port=options.reuse_port or None, **tls
        )
    except (OSError, UnicodeError) as error:
        raise ConnectError(f"cannot listen on {address}: {reason(error)}") from error
    return TcpListener(server, address.scheme)


async def dial_tcp(address: Address, factory: ProtocolFactory, **tls: Any) -> asyncio.Protocol:
    """Dials with what ``create_connection`` takes for TLS, if anything."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(factory, address.host, address.port, **tls)
    made = transport.get_extra_info("socket")
    if made is not None:
        with contextlib.suppress(OSError, ValueError):  # it has ended already, as the connection will tell
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return protocol


class Tcp:
    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        return await listen_tcp(address, factory, options)

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        return await dial_tcp(address, factory)


transport: Transport = Tcp()
