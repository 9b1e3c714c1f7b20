"""``arpc.serve``: listeners, and the peers that came through them."""

# pyright: reportPrivateUsage=false
# Servers and clients make peers: what of them is nobody else's business is theirs.

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Set
from types import TracebackType
from typing import Any, Unpack, cast, get_args

from .bodies import encode_body
from .broadcast import Broadcast, Full, Report
from .codecs import Codec
from .coders import Coder
from .connection import Connection
from .endpoint import Endpoint
from .errors import AddressError, ConnectionClosed
from .frame import encode_method
from .layered import Layered
from .middleware import Middleware
from .opening import Opening
from .options import OptionKeywords
from .outgoing import AroundSending
from .peer import Peer
from .router import Router
from .transport import Listener, check_ssl, parse_address
from .transports import transport_for

__all__ = ["Server", "Starting", "serve"]


class Server:
    """Accepts connections; each becomes a :class:`Peer` that can be called as well as it can call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._listeners: list[Listener] = []
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = endpoint.loop.create_future()

    def _accept(self) -> Connection:
        kind = Peer if self._endpoint.outgoing is None else Layered
        return kind(self._endpoint)._connection

    async def _listen(self, addresses: list[str]) -> None:
        parsed = [parse_address(address) for address in addresses]
        check_ssl(parsed, self._endpoint.options)
        try:
            for address in parsed:
                transport = transport_for(address.scheme)
                self._listeners.append(await transport.listen(address, self._accept, self._endpoint.options))
        except BaseException:
            await self.stop()
            raise

    @property
    def addresses(self) -> list[str]:
        """Where this server can be dialled, with the ports that it really got."""
        return [listener.address for listener in self._listeners]

    @property
    def address(self) -> str:
        """The first of :attr:`addresses`."""
        return self._listeners[0].address

    @property
    def peers(self) -> Set[Peer]:
        """Those who are connected now; a new set, to iterate over while they come and go."""
        return {connection.peer for connection in self._endpoint.connections if connection.open}

    async def broadcast(
        self,
        method: str,
        body: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        to: Iterable[Peer] | None = None,
        full: Full = "drop",
        codec: str | Codec | None = None,
    ) -> Report:
        """Notifies all peers, or those in ``to``, and reports who missed it and why.

        The body is encoded once, and its frame once for all peers whose coders make the same of it. ``full``: what
        happens with a peer whose socket is full. ``"drop"`` leaves it out; ``"wait"`` waits for it (and for no longer
        than ``send_timeout`` if it reads nothing at all), while all others have got theirs; ``"close"`` closes its
        connection. Whoever has not said anything yet is left out, too, unless that is waited for (``hello_timeout``).
        ``codec``: that of this method, in place of the server's. Middleware of ``outgoing=`` is not asked.

        Raises EncodeError; LocalProtocolError for a method; ValueError for ``full``, and for a peer of another server;
        LoopError. What goes wrong with a single peer is in the report.
        """
        endpoint = self._endpoint
        endpoint.check()
        if full not in get_args(Full):
            raise ValueError(f"full is one of {', '.join(map(repr, get_args(Full)))}, not {full!r}")
        if isinstance(cast(object, to), Peer):
            raise TypeError(f"to= is a list of peers: to=[{to!r}]")
        peers = self.peers if to is None else list(dict.fromkeys(to))
        for peer in peers:
            if peer._endpoint is not endpoint:
                raise ValueError(f"{peer!r} is no peer of this server: broadcast on its own")
        data = encode_body(endpoint.codec if codec is None else endpoint.codec_of(codec), body)
        message = Broadcast(encode_method(method), data, metadata, full)
        return await message.send(peers)

    async def stop(self) -> None:
        """Stops listening, tells every peer (GOAWAY) and closes it, cancels the handlers that run; returns when all
        have ended.

        A peer that reads nothing is cut off after the option ``send_timeout``; handlers that clean up for longer than
        ``notify_grace`` are not waited for.
        """
        self._endpoint.check()
        if self._stopping is None:
            self._stopping = self._endpoint.loop.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        endpoint = self._endpoint
        endpoint.stopped = True
        for listener in self._listeners:
            await listener.close()
        closing = list(endpoint.connections)
        for connection in closing:
            connection.session.go_away("the server was stopped")
            connection.close(ConnectionClosed("the server was stopped"))
        await endpoint.shut_down()
        for connection in closing:
            await connection.wait_ended()
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def wait_closed(self) -> None:
        """Returns when the server has been stopped."""
        self._endpoint.check()
        await asyncio.shield(self._stopped)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        where = " ".join(self.addresses) or "(not listening)"
        return f"<arpc.Server {where}, {len(self._endpoint.connections)} connections>"


class Starting(Opening[Server]):
    """A server that is not started yet: ``await`` it, or enter it with ``async with``."""


def serve(
    addresses: str | Iterable[str],
    router: Router,
    *,
    codec: str | Codec | None = None,
    middleware: Iterable[Middleware] = (),
    outgoing: Iterable[Middleware | AroundSending] = (),
    coders: Iterable[Coder] = (),
    **options: Unpack[OptionKeywords],
) -> Starting:
    """Serves ``router`` at one address or several: ``server = await serve(...)``, or ``async with serve(...)``.

    ``addresses``: ``tcp://host:port`` (port 0 takes a free one), ``tls://host:port`` (with the option ``ssl``),
    ``unix:///path``, ``mem://name``. ``codec``: a name or an object, JSON by default. ``middleware``: stands around
    every handler, ``outgoing``: around every call, notify and stream to the peers; the first one outermost.
    ``coders``: what whole frames go through, in this order (docs/coders.md). ``options``: see :class:`~arpc.Options`.

    Raises AddressError, ConnectError (the address cannot be listened on), RegistrationError (the codec cannot serve a
    handler's types), ValueError or TypeError for an option.
    """

    async def open() -> Server:
        if not isinstance(cast(object, addresses), Iterable):
            raise AddressError(f"an address is a string like tcp://127.0.0.1:9000, not {addresses!r}")
        wanted = [addresses] if isinstance(addresses, str) else list(addresses)
        if not wanted:
            raise AddressError("a server needs an address, such as tcp://127.0.0.1:0")
        endpoint = Endpoint(
            router, codec, options, dials=False, middleware=middleware, outgoing=outgoing, coders=coders
        )
        server = Server(endpoint)
        await server._listen(wanted)
        return server

    return Starting("arpc.serve(...)", open)
