"""The codecs of arpc: JSON, MessagePack, CBOR, protobuf and raw bytes. Each is loaded when it is first used.

Import them from :mod:`arpc.codecs`, where their contract stands: ``from arpc.codecs import MsgpackCodec``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cbor import CborCodec
    from .json import JsonCodec
    from .msgpack import MsgpackCodec
    from .msgpack_package import MsgpackPackageCodec
    from .protobuf import ProtobufCodec
    from .raw import RawCodec

__all__ = ["CborCodec", "JsonCodec", "MsgpackCodec", "MsgpackPackageCodec", "ProtobufCodec", "RawCodec"]

_MODULES = {
    "CborCodec": "cbor",
    "JsonCodec": "json",
    "MsgpackCodec": "msgpack",
    "MsgpackPackageCodec": "msgpack_package",
    "ProtobufCodec": "protobuf",
    "RawCodec": "raw",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # the next look-up doesn't come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
