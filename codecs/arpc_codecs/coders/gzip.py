"""Compression with gzip, as Go's arpc has it. The standard library is enough."""

from __future__ import annotations

import zlib

from .compressor import Compressor, check_number

__all__ = ["Gzip"]

FORMAT = 16 + zlib.MAX_WBITS
"""zlib's way to say: with the header and trailer of gzip."""


class Gzip(Compressor):
    """Compresses frames of over ``threshold`` bytes, header included, where that makes them shorter.

    ``level``: 1 is fast, 9 is small. It uses bit 7 and is Go's ``gzip.New(threshold)``; the two sides may have
    different thresholds and levels.
    """

    name = "gzip"
    mark = b""  # a gzip stream begins with 0x1f

    def __init__(self, threshold: int = 1024, level: int = 6) -> None:
        super().__init__(threshold, bit=7)
        check_number("level", level, 1, 9)
        self.level = level

    def compress(self, data: bytes) -> bytes:
        packer = zlib.compressobj(self.level, zlib.DEFLATED, FORMAT)
        return packer.compress(data) + packer.flush()

    def expand(self, data: bytes, most: int) -> bytes | None:
        """As Go reads it: one gzip member or several, and nothing behind them."""
        parts: list[bytes] = []
        while True:
            unpacker = zlib.decompressobj(FORMAT)
            part = unpacker.decompress(data, most + 1)  # 0 would be no bound at all
            parts.append(part)
            most -= len(part)
            if most < 0:
                return None
            if not unpacker.eof:
                raise ValueError("the gzip stream is cut off")
            data = unpacker.unused_data
            if not data:
                return b"".join(parts)
