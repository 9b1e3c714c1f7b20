"""The transports that one suite is run over."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

IPV6 = "tcp6"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose unix sockets have short paths: pytest's own may exceed the 107 bytes that a path may have."""
    monkeypatch.chdir(tmp_path)
    return Path(os.curdir)


@pytest.fixture(params=["tcp4", IPV6, "tls", "unix", "mem"])
def scheme(request: pytest.FixtureRequest) -> str:
    if request.param == IPV6 and not has_ipv6():
        pytest.skip("there is no IPv6 loopback here")
    return str(request.param)


@pytest.fixture
def anywhere(scheme: str, short_path: Path) -> Callable[[], str]:
    """Another free address at each call."""
    made = 0

    def address() -> str:
        nonlocal made
        made += 1
        if scheme == "unix":
            return f"unix://{short_path / f'{made}.sock'}"
        return {
            "tcp4": "tcp://127.0.0.1:0",
            IPV6: "tcp://[::1]:0",
            "tls": "tls://127.0.0.1:0",
            "mem": f"mem://name-{made}",
        }[scheme]

    return address
