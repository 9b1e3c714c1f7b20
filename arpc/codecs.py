"""The contract of a codec, the rules for bodies that every codec shares, and the way to the codecs themselves.

The codecs live in the package ``arpc_codecs`` and are loaded when first used: ``from arpc.codecs import MsgpackCodec``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin

from .errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from arpc_codecs import JsonCodec, MsgpackCodec, ProtobufCodec, RawCodec

__all__ = [
    "Codec",
    "JsonCodec",
    "MsgpackCodec",
    "ProtobufCodec",
    "RawCodec",
    "body_decoder",
    "encode_body",
    "get_codec",
]

_NAMES = {"json": "JsonCodec", "msgpack": "MsgpackCodec", "protobuf": "ProtobufCodec", "raw": "RawCodec"}

PLAIN: Any = Any
"""The type that asks for a codec's plain value: what it decodes to when it is told nothing."""


class Codec:
    """Translates values to bodies and back. Subclass it, write :meth:`encode` and :meth:`decode`, done.

    A codec never sees what travels as it is: ``bytes`` and ``str`` (on either side), None and empty bodies. Its methods
    may raise anything: the caller gets it as :class:`~arpc.EncodeError` or :class:`~arpc.DecodeError`.
    """

    name: str = ""

    empty_is_value: bool = False
    """An empty body may be a value of this codec, as a protobuf message of defaults is; else only None is empty."""

    def encode(self, value: Any) -> bytes:
        """The body of ``value``."""
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    def decode(self, data: bytes) -> Any:
        """The plain value of a body that is not empty."""
        raise NotImplementedError(f"{type(self).__name__} has no decode()")

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes a body into ``type`` and validates it; made once per type.

        Raise TypeError for a type that can never be decoded. The default decodes the plain value and converts it.
        """
        from msgspec import convert

        decode = self.decode
        return lambda data: convert(decode(data), type)


def get_codec(codec: str | Codec | None) -> Codec:
    """The codec of that name, or the object itself; None is JSON."""
    if isinstance(codec, Codec):
        return codec
    name = "json" if codec is None else codec
    if name not in _NAMES:
        raise ValueError(
            f"no codec {codec!r}: use one of {', '.join(map(repr, _NAMES))}, or an object of a Codec subclass"
        )
    made: Codec = __getattr__(_NAMES[name])()
    return made


def encode_body(codec: Codec, value: Any) -> bytes:
    """The body of any value: bytes and str as they are, None empty, an exception as its text, the rest by the codec."""
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise EncodeError(f"a str that cannot be written as UTF-8: {error}") from None
    if isinstance(value, (bytearray, memoryview)):
        return bytes(cast(memoryview, value))
    if isinstance(value, BaseException):
        return str(value).encode("utf-8", "replace")
    try:
        data = cast(object, codec.encode(value))
    except RecursionError:
        raise EncodeError(f"{codec.name} cannot encode a {type(value).__name__} that is nested too deep") from None
    except Exception as error:
        raise EncodeError(f"{codec.name} cannot encode a {type(value).__name__}: {error}") from error
    if not isinstance(data, bytes):
        raise EncodeError(
            f"{codec.name} encoded a {type(value).__name__} as {type(data).__name__}; a codec makes bytes"
        )
    return data


def body_decoder(codec: Codec, type: Any) -> Callable[[bytes], Any]:
    """A function from a body to ``type``, raising :class:`~arpc.DecodeError`. TypeError if there can be none."""
    if type is bytes:
        return _same
    if type is str:
        return _decode_text
    if type is None or type is NoneType:
        return _decode_none
    if type is PLAIN:
        return _Decode(
            codec.name, "a value (returns=str or bytes takes a body as it is)", codec.decode, empty_is_none=True
        )
    members: tuple[Any, ...] = get_args(type) if get_origin(type) in (Union, UnionType) else ()
    if NoneType in members and len(members) == 2 and (bytes in members or str in members):
        raw = _same if bytes in members else _decode_text
        return lambda data: raw(data) if data else None
    name = getattr(type, "__name__", None) or str(type)
    decode = codec.decoder(type)
    return _Decode(codec.name, name, decode, empty_is_none=NoneType in members, empty_is_value=codec.empty_is_value)


def _same(data: bytes) -> bytes:
    return data


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"expected text in UTF-8: {error}") from None


def _decode_none(data: bytes) -> None:
    if data:
        raise DecodeError(f"expected an empty body, got {len(data)} bytes")


class _Decode:
    """A codec's decoder with the errors and the empty body that all codecs share."""

    __slots__ = ("_codec", "_decode", "_empty_is_none", "_empty_is_value", "_name")

    def __init__(
        self,
        codec: str,
        name: str,
        decode: Callable[[bytes], Any],
        *,
        empty_is_none: bool,
        empty_is_value: bool = False,
    ) -> None:
        self._codec = codec
        self._name = name
        self._decode = decode
        self._empty_is_none = empty_is_none
        self._empty_is_value = empty_is_value

    def __call__(self, data: bytes) -> Any:
        if not data:
            if self._empty_is_none:
                return None
            if not self._empty_is_value:
                raise DecodeError(f"expected {self._name}, got an empty body")
        try:
            return self._decode(data)
        except RecursionError:
            raise DecodeError(f"expected {self._name} as {self._codec}: nested too deep") from None
        except Exception as error:
            raise DecodeError(f"expected {self._name} as {self._codec}: {error}") from error


def __getattr__(name: str) -> Any:
    if name in _NAMES.values():
        import arpc_codecs

        return getattr(arpc_codecs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
