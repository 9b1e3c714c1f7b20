"""Compression with gzip, as Go's arpc has it. The standard library is enough."""

from __future__ import annotations

import zlib

from arpc.errors import RemoteProtocolError

from .compressor import Compressor, check_number

__all__ = ["Gzip"]

FORMAT = 16 + zlib.MAX_WBITS
"""zlib's way to say: with the header and trailer of gzip."""

MEMBERS = 1000
"""Members of a stream that are read. Go writes one; each costs time, even where there is nothing in it."""

CHUNK = 16 * 1024
"""Bytes that are read at once: what is behind a member is copied when it ends."""


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
        """As Go reads it: one gzip member or several, up to ``MEMBERS``, and nothing behind them."""
        view = memoryview(data)
        parts: list[bytes] = []
        at = 0
        for _ in range(MEMBERS):
            unpacker = zlib.decompressobj(FORMAT)
            while not unpacker.eof:
                chunk = view[at : at + CHUNK]
                if not chunk:
                    raise ValueError("the gzip stream is cut off")
                part = unpacker.decompress(chunk, most + 1)  # 0 would be no bound at all
                parts.append(part)
                most -= len(part)
                if most < 0:
                    return None
                at += len(chunk)
            at -= len(unpacker.unused_data)
            if at == len(view):
                return b"".join(parts)
        raise RemoteProtocolError(f"a gzip stream of more than {MEMBERS} members: write one, as Go does")
