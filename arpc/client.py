"""``arpc.connect``: a peer that was dialled."""

# pyright: reportPrivateUsage=false
# Servers and clients make peers: what of them is nobody else's business is theirs.

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Unpack

from .codecs import Codec
from .coders import Coder
from .endpoint import Endpoint
from .errors import ConnectError, ConnectionClosed, ConnectTimeout
from .layered import Layered
from .middleware import Middleware
from .opening import Opening
from .options import OptionKeywords
from .outgoing import AroundSending
from .peer import Peer
from .router import Router
from .transport import Address, check_ssl, parse_address, reason
from .transports import transport_for

__all__ = ["Client", "Connecting", "connect"]


class Client(Peer):
    """A peer whose connection was made from here. ``async with`` closes it at the end."""

    __slots__ = ("_target",)

    def __init__(self, endpoint: Endpoint, target: Address) -> None:
        super().__init__(endpoint)
        self._target = target

    async def _dial(self) -> None:
        options = self._endpoint.options
        target = self._target
        transport = transport_for(target.scheme)
        connection = self._connection
        limit = asyncio.timeout(options.connect_timeout)
        try:
            async with limit:
                await transport.dial(target, lambda: connection, options)
        except TimeoutError as error:
            connection.abort(ConnectionClosed("it was never made"))
            if not limit.expired():  # the operating system's own
                raise ConnectTimeout(f"cannot connect to {target}: {reason(error)}") from error
            hint = ": does it speak TLS?" if target.scheme == "tls" else ""
            raise ConnectTimeout(
                f"{target} did not accept within {options.connect_timeout:g} s (connect_timeout){hint}"
            ) from None
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"cannot connect to {target}: {reason(error)}") from error
        try:
            await self._endpoint.until_ready(connection)
        except BaseException:
            connection.abort(ConnectionClosed("connecting was given up"))
            raise
        if not connection.open:
            cause = connection.session.closed
            assert cause is not None
            # asyncio and uvloop do not say why they refuse a certificate, and TLS 1.3 asks for it after the handshake.
            hint = " (perhaps it wants a client certificate, or another one)" if target.scheme == "tls" else ""
            raise ConnectError(f"cannot connect to {target}: {reason(cause)}{hint}") from cause

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class LayeredClient(Layered, Client):
    """A client with ``outgoing=``."""

    __slots__ = ()


class Connecting(Opening[Client]):
    """A client that is not connected yet: ``await`` it, or enter it with ``async with``."""


def connect(
    address: str,
    router: Router | None = None,
    *,
    codec: str | Codec | None = None,
    middleware: Iterable[Middleware] = (),
    outgoing: Iterable[Middleware | AroundSending] = (),
    coders: Iterable[Coder] = (),
    **options: Unpack[OptionKeywords],
) -> Connecting:
    """Connects to ``address``: ``peer = await connect(...)``, or ``async with connect(...) as peer``.

    ``router``: what the other side may call here. ``codec``: a name or an object, JSON by default; the other side's
    must be the same. ``middleware``: stands around every handler here, ``outgoing``: around every call, notify and
    stream from here; the first one outermost. ``coders``: what whole frames go through, in this order; both sides agree
    on them (docs/coders.md). ``options``: see :class:`~arpc.Options`.

    Raises AddressError; ConnectError (also when the connection ended before both sides had said what they know);
    ConnectTimeout; RegistrationError; ValueError or TypeError for an option.
    """

    async def open() -> Client:
        target = parse_address(address)
        endpoint = Endpoint(router, codec, options, dials=True, middleware=middleware, outgoing=outgoing, coders=coders)
        check_ssl([target], endpoint.options)
        kind = Client if endpoint.outgoing is None else LayeredClient
        client = kind(endpoint, target)
        await client._dial()
        return client

    return Connecting("arpc.connect(...)", open)
