"""Mistakes in addresses: each is named, with a right one beside."""

from __future__ import annotations

import asyncio

import pytest

import arpc
from arpc.transport import parse_address

pytestmark = pytest.mark.timeout(20)

MISTAKES: dict[str, tuple[object, str]] = {
    "no scheme": ("127.0.0.1:9000", "has no scheme: write tcp://127.0.0.1:9000"),
    "empty": ("", "has no scheme: write tcp://127.0.0.1:9000"),
    "another slash": ("tcp:/127.0.0.1:9000", "has no scheme"),
    "unknown scheme": (
        "udp://127.0.0.1:9000",
        "there is no transport udp://; there are tcp://, tls://, unix://, mem://",
    ),
    "upper case": ("TCP://127.0.0.1:9000", "there is no transport TCP://"),
    "no port": ("tcp://127.0.0.1", "has no port"),
    "empty port": ("tcp://127.0.0.1:", "has no port"),
    "no host": ("tcp://:9000", "has no host: write tcp://127.0.0.1:9000"),
    "nothing": ("tcp://", "has no port"),
    "port of letters": ("tcp://localhost:http", "a port is a number from 0 to 65535, not 'http'"),
    "port too high": ("tcp://localhost:65536", "a port is a number from 0 to 65535"),
    "port far too long": ("tcp://localhost:" + "9" * 5000, "a port is a number from 0 to 65535"),
    "port below zero": ("tcp://localhost:-1", "a port is a number from 0 to 65535"),
    "port with a sign": ("tcp://localhost:+80", "a port is a number from 0 to 65535"),
    "port in other digits": ("tcp://localhost:٨٠", "a port is a number from 0 to 65535"),
    "port and a path": ("tcp://localhost:80/path", "a port is a number from 0 to 65535"),
    "IPv6 without brackets": ("tcp://::1:9000", "write an IPv6 address in brackets"),
    "IPv6 without port": ("tcp://[::1]", "has no port"),
    "IPv6 without end": ("tcp://[::1:9000", "write an IPv6 address as tcp://[::1]:9000"),
    "IPv6 with something behind": ("tcp://[::1]x:9000", "write an IPv6 address as tcp://[::1]:9000"),
    "IPv6 empty": ("tcp://[]:9000", "has no host"),
    "TLS without port": ("tls://127.0.0.1", "has no port: write it like tls://127.0.0.1:9000"),
    "TLS without host": ("tls://:9000", "has no host: write tls://127.0.0.1:9000"),
    "TLS to IPv6 without brackets": ("tls://::1:9000", "write an IPv6 address in brackets, as tls://[::1]:9000"),
    "TLS to IPv6 without end": ("tls://[::1:9000", "write an IPv6 address as tls://[::1]:9000"),
    "unix without a path": ("unix://", "names nothing: write it like unix:///run/service.sock"),
    "unix path too long": ("unix:///" + "x" * 107, "at most 107 bytes, this one 108"),
    "unix path too long in bytes": ("unix:///" + "ä" * 60, "at most 107 bytes, this one 121"),
    "mem without a name": ("mem://", "names nothing: write it like mem://name"),
    "no string": (9000, "an address is a string like tcp://127.0.0.1:9000, not 9000"),
    "bytes": (b"tcp://127.0.0.1:9000", "an address is a string"),
    "nothing at all": (None, "an address is a string"),
}


@pytest.mark.parametrize(("address", "message"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_named(address: str, message: str) -> None:
    for attempt in (lambda: arpc.connect(address), lambda: arpc.serve([address], arpc.Router())):
        with pytest.raises(arpc.AddressError) as caught:
            await attempt()
        assert message in str(caught.value)
        assert isinstance(caught.value, ValueError)


async def test_a_server_needs_an_address() -> None:
    with pytest.raises(arpc.AddressError, match="a server needs an address"):
        await arpc.serve([], arpc.Router())


async def test_one_mistake_among_right_ones_leaves_nothing_listening() -> None:
    with pytest.raises(arpc.AddressError):
        await arpc.serve(["mem://right", "wrong"], arpc.Router())
    with pytest.raises(arpc.ConnectError):
        await arpc.connect("mem://right")


IMPOSSIBLE = {
    "empty label": "tcp://a..b:80",
    "long label": f"tcp://{'a' * 300}:80",
    "nul in a host": "tcp://a\0b:80",
    "half a character in a host": "tcp://\udcff:80",
    "nul in a path": "unix://a\0b",
    "nul first in a path": "unix://\0abc",
    "half a character in a path": "unix://a\udcffb",
    "a space": "tcp://local host:80",
}


@pytest.mark.parametrize("address", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
async def test_a_host_or_path_that_cannot_be(address: str) -> None:
    """Whoever finds out, this library or what is below it: the error is one of ours."""
    with pytest.raises((arpc.AddressError, arpc.ConnectError)):
        await asyncio.wait_for(_connect(address), 10)
    with pytest.raises((arpc.AddressError, arpc.ConnectError)):
        await _serve(address)


async def _connect(address: str) -> arpc.Client:
    return await arpc.connect(address)


async def _serve(address: str) -> arpc.Server:
    return await arpc.serve(address, arpc.Router())


def test_what_is_read_from_an_address() -> None:
    assert parse_address("tcp://example.org:80")[2:] == ("example.org", 80)
    assert parse_address("tcp://[::1]:65535")[2:] == ("::1", 65535)
    assert parse_address("tcp://[fe80::1%eth0]:1")[2:] == ("fe80::1%eth0", 1)
    assert parse_address("tls://[::1]:443") == ("tls", "[::1]:443", "::1", 443)
    assert parse_address("unix:///" + "x" * 106).rest == "/" + "x" * 106
    assert str(parse_address("unix://relative/päth")) == "unix://relative/päth"
