"""MessagePack by the ``msgpack`` package, for those who need its hooks. Needs the extra ``msgpack``.

:class:`~arpc.codecs.MsgpackCodec` writes and reads the same format, and is the faster one: see its module. The package
by itself allocates what an array claims to hold before its items are there (17 KB of nested claims cost 67 MB, and no
``max_array_len`` tells them from honest ones). So msgspec walks over each body first, building nothing: afterwards all
claims are known to be honest, for a tenth of the time of unpacking.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any

import msgspec

from arpc.codecs import Codec

from .pydantic import plain_of
from .typed import TOO_DEEP, converted, guarded

__all__ = ["MsgpackPackageCodec"]

_BYTES = (bytes, bytearray, memoryview)
_NATIVE = (*_BYTES, datetime)
"""What stays as it is where plain values are made of typed ones."""

_DATETIME = 3
"""The package's name for timestamps that become datetimes in UTC."""

_walk = guarded(msgspec.msgpack.Decoder(msgspec.Raw).decode)


class MsgpackPackageCodec(Codec):
    """MessagePack with the hooks of the ``msgpack`` package.

    ``default``: makes, of an object that nothing here knows (or a typed one that holds such), one that can be packed,
    such as ``msgpack.ExtType``; it raises TypeError for what it doesn't know. ``ext_hook``: makes, of the code and the
    bytes of an extension, the value that it stands for; without it that is a ``msgpack.ExtType``. Timestamps are no
    extension: they are datetimes in UTC.

    Encodes what :class:`~arpc.codecs.MsgpackCodec` encodes, and decodes into the same types. Making the codec raises
    ImportError if msgpack isn't installed, TypeError for a hook that cannot be called.
    """

    name = "msgpack-package"

    def __init__(
        self,
        *,
        default: Callable[[Any], Any] | None = None,
        ext_hook: Callable[[int, bytes], Any] | None = None,
    ) -> None:
        try:
            msgpack: Any = import_module("msgpack")  # it has no type information
        except ImportError as error:
            text = "the msgpack-package codec needs the extra msgpack of arpc, or else: pip install msgpack"
            raise ImportError(text, name=error.name) from error
        for option, hook in (("default", default), ("ext_hook", ext_hook)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{option} is a function, not {hook!r}")
        self._default = default
        self._ext_hook = ext_hook or msgpack.ExtType
        self._packb: Callable[..., bytes] = msgpack.packb
        self._unpackb: Callable[..., Any] = msgpack.unpackb
        self._too_deep = msgpack.StackError

    def encode(self, value: Any) -> bytes:
        """The MessagePack of ``value``.

        Raises TypeError for what neither it nor ``default`` can express, OverflowError for an integer of more than 64
        bits, ValueError for what is nested too deeply and for text that is not valid Unicode.
        """
        try:
            return self._packb(value, default=self._plain, datetime=True)
        except (RecursionError, ValueError) as error:
            if isinstance(error, RecursionError) or "recursion limit" in str(error):
                raise ValueError(TOO_DEEP) from error
            raise

    def _plain(self, value: Any) -> Any:
        """What the package asks for: all that is no plain value."""
        if isinstance(value, datetime):  # without a zone, so no timestamp
            return value.isoformat()
        try:
            return msgspec.to_builtins(value, builtin_types=_NATIVE, enc_hook=plain_of)
        except TypeError:
            if self._default is None:
                raise
        return self._default(value)

    def decode(self, data: bytes) -> Any:
        """The plain value: dict, list, str, bytes, int, float, bool, None, datetime, and what ``ext_hook`` makes.

        Raises ValueError for anything that is not one MessagePack value, and for keys that no dict can have, such as
        arrays. What a body claims to hold is not allocated before it is there. What ``ext_hook`` raises is raised.
        """
        _walk(data)
        try:
            return self._unpackb(data, ext_hook=self._ext_hook, timestamp=_DATETIME, strict_map_key=False)
        except self._too_deep:
            raise ValueError(TOO_DEEP) from None
        except TypeError as error:  # a key that cannot be hashed
            raise ValueError(str(error)) from error

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that decodes MessagePack into ``type`` and validates it.

        It raises what :meth:`decode` raises, and msgspec.ValidationError (a ValueError) that names the field:
        "Expected `int`, got `str` - at `$.age`". For pydantic's types it is a ValueError that names the field, without
        what it held. Raises TypeError for a type that msgspec refuses.
        """
        return converted(self.decode, type, natives=_BYTES)
