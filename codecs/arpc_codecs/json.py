"""JSON, the default codec. What it means is msgspec's JSON; orjson writes it wherever that is the faster one.

Chosen by measurement (CPython 3.11; a 581-byte message of four fields, ratios within one run):

- Encoding plain dicts and lists: orjson takes 0.6 of msgspec's time. Encoding a Struct or dataclass: msgspec takes 0.5
  of orjson's, which calls back for each. So plain values go to orjson, which hands msgspec what it doesn't know.
- Decoding into a type: msgspec takes 0.4 of the time of orjson followed by a conversion.
- Decoding plain values: about equal for ASCII, orjson takes 0.7 of msgspec's time for much non-ASCII text. But orjson
  turns integers of more than 64 bits into floats, silently, and msgspec keeps them: so msgspec decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from arpc.codecs import Codec

from .pydantic import json_decoder, json_of, understands
from .typed import TOO_DEEP, compiled, guarded

__all__ = ["JsonCodec"]

_PLAIN = (dict, list, str, int, float, bool, type(None))
_PLAIN_SET = frozenset(_PLAIN)

# Times and dataclasses by msgspec, wherever they are nested: there is one way in which each is written ("Z" for UTC).
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _unknown(value: Any) -> msgspec.Raw:
    """What msgspec asks for: all that it doesn't know, and keys that no text can be."""
    if value is None or isinstance(value, (tuple, frozenset)):
        raise TypeError("Only dicts with str-like or number-like keys are supported")
    return msgspec.Raw(json_of(value))


_encode = msgspec.json.Encoder(enc_hook=_unknown).encode
_decode = guarded(msgspec.json.Decoder().decode)


def _decode_model(cls: Any) -> Callable[[Any], Any]:
    """A pydantic model within a type of msgspec's reads JSON, too, since its rules for JSON are others."""
    decode = json_decoder(cls)
    return lambda value: decode(_encode(value))


class JsonCodec(Codec):
    """JSON by RFC 8259, UTF-8.

    Encodes dict, list, tuple, set, str, numbers, None, and, wherever they are nested: dataclass, msgspec.Struct,
    TypedDict, NamedTuple, attrs class, Enum (its value), datetime, date, time (RFC 3339), timedelta (ISO 8601), UUID
    and Decimal (as strings), bytes (as base64), pydantic models (as they say, by alias). Keys of dicts may be strings,
    numbers, and what is written as one. NaN and the infinities, which JSON has not, become ``null``, as JavaScript
    writes them.

    Decodes strictly: no NaN, comments, trailing commas or trailing bytes; of duplicate keys the last one counts, and
    integers are exact up to 4300 digits. Into a type, nothing is converted that JSON tells apart: neither "1" nor 1.0
    is an int (but 1 is a float, too). pydantic's types are decoded by its own rules.
    """

    name = "json"

    def encode(self, value: Any) -> bytes:
        """The JSON of ``value``, compact.

        Raises TypeError for what JSON cannot express (the class is named), ValueError for what is nested too deeply
        (some hundreds of levels, or in itself) and for text that is not valid Unicode.
        """
        # A list of Structs is msgspec's, so its first item is what counts.
        kind = value.__class__
        if kind is list and value:
            kind = value[0].__class__
        if kind in _PLAIN_SET:
            try:
                return orjson.dumps(value, msgspec.to_builtins, _OPTIONS)
            except TypeError:  # a key that is no string, an integer of more than 64 bits, a pydantic model...
                pass  # msgspec can, or says why not
        try:
            return _encode(value)
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    def decode(self, data: bytes) -> Any:
        """The plain value: dict, list, str, int, float, bool, None.

        Raises ValueError for anything that is not JSON; msgspec.DecodeError and UnicodeDecodeError are ValueErrors.
        """
        return _decode(data)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes JSON into ``type`` and validates it.

        It raises what :meth:`decode` raises, and msgspec.ValidationError (a ValueError) that names the field:
        "Expected `int`, got `str` - at `$.age`". For pydantic's types it is a ValueError that names the field, without
        what it held. Raises TypeError for a type that JSON can never become.
        """
        if understands(type):
            return json_decoder(type)
        return compiled(msgspec.json.Decoder, type, _PLAIN, _decode_model)
