"""What travels as a body: the rules that every codec shares (PROTOCOL part 1, "Bodies")."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from .codecs import Codec
from .errors import DecodeError, EncodeError
from .frame import LARGE

__all__ = ["NO_BODY", "PLAIN", "body_decoder", "encode_body"]

NO_BODY: Final[Any] = object()
"""In place of a body: there is none, not even an empty one."""

PLAIN: Any = Any
"""The type that asks for a codec's plain value: what it decodes to when it is told nothing."""


def encode_body(codec: Codec, value: Any) -> bytes:
    """The body of any value: bytes and str as they are, None empty, an exception as its text, the rest by the codec.

    Large memoryviews, the codec's too, stay where they are: a flat view then stands for the bytes until they are
    written, as it has a length, and can be joined and written as they can.
    """
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise EncodeError(f"a str that cannot be written as UTF-8: {error}") from None
    if isinstance(value, bytearray):  # a view of it would forbid its owner to change its size
        return bytes(value)
    if isinstance(value, memoryview):
        return _flat(cast(memoryview, value))
    if isinstance(value, BaseException):
        return str(value).encode("utf-8", "replace")
    try:
        data = cast(object, codec.encode(value))
    except RecursionError:
        raise EncodeError(f"{codec.name} cannot encode a {type(value).__name__} that is nested too deep") from None
    except Exception as error:
        raise EncodeError(f"{codec.name} cannot encode a {type(value).__name__}: {error}") from error
    if isinstance(data, memoryview):
        return _flat(cast(memoryview, data))
    if not isinstance(data, bytes):
        raise EncodeError(
            f"{codec.name} encoded a {type(value).__name__} as {type(data).__name__}; it makes bytes or a memoryview"
        )
    return data


def _flat(view: memoryview) -> bytes:
    """The bytes of a view: where they are, if they are many. Few are copied, for they wait with others for the socket.

    ``LARGE`` is also what is handed to the transport at once and as it is.
    """
    if view.nbytes <= LARGE or not view.c_contiguous:
        return view.tobytes()
    return cast(bytes, view.cast("B"))


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
    as_it_is = _as_it_is(codec, type)
    if as_it_is is not None:
        return as_it_is
    optional = NoneType in get_args(type) if get_origin(type) in _UNIONS else False
    decode = codec.decoder(type)
    return _Decode(codec.name, _name(type), decode, empty_is_none=optional, empty_is_value=codec.empty_is_value)


_UNIONS = (Union, UnionType)


def _as_it_is(codec: Codec, type: Any) -> Callable[[bytes], Any] | None:
    """The decoder of a type whose values are all str, or all bytes, which need no codec; None for the others.

    TypeError for a union of both kinds: its body could not be told apart.
    """
    members: list[Any] = [member for member in get_args(type) if member is not NoneType]
    if get_origin(type) not in _UNIONS:
        members = [type]
    kinds = {_kind(member) for member in members}
    if kinds == {None}:
        return None
    if len(kinds) > 1 or len(members) > 1:
        raise TypeError(
            f"{type} cannot be told apart from its body: str and bytes travel as they are; put it in a field"
        )
    raw: Callable[[bytes], Any]
    if members[0] in (bytes, bytearray, memoryview):
        raw = _same if members[0] is bytes else members[0]
    elif members == [str]:
        raw = _decode_text
    else:
        raw = _of_a_kind(codec, members[0], _same if kinds == {bytes} else _decode_text)
    return raw if members == [type] else lambda data: raw(data) if data else None


def _kind(type: Any) -> Any:
    """``str`` or ``bytes`` for a type whose values are all of that kind, else None."""
    origin = get_origin(type)
    if origin is Annotated:
        return _kind(get_args(type)[0])
    if origin is Literal:
        values: set[Any] = {value.__class__ for value in get_args(type)}
        if str in values and len(values) > 1:
            raise TypeError(f"{type} cannot be told apart from its body, since str travels as it is: use a field")
        return str if values == {str} else None
    for alias in ("__supertype__", "__value__"):  # of NewType, and of the type statement
        if hasattr(type, alias):
            return _kind(getattr(type, alias))
    if isinstance(type, builtins.type):
        return str if issubclass(type, str) else bytes if issubclass(type, (bytes, bytearray, memoryview)) else None
    return None


def _of_a_kind(codec: Codec, type: Any, read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Text or bytes that must be one of a kind: a Literal, a StrEnum, an annotated or renamed str.

    What the codec makes of such text is read, too: a Go peer sends the string of a named type through its codec.
    """
    from msgspec import ValidationError, convert

    try:
        encoded: Callable[[bytes], Any] | None = codec.decoder(type)
    except TypeError:
        encoded = None

    def decode(data: bytes) -> Any:
        try:
            return convert(read(data), type)
        except (ValidationError, DecodeError) as error:
            if encoded is not None:
                with suppress(Exception):
                    return encoded(data)
            raise DecodeError(f"expected {_name(type)}: {error}") from None

    return decode


def _name(type: Any) -> str:
    """A type as its author wrote it."""
    return type.__name__ if isinstance(type, builtins.type) and not get_args(type) else str(type).replace("typing.", "")


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
