"""No codec at all: bodies are bytes, and what they mean is the program's affair."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from arpc.codecs import Codec

from .arrays import array_decoder, is_array_type

__all__ = ["RawCodec"]

_FOREIGN = (">", "!") if sys.byteorder == "little" else ("<",)
"""What the format of items whose bytes are in the other order holds."""


class RawCodec(Codec):
    """Bytes in, bytes out. Anything that needs translation is an error, so nothing is translated by mistake.

    Buffers are sent from where they are: numpy arrays, memoryviews, array.array, mmap, ctypes... What is annotated as
    ``numpy.typing.NDArray[numpy.float32]`` is an array over the body. Shapes and types of items don't travel.
    """

    name = "raw"
    empty_is_value = True

    def encode(self, value: Any) -> bytes | memoryview:
        """The bytes of any bytes-like object, in C order: a flat view of it, without a copy, where its memory is in
        that order; else a copy.

        Raises TypeError for all else, and for items that mean nothing elsewhere: Python objects, and numbers in the
        byte order of another machine.
        """
        try:
            view = memoryview(value)
        except (TypeError, ValueError) as error:
            raise TypeError(_refusal(value, error)) from None
        if view.format == "B" and view.ndim == 1 and view.c_contiguous:
            return view
        if "O" in view.format:
            raise TypeError("the raw codec sends no Python objects, of which a buffer holds addresses only")
        if any(mark in view.format for mark in _FOREIGN):
            raise TypeError(
                f"the raw codec sends numbers in the order of this machine ({sys.byteorder}-endian): convert them, as "
                'in array.astype(array.dtype.newbyteorder("="))'
            )
        if not view.c_contiguous or not view.nbytes:
            return view.tobytes()
        return view.cast("B")

    def decode(self, data: bytes) -> bytes:
        """The body."""
        return bytes(data)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that makes bytes (also for Any), a bytearray (a copy) or a memoryview of the body; of
        ``numpy.typing.NDArray[...]`` an array of one dimension over the body, which cannot be written to.

        For the array it raises ValueError for a body that is no whole number of items. Raises TypeError for any other
        type.
        """
        if type is Any or type is bytes:
            return self.decode
        if type is bytearray or type is memoryview:
            make: Callable[[bytes], Any] = type
            return make
        if is_array_type(type):
            return array_decoder(type)
        raise TypeError(
            f"the raw codec decodes into bytes, bytearray, memoryview or numpy.typing.NDArray[...], not {type!r}: "
            'decode the bytes yourself, or use another codec (codec="json")'
        )


def _refusal(value: Any, error: Exception) -> str:
    if is_array_type(type(value)):
        return f"the raw codec cannot send this array ({error}): view its items as numbers, as in array.view('i8')"
    return (
        f"the raw codec takes bytes-like objects, not {type(value).__name__}: encode it yourself, "
        'or use another codec (codec="json")'
    )
