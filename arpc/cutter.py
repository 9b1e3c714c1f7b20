"""Frames as they come from the other side's coders: known by their length alone (PROTOCOL, coders)."""

from __future__ import annotations

from .frame import HEADER_SIZE, Splitter, too_large

__all__ = ["Cutter"]


class Cutter(Splitter):
    """Cuts a connection's bytes into whole frames without reading them. Its bounds are those of a splitter."""

    __slots__ = ()

    def cut(self, data: bytes) -> list[bytes]:
        """The frames that end within ``data``; ``error`` is set by a header that claims too much."""
        frames: list[bytes] = []
        if self.error is not None:
            return frames
        if self.unfinished:
            data = self._complete(data, frames)
        at = 0
        size = len(data)
        while at + HEADER_SIZE <= size:
            length = int.from_bytes(data[at : at + 4], "little")
            if length > self.limit:
                self.error = too_large(length, self.limit)
                return frames
            end = at + HEADER_SIZE + length
            if end > size:
                self._need = end - at
                self._keep(data[at:])
                return frames
            frames.append(data[at:end])
            at = end
        if at < size:
            self._need = HEADER_SIZE
            self._keep(data[at:])
        return frames

    def _complete(self, data: bytes, frames: list[bytes]) -> bytes:
        """Completes the header, or the frame, that has begun; returns what is to be read on."""
        missing = self._need - self.unfinished
        if len(data) < missing:
            self._keep(data)
            return b""
        if self._need == HEADER_SIZE:
            data = b"".join((*self._parts, data))
        else:
            frames.append(b"".join((*self._parts, data[:missing])))
            data = data[missing:]
        self.clear()
        return data
