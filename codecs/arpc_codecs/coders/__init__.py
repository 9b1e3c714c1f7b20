"""The coders of arpc. Each is loaded when it is first used.

Import them from :mod:`arpc.coders`, where their contract stands: ``from arpc.coders import Gzip``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .appender import Appender
    from .encrypt import Encrypt
    from .gzip import Gzip
    from .lz4 import Lz4
    from .msgpack import MsgpackValues
    from .tracing import OpenTracing, SpanContext
    from .zstd import Zstd

__all__ = ["Appender", "Encrypt", "Gzip", "Lz4", "MsgpackValues", "OpenTracing", "SpanContext", "Zstd"]

_MODULES = {
    "Appender": "appender",
    "Encrypt": "encrypt",
    "Gzip": "gzip",
    "Lz4": "lz4",
    "MsgpackValues": "msgpack",
    "OpenTracing": "tracing",
    "SpanContext": "tracing",
    "Zstd": "zstd",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # the next look-up doesn't come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
