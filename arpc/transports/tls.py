"""``tls://host:port``: TLS on TCP. The dialling side verifies who answers; the other side may, by its context."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache

from ..options import MAX_TIME, Options
from ..transport import Address, Listener, ProtocolFactory, Transport
from .tcp import dial_tcp, listen_tcp

EXAMPLE = (
    "context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH);"
    ' context.load_cert_chain("server.pem", "server.key"); arpc.serve(..., ssl=context)'
)

ENDED = (
    "it ended the TLS handshake: perhaps it does not speak TLS, or not this version of it, or has no certificate,"
    " or refuses this side's"
)
"""asyncio's and uvloop's servers close without a word, whatever they do not like."""


class Tls:
    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        context = options.ssl
        if context is None:
            raise ValueError(f"{address} needs the server's certificate, in the option ssl: {EXAMPLE}")
        if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError(f"ssl is a context for clients, and {address} is served: {EXAMPLE}")
        return await listen_tcp(
            address,
            factory,
            options,
            ssl=context,
            ssl_handshake_timeout=options.stall_timeout,
            ssl_shutdown_timeout=options.send_timeout,
        )

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        context = options.ssl or system_trust()
        if context.protocol is ssl.PROTOCOL_TLS_SERVER:
            raise ValueError(f"ssl is a context for servers, and {address} is dialled: ssl.create_default_context()")
        try:
            return await dial_tcp(
                address,
                factory,
                ssl=context,
                server_hostname=address.host.partition("%")[0],  # certificates know no zones of IPv6 addresses
                ssl_handshake_timeout=MAX_TIME,  # connect_timeout bounds it
                ssl_shutdown_timeout=options.send_timeout,
            )
        except ConnectionResetError as error:
            raise ConnectionResetError(ENDED) from error


@cache
def system_trust() -> ssl.SSLContext:
    """Trusts whom the system trusts. One for the process: reading all those certificates takes 20 ms, and memory."""
    return ssl.create_default_context()


transport: Transport = Tls()
