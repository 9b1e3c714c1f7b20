"""numpy arrays over bodies. numpy is there when an annotation brings it; nothing here imports it before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_args, get_origin

__all__ = ["array_decoder", "is_array_type"]

_NUMBERS = "biufc"
"""Kinds of items whose every value is in their bytes: bool, integers, floats, complex."""


def is_array_type(type: Any) -> bool:
    """``numpy.ndarray``, or what it is with its kind of items: ``numpy.typing.NDArray[numpy.float32]``."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and numpy.ndarray in (type, get_origin(type))


def array_decoder(type: Any) -> Callable[[bytes], Any]:
    """A function that makes an array of one dimension over a body, without a copy; it cannot be written to.

    It raises ValueError for a body that is no whole number of items. Raises TypeError for an array type that doesn't
    say its items, or says some that bytes from elsewhere cannot be.
    """
    import numpy

    try:
        shape, items = get_args(type)
        (item,) = get_args(items)
        dtype = numpy.dtype(item)
    except (TypeError, ValueError):
        dtype = None
    else:
        sizes = get_args(shape)
        if dtype.kind not in _NUMBERS or (len(sizes) > 1 and ... not in sizes):
            dtype = None
    if dtype is None:
        raise TypeError(
            f"no array can be made of a body for {type!r}: name the numbers that are its items, in one dimension, "
            "as in numpy.typing.NDArray[numpy.float32]"
        )
    size = dtype.itemsize

    def decode(data: bytes) -> Any:
        if len(data) % size:
            raise ValueError(f"{len(data)} bytes are no whole number of {dtype} items, of {size} bytes each")
        return numpy.frombuffer(data, dtype)

    return decode
