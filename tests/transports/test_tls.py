"""TLS alone: who is trusted, who is refused and what both sides are told about it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import arpc
from arpc.transports import tls
from tests.peer.raw import Raw
from tests.tools import eventually
from tests.transports.certificates import AUTHORITY, CLIENT, SERVER, client_context, server_context

pytestmark = [pytest.mark.timeout(20), pytest.mark.usefixtures("no_complaint")]

ANYWHERE = "tls://127.0.0.1:0"
STRANGER = trustme.CA()


@pytest.fixture
async def no_complaint() -> AsyncIterator[None]:
    """Nothing that a client does makes the event loop complain."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def router() -> arpc.Router:
    routes = arpc.Router()

    @routes.handle("/who")
    async def who(ctx: arpc.Context) -> Any:
        return ctx.peer.certificate

    return routes


def asking(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """A server's context that wants a certificate of ``authority``."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return context


def with_certificate(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """A client's context that shows a certificate of ``authority``."""
    context = client_context()
    authority.issue_cert("ann@example.org", common_name="Ann").configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext, **options: Any) -> AsyncIterator[arpc.Server]:
    """A server that goes on, whatever its clients are, and keeps nothing of them."""
    async with arpc.serve(ANYWHERE, router(), ssl=context, **options) as server:
        yield server
        await eventually(lambda: not server._endpoint.connections)


# --- who is who


async def test_the_address_says_tls_on_both_sides() -> None:
    async with serving(SERVER) as server, arpc.connect(server.address, ssl=CLIENT) as client:
        assert server.address.startswith("tls://127.0.0.1:")
        assert client.address == server.address
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        assert peer.address.startswith("tls://127.0.0.1:")
        transport = peer._connection.transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        await peer.wait_closed()
        await client.wait_closed()
        assert peer.address.startswith("tls://127.0.0.1:")
        assert client.address == server.address


async def test_a_client_sees_the_certificate_of_the_server() -> None:
    async with serving(SERVER) as server:
        async with arpc.connect(server.address, ssl=CLIENT) as client:
            assert client.certificate is not None
            assert ("IP Address", "127.0.0.1") in client.certificate["subjectAltName"]
            assert await client.call("/who") is None  # nobody asked for this side's
        assert client.certificate is not None


async def test_both_sides_see_the_certificate_of_the_other() -> None:
    async with serving(asking()) as server:
        client = await arpc.connect(server.address, ssl=with_certificate())
        (peer,) = server.peers
        seen = peer.certificate
        assert seen is not None
        assert (("commonName", "Ann"),) in seen["subject"]
        assert (await client.call("/who"))["serialNumber"] == seen["serialNumber"]
        client._connection.abort(arpc.ConnectionClosed("gone"))
        await peer.wait_closed()
        assert peer.certificate == seen


async def test_a_certificate_that_was_not_verified_is_none() -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    async with serving(SERVER) as server, arpc.connect(server.address, ssl=trusting) as client:
        assert client.certificate is None


async def test_a_client_certificate_may_be_left_to_the_client() -> None:
    context = asking()
    context.verify_mode = ssl.CERT_OPTIONAL
    async with serving(context) as server:
        async with arpc.connect(server.address, ssl=CLIENT) as client:
            assert await client.call("/who") is None
        async with arpc.connect(server.address, ssl=with_certificate()) as client:
            assert await client.call("/who")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "mem://no-tls"])
async def test_without_tls_there_is_no_certificate(address: str) -> None:
    async with arpc.serve(address, router()) as server, arpc.connect(server.address) as client:
        assert client.certificate is None
        assert await client.call("/who") is None


async def test_a_name_is_verified() -> None:
    async with arpc.serve("tls://localhost:0", router(), ssl=SERVER) as server:
        address = f"tls://localhost:{port_of(server.address)}"
        async with arpc.connect(address, ssl=CLIENT) as client:
            await client.ping()


async def test_a_server_may_be_found_with_and_without_tls() -> None:
    async with arpc.serve([ANYWHERE, "tcp://127.0.0.1:0"], router(), ssl=SERVER) as server:
        with_tls, without = server.addresses
        async with arpc.connect(with_tls, ssl=CLIENT) as one, arpc.connect(without) as other:
            assert one.certificate
            assert other.certificate is None


# --- who is refused


async def test_nobody_is_trusted_whom_the_system_does_not_know() -> None:
    async with serving(SERVER) as server:
        with pytest.raises(arpc.ConnectError, match="certificate verify failed: unable to get local issuer") as caught:
            await arpc.connect(server.address)
        assert str(caught.value).startswith(f"cannot connect to {server.address}: certificate verify failed")
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_the_system_says_whom_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = tmp_path / "trusted.pem"
    AUTHORITY.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    tls.system_trust.cache_clear()
    try:
        async with serving(SERVER) as server, arpc.connect(server.address) as client:
            await client.ping()
    finally:
        tls.system_trust.cache_clear()


YEAR_2000 = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
YEAR_2001 = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)

