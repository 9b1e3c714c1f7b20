"""CBOR (RFC 8949): for devices and programs that speak it already. Needs the extra ``cbor``.

cbor2 reads and writes the bytes, msgspec makes plain values of typed ones and back. Between Python programs MessagePack
does the same in less time: for 50 rows of 5 fields (CPython 3.11, cbor2 6.3, ratios within one run,
benchmarks/results/codecs.md) CBOR takes 10 and 13 times as long to encode plain and typed values, 3 and 5 times to
decode them; against JSON 10, 8, 3 and 5 times.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec

from arpc.codecs import Codec

from .pydantic import plain_of
from .typed import TOO_DEEP, converted

__all__ = ["CborCodec"]

_PLAIN = (dict, list, str, bytes, int, float, bool, type(None), datetime, date, Decimal, UUID)

_BYTES = (bytes, bytearray)
"""What stays as it is where plain values are made of typed ones."""

_MAX_INTEGER = 1785
"""Bytes of the largest integer, below 4300 digits: Python refuses to print a larger one, and JSON to read it."""

_MAX_EXPONENT = 6144
"""Of a decimal fraction, as in IEEE 754: a larger one says in few bytes a number that no memory holds."""

_MAX_DEPTH = 400


class CborCodec(Codec):
    """CBOR by RFC 8949.

    Encodes what :class:`~arpc.codecs.JsonCodec` encodes, in the same way, with these differences: bytes are bytes; NaN
    and the infinities are kept; keys of dicts may be numbers, bytes and tuples of those, too; integers of more than 64
    bits are bignums. Times, UUIDs and Decimals are text, without tags; so is a memoryview, in base64, as cbor2 would
    take it for a list of numbers. Making the codec raises ImportError if cbor2 isn't installed.

    Decodes definite and indefinite lengths, and these tags, no others: 0 and 1 (datetime), 2 and 3 (integers of at most
    4300 digits), 4 (Decimal, with an exponent of at most 6144), 37 (UUID), 1004 (date), 55799 (this is CBOR). A tag
    that is not one of them is an error, for tags may build cycles, compile patterns, or repeat text without end. Of
    duplicate keys the last one counts.
    """

    name = "cbor"

    def __init__(self) -> None:
        try:
            import cbor2
        except ImportError as error:
            text = "the cbor codec needs the extra cbor of arpc, or else: pip install 'cbor2>=6'"
            raise ImportError(text, name=error.name) from error
        self._dumps = cbor2.dumps
        self._decoder = cbor2.CBORDecoder
        self._error = cbor2.CBORDecodeError

    def encode(self, value: Any) -> bytes:
        """The CBOR of ``value``, with definite lengths and numbers as short as they go.

        Raises TypeError for what it cannot express (the class is named), ValueError for what is nested too deeply and
        for text that is not valid Unicode.
        """
        try:
            return self._dumps(msgspec.to_builtins(value, builtin_types=_BYTES, enc_hook=plain_of))
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    def decode(self, data: bytes) -> Any:
        """The plain value: dict, list, str, bytes, int, float, bool, None, and what the tags say. An array as a key is
        a tuple; ``undefined`` and simple values are objects of cbor2's.

        Raises ValueError for anything that is not one CBOR value, for more than 400 levels of nesting, and for tags
        that are not listed above. What a body claims to hold is not allocated before it is there.
        """
        source = BytesIO(data)
        try:
            value = self._decoder(source, semantic_decoders=_TAGS, max_depth=_MAX_DEPTH).decode()
        except self._error as error:
            raise ValueError(_explained(error)) from None
        if source.tell() != len(data):
            raise ValueError(f"trailing bytes after the value (byte {source.tell()})")
        return value

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes CBOR into ``type`` and validates it.

        It raises what :meth:`decode` raises, and msgspec.ValidationError (a ValueError) that names the field:
        "Expected `int`, got `str` - at `$.age`". For pydantic's types it is a ValueError that names the field, without
        what it held. Raises TypeError for a type that CBOR can never become.
        """
        return converted(self.decode, type, _PLAIN, _BYTES)


def _explained(error: Exception) -> str:
    """What was wrong: cbor2 says in which kind of value, and often only its cause says why."""
    text = str(error)
    if "nesting depth" in text:
        return TOO_DEEP
    return f"{text}: {error.__cause__}" if error.__cause__ is not None else text


class _Tags(dict[int, Callable[[Any, bool], Any]]):
    """What each tag means, by its number; one that is not among them is refused."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], Any]:
        def refuse(value: Any, immutable: bool) -> Any:
            raise ValueError("this tag is not accepted")

        return refuse


def _epoch(seconds: Any, immutable: bool) -> datetime:
    if isinstance(seconds, (int, float)):
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(str(error)) from None
    raise ValueError("it takes a number of seconds")


def _integer(data: Any, immutable: bool) -> int:
    if not isinstance(data, bytes) or len(data) > _MAX_INTEGER:
        raise ValueError(f"it takes at most {_MAX_INTEGER} bytes")
    return int.from_bytes(data)


def _negative(data: Any, immutable: bool) -> int:
    return -1 - _integer(data, immutable)


def _fraction(parts: Any, immutable: bool) -> Decimal:
    exponent, mantissa = msgspec.convert(parts, tuple[int, int])
    if abs(exponent) > _MAX_EXPONENT:
        raise ValueError(f"its exponent is between -{_MAX_EXPONENT} and {_MAX_EXPONENT}")
    return Decimal(f"{mantissa}e{exponent}")


def _uuid(data: Any, immutable: bool) -> UUID:
    return UUID(bytes=msgspec.convert(data, bytes, builtin_types=_BYTES))


_TAGS = _Tags(
    {
        0: lambda text, immutable: msgspec.convert(text, datetime),
        1: _epoch,
        2: _integer,
        3: _negative,
        4: _fraction,
        37: _uuid,
        1004: lambda text, immutable: msgspec.convert(text, date),
        55799: lambda value, immutable: value,
    }
)
