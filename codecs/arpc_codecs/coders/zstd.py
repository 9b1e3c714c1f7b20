"""Compression with Zstandard. Needs the extra ``zstd``, loaded when a coder is made."""

from __future__ import annotations

from .compressor import Compressor, check_number

__all__ = ["Zstd"]

STEP = 1 << 16
"""Bytes that are made at a time: what is held grows with what comes out, never with what a stream claims."""

WINDOW = 1 << 23
"""The largest window that is accepted, and that levels up to 19 use: a decoder has to allocate it."""


class Zstd(Compressor):
    """Compresses frames of over ``threshold`` bytes, header included, where that makes them shorter.

    ``level``: 1 is fast, 19 is small. It uses bit 6; the two sides may have different thresholds and levels. Faster and
    smaller than gzip; Go's arpc has no such coder. Making it raises ImportError if zstandard isn't installed.
    """

    name = "zstd"

    def __init__(self, threshold: int = 512, level: int = 3) -> None:
        super().__init__(threshold, bit=6)
        check_number("level", level, 1, 19)
        try:
            import zstandard
        except ImportError as error:
            text = "the zstd coder needs the extra zstd of arpc, or else: pip install zstandard"
            raise ImportError(text, name=error.name) from error
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._size_of = zstandard.frame_content_size
        self._packer = zstandard.ZstdCompressor(level=level)

    def compress(self, data: bytes) -> bytes:
        return self._packer.compress(data)

    def expand(self, data: bytes, most: int) -> bytes | None:
        """One zstd frame that says how large its content is, and nothing behind it."""
        claimed = self._size_of(data)
        if claimed < 0:
            raise ValueError("the zstd stream does not say how large its content is")
        if claimed > most:
            return None
        parts: list[bytes] = []
        left = claimed
        with self._unpacker.stream_reader(data, read_across_frames=True) as reader:
            while part := reader.read(STEP):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    break
        if left:
            raise ValueError(f"the zstd stream has not the {claimed} bytes that it claims")
        return b"".join(parts)
