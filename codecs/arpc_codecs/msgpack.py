"""MessagePack: JSON's values and a few more (bytes, exact times) in fewer bytes.

msgspec speaks it alone. The ``msgpack`` package takes 2.5 to 2.9 times as long to encode plain values, and 1.7 to 1.9
times to decode them (CPython 3.11, the suite's message and 50 rows of 5 fields, ratios within one run,
benchmarks/results/codecs.md), and it allocates what an array claims to hold before its items are there: 17 KB of
nested claims cost 67 MB (msgpack 1.2.4), and no ``max_array_len`` tells them from honest ones. msgspec grows with the
data. Who needs the package's hooks takes :class:`~arpc.codecs.MsgpackPackageCodec`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from arpc.codecs import Codec

from .pydantic import plain_decoder, plain_of, understands
from .typed import TOO_DEEP, compiled, guarded

__all__ = ["MsgpackCodec"]

_PLAIN = (dict, list, str, bytes, int, float, bool, type(None), datetime, msgspec.msgpack.Ext)

_encode = msgspec.msgpack.Encoder(enc_hook=plain_of).encode
_decode = guarded(msgspec.msgpack.Decoder().decode)


class MsgpackCodec(Codec):
    """MessagePack.

    Encodes what :class:`~arpc.codecs.JsonCodec` encodes, and decodes into the same types, with these differences: bytes
    are bytes; a datetime with a time zone is a timestamp extension and comes back in UTC; dicts may have keys of
    any type; NaN and the infinities are kept; integers have at most 64 bits; extension types are msgspec.msgpack.Ext.
    """

    name = "msgpack"

    def encode(self, value: Any) -> bytes:
        """The MessagePack of ``value``.

        Raises TypeError for what it cannot express (the class is named), OverflowError for an integer of more than 64
        bits, ValueError for what is nested too deeply and for text that is not valid Unicode.
        """
        try:
            return _encode(value)
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    def decode(self, data: bytes) -> Any:
        """The plain value: dict, list, str, bytes, int, float, bool, None, datetime, Ext. An array as a key is a tuple.

        Raises ValueError for anything that is not one MessagePack value; msgspec.DecodeError and UnicodeDecodeError are
        ValueErrors. What a body claims to hold is not allocated before it is there.
        """
        return _decode(data)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes MessagePack into ``type`` and validates it.

        It raises what :meth:`decode` raises, and msgspec.ValidationError (a ValueError) that names the field:
        "Expected `int`, got `str` - at `$.age`". For pydantic's types it is a ValueError that names the field, without
        what it held. Raises TypeError for a type that MessagePack can never become.
        """
        if understands(type):
            read = plain_decoder(type)
            return lambda data: read(_decode(data))
        return compiled(msgspec.msgpack.Decoder, type, _PLAIN)
