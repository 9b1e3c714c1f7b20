"""What carries bytes: one module for each scheme, loaded when an address names it."""

from __future__ import annotations

from importlib import import_module

from ..transport import SCHEMES, Transport

__all__ = ["transport_for"]


def transport_for(scheme: str) -> Transport:
    """The transport of a scheme that :func:`~arpc.transport.parse_address` has let through."""
    assert scheme in SCHEMES
    transport: Transport = import_module(f"{__name__}.{scheme}").transport
    return transport
