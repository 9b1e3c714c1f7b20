"""The contract of a codec, and the way to the codecs themselves.

The codecs live in the package ``arpc_codecs`` and are loaded when first used: ``from arpc.codecs import MsgpackCodec``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arpc_codecs import CborCodec, JsonCodec, MsgpackCodec, MsgpackPackageCodec, ProtobufCodec, RawCodec

__all__ = [
    "CborCodec",
    "Codec",
    "JsonCodec",
    "MsgpackCodec",
    "MsgpackPackageCodec",
    "ProtobufCodec",
    "RawCodec",
    "get_codec",
]

_NAMES = {
    "json": "JsonCodec",
    "msgpack": "MsgpackCodec",
    "msgpack-package": "MsgpackPackageCodec",
    "cbor": "CborCodec",
    "protobuf": "ProtobufCodec",
    "raw": "RawCodec",
}


class Codec:
    """Translates values to bodies and back. Subclass it, write :meth:`encode` and :meth:`decode`, done.

    A codec never sees what travels as it is: ``bytes`` and ``str`` (on either side), None and empty bodies. Its methods
    may raise anything: the caller gets it as :class:`~arpc.EncodeError` or :class:`~arpc.DecodeError`.
    """

    name: str = ""
    """How errors call it; the name of the class if it says nothing."""

    empty_is_value: bool = False
    """An empty body may be a value of this codec, as a protobuf message of defaults is; else only None is empty."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.name or cls.__name__

    def encode(self, value: Any) -> bytes | memoryview:
        """The body of ``value``. A large memoryview is sent from where it is (docs/codecs.md, "Arrays and buffers")."""
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    def decode(self, data: bytes) -> Any:
        """The plain value of a body that is not empty."""
        raise NotImplementedError(f"{type(self).__name__} has no decode()")

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes a body into ``type`` and validates it; made once per type.

        Raise TypeError for a type that can never be decoded. The default decodes the plain value and converts it.
        """
        from arpc_codecs.typed import converted

        return converted(self.decode, type)


def get_codec(codec: str | Codec | None) -> Codec:
    """The codec of that name, or the object itself; None is JSON."""
    if isinstance(codec, Codec):
        for method in ("encode", "decode"):
            if getattr(type(codec), method) is getattr(Codec, method):
                raise TypeError(f"the codec {type(codec).__name__} has no {method}()")
        return codec
    name = "json" if codec is None else codec
    if name not in _NAMES:
        raise ValueError(
            f"no codec {codec!r}: use one of {', '.join(map(repr, _NAMES))}, or an object of a Codec subclass"
        )
    made: Codec = __getattr__(_NAMES[name])()
    return made


def __getattr__(name: str) -> Any:
    if name in _NAMES.values():
        import arpc_codecs

        return getattr(arpc_codecs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
