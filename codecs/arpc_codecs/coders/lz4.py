"""Compression with LZ4 frames. Needs the extra ``lz4``, loaded when a coder is made."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from .compressor import Compressor, check_number

__all__ = ["Lz4"]


class Lz4(Compressor):
    """Compresses frames of over ``threshold`` bytes, header included, where that makes them shorter.

    ``level``: 0 is the fast one, 3 to 12 take longer and make less. It uses bit 5; the two sides may have different
    thresholds and levels. Costs the least time of all; Go's arpc has no such coder. Making it raises ImportError if lz4
    isn't installed.
    """

    name = "lz4"

    def __init__(self, threshold: int = 512, level: int = 0) -> None:
        super().__init__(threshold, bit=5)
        check_number("level", level, 0, 12)
        self.level = level
        try:
            self._lz4: Any = import_module("lz4.frame")
        except ImportError as error:
            text = "the lz4 coder needs the extra lz4 of arpc, or else: pip install lz4"
            raise ImportError(text, name=error.name) from error

    def compress(self, data: bytes) -> bytes:
        return cast(bytes, self._lz4.compress(data, compression_level=self.level, store_size=False))

    def expand(self, data: bytes, most: int) -> bytes | None:
        """One LZ4 frame, and nothing behind it."""
        unpacker = self._lz4.LZ4FrameDecompressor()
        plain = cast(bytes, unpacker.decompress(data, max_length=most + 1))
        if len(plain) > most:
            return None
        if not unpacker.eof:
            raise ValueError("the LZ4 stream is cut off")
        if unpacker.unused_data:
            raise ValueError("something stands behind the LZ4 stream")
        return plain
