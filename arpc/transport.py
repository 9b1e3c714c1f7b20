"""Addresses, and the contract between an endpoint and whatever carries its bytes."""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol, cast

from .errors import AddressError
from .options import Options

__all__ = [
    "SCHEMES",
    "Address",
    "End",
    "Listener",
    "ProtocolFactory",
    "Transport",
    "check_ssl",
    "close_listener",
    "describe",
    "format_address",
    "parse_address",
    "reason",
    "seen_end",
]

SCHEMES = ("tcp", "tls", "unix", "mem")

ProtocolFactory = Callable[[], asyncio.Protocol]


class Address(NamedTuple):
    """A parsed address: its scheme and what follows ``://``; for TCP and TLS its host and port, too."""

    scheme: str
    rest: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"


class Listener(Protocol):
    """Something that accepts connections."""

    @property
    def address(self) -> str:
        """Where it can be dialled: with the port that it really got."""
        ...

    async def close(self) -> None:
        """Accepts no more, and frees the address. Connections that were accepted live on."""


class Transport(Protocol):
    """A way to carry bytes. A connection is an :class:`asyncio.Protocol` on an :class:`asyncio.Transport`."""

    async def listen(self, address: Address, factory: ProtocolFactory, options: Options) -> Listener:
        """Accepts connections at ``address``. ConnectError if that is not possible."""
        ...

    async def dial(self, address: Address, factory: ProtocolFactory, options: Options) -> asyncio.Protocol:
        """Connects to ``address``. OSError says why that is not possible."""
        ...


def parse_address(address: str) -> Address:
    """Reads ``tcp://host:port``, ``tls://[::1]:port``, ``unix:///path``, ``mem://name``; AddressError for all else."""
    given = cast(object, address)
    if not isinstance(given, str):
        raise AddressError(f"an address is a string like tcp://127.0.0.1:9000, not {address!r}")
    if not address.isprintable():
        raise AddressError(f"{address!r} holds characters that no address has")
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise AddressError(
            f"{address!r} has no scheme: write tcp://{address or '127.0.0.1:9000'}, or tls://, unix:// or mem://"
        )
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise AddressError(f"{address!r}: there is no transport {scheme}://; there are {known}")
    if scheme in ("tcp", "tls"):
        return _parse_host_and_port(address, scheme, rest)
    if not rest:
        example = "unix:///run/service.sock" if scheme == "unix" else "mem://name"
        raise AddressError(f"{address!r} names nothing: write it like {example}")
    if scheme == "unix" and len(rest.encode()) > 107:
        raise AddressError(
            f"{address!r}: the path of a unix socket has at most 107 bytes, this one {len(rest.encode())}"
        )
    return Address(scheme, rest)


def _parse_host_and_port(address: str, scheme: str, rest: str) -> Address:
    if rest.startswith("["):
        host, closed, after = rest[1:].partition("]")
        separator, port = after[:1], after[1:]
        if not closed or (after and separator != ":"):
            raise AddressError(f"{address!r}: write an IPv6 address as {scheme}://[::1]:9000")
    else:
        host, separator, port = rest.rpartition(":")
        if ":" in host:
            raise AddressError(f"{address!r}: write an IPv6 address in brackets, as {scheme}://[::1]:9000")
    if not separator or not port:
        raise AddressError(
            f"{address!r} has no port: write it like {scheme}://127.0.0.1:9000 (to listen on any free port: 0)"
        )
    if not host:
        raise AddressError(
            f"{address!r} has no host: write {scheme}://127.0.0.1:{port}, or, to listen on all interfaces,"
            f" {scheme}://0.0.0.0:{port}"
        )
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise AddressError(f"{address!r}: a port is a number from 0 to 65535, not {port!r}")
    return Address(scheme, rest, host, int(port))


def check_ssl(addresses: Iterable[Address], options: Options) -> None:
    """Raises ValueError for a context that no address would use: what was meant to be encrypted would not be."""
    if options.ssl is not None and not any(address.scheme == "tls" for address in addresses):
        raise ValueError(f"ssl is for tls:// addresses, and there is none: {', '.join(map(str, addresses))}")


def format_address(scheme: str, name: Any) -> str:
    """The address of a socket name as the socket module gives it."""
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


_PLACE = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")
"""Where in OpenSSL an error arose, around its text."""


def reason(error: BaseException) -> str:
    """What an error of the operating system or of TLS says, without its number or place."""
    return _PLACE.sub("", getattr(error, "strerror", None) or str(error))


class End(Enum):
    """What can be seen of the other side without reading."""

    NONE = 0
    CLOSED = 1
    """It sends no more; what it has sent may still be read."""
    GONE = 2
    """The connection is broken."""


def seen_end(transport: asyncio.BaseTransport) -> End:
    """Whether the other side has ended, of a transport whose reading is paused."""
    ended = transport.get_extra_info("ended")
    if ended is not None:
        return End.CLOSED if ended else End.NONE
    channel = transport.get_extra_info("socket")
    if channel is None or channel.fileno() < 0 or not hasattr(select, "poll"):
        return End.NONE
    closed = getattr(select, "POLLRDHUP", 0)
    poll = select.poll()
    poll.register(channel.fileno(), closed)  # POLLHUP and POLLERR come unasked
    events = sum(event for _, event in poll.poll(0))
    if events & ~closed:
        return End.GONE
    return End.CLOSED if events else End.NONE


async def close_listener(server: asyncio.Server) -> None:
    """Closes a listening socket of asyncio's or uvloop's."""
    if isinstance(cast(object, server), asyncio.base_events.Server):
        # asyncio fails on connections that it has accepted and not set up yet, and leaves them hanging: no more are
        # accepted, and two turns of the loop set up the rest.
        loop = asyncio.get_running_loop()
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    server.close()


def describe(transport: asyncio.BaseTransport | None) -> str:
    """The address of the other end of a connection, for people to read."""
    if transport is None:
        return "(not connected)"
    scheme = "tls" if transport.get_extra_info("sslcontext") is not None else "tcp"
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return format_address(scheme, name)
    path = name or transport.get_extra_info("sockname")
    if isinstance(path, tuple):
        return f"{scheme}://(gone)"
    if isinstance(path, bytes):
        path = path.decode("utf-8", "replace")
    return str(path) if path and "://" in path else f"unix://{path or ''}"