REFUSED = {
    "of another authority": (server_context(STRANGER), "unable to get local issuer certificate"),
    "for another name": (server_context(AUTHORITY, "example.org"), "not valid for '127.0.0.1'"),
    "expired": (
        server_context(AUTHORITY, "127.0.0.1", not_before=YEAR_2000, not_after=YEAR_2001),
        "certificate has expired",
    ),
}


@pytest.mark.parametrize(("context", "why"), REFUSED.values(), ids=REFUSED)
async def test_a_server_certificate_is_refused(context: ssl.SSLContext, why: str) -> None:
    async with serving(context) as server:
        for _ in range(3):
            with pytest.raises(arpc.ConnectError, match=f"certificate verify failed: .*{why}"):
                await arpc.connect(server.address, ssl=CLIENT)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("stranger", [False, True], ids=["none", "of another authority"])
async def test_a_client_certificate_is_refused(version: ssl.TLSVersion, stranger: bool) -> None:
    context = with_certificate(STRANGER) if stranger else client_context()
    context.maximum_version = version
    async with serving(asking()) as server:
        for _ in range(3):
            with pytest.raises(arpc.ConnectError, match="certificate"):
                await arpc.connect(server.address, ssl=context)
        async with arpc.connect(server.address, ssl=with_certificate()) as client:
            await client.ping()


async def test_without_extensions_a_refusal_ends_the_connection() -> None:
    async with serving(asking()) as server:
        with contextlib.suppress(arpc.ConnectError):
            client = await arpc.connect(server.address, ssl=CLIENT, extensions=False)
            with pytest.raises(arpc.ConnectionClosed):
                await client.call("/who")


async def test_a_client_without_tls() -> None:
    async with serving(SERVER) as server:
        with pytest.raises(arpc.ConnectError):
            await arpc.connect(server.address.replace("tls", "tcp"))
        async with arpc.connect(server.address, ssl=CLIENT) as client:
            await client.ping()


async def test_a_server_without_tls() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", router()) as server:
        with pytest.raises(arpc.ConnectTimeout, match=r"within 0\.1 s \(connect_timeout\): does it speak TLS\?"):
            await arpc.connect(server.address.replace("tcp", "tls"), ssl=CLIENT, connect_timeout=0.1)
        await eventually(lambda: not server._endpoint.connections)


async def test_a_server_that_closes_in_the_handshake() -> None:
    listener = Raw.listener()
    with listener:
        address = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        connecting = asyncio.ensure_future(_connected(address, CLIENT))
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        accepted.close()
        with pytest.raises(arpc.ConnectError, match=r"it ended the TLS handshake: perhaps"):
            await connecting


async def _connected(address: str, context: ssl.SSLContext) -> arpc.Client:
    return await arpc.connect(address, ssl=context)


async def test_a_handshake_that_never_ends_is_cut_off() -> None:
    async with serving(SERVER, stall_timeout=0.1) as server:
        with socket.create_connection(("127.0.0.1", port_of(server.address))) as sock:
            sock.setblocking(False)
            await asyncio.wait_for(Raw(sock).ended(), 5)


async def test_stopping_leaves_no_handshake_behind() -> None:
    server = await arpc.serve(ANYWHERE, router(), ssl=SERVER, stall_timeout=0.1)
    with socket.create_connection(("127.0.0.1", port_of(server.address))) as sock:
        await asyncio.sleep(0)
        await asyncio.wait_for(server.stop(), 2)
        sock.setblocking(False)
        await asyncio.wait_for(Raw(sock).ended(), 5)


# --- mistakes with the option


async def test_a_server_needs_a_context() -> None:
    with pytest.raises(ValueError, match=r"needs the server's certificate, in the option ssl: .*load_cert_chain"):
        await arpc.serve(ANYWHERE, router())


async def test_a_context_of_the_other_side_is_refused() -> None:
    with pytest.raises(ValueError, match="ssl is a context for clients"):
        await arpc.serve(ANYWHERE, router(), ssl=CLIENT)
    with pytest.raises(ValueError, match="ssl is a context for servers"):
        await arpc.connect("tls://127.0.0.1:1", ssl=SERVER)


async def test_a_context_that_nothing_would_use_is_refused() -> None:
    addresses = ["tcp://127.0.0.1:0", "mem://no-tls"]
    with pytest.raises(ValueError, match=r"ssl is for tls:// addresses, and there is none: tcp://127\.0\.0\.1:0, mem"):
        await arpc.serve(addresses, router(), ssl=SERVER)
    with pytest.raises(ValueError, match="ssl is for tls:// addresses, and there is none: tcp://127"):
        await arpc.connect("tcp://127.0.0.1:1", ssl=CLIENT)


async def test_an_address_in_use_is_named() -> None:
    async with serving(SERVER) as server:
        with pytest.raises(arpc.ConnectError, match=f"cannot listen on {server.address}: "):
            await arpc.serve(server.address, router(), ssl=SERVER)
