"""No codec at all: bodies are bytes, and what they mean is the program's affair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arpc.codecs import Codec

__all__ = ["RawCodec"]


class RawCodec(Codec):
    """Bytes in, bytes out. Anything that needs translation is an error, so nothing is translated by mistake."""

    name = "raw"

    def encode(self, value: Any) -> bytes:
        """A copy of any bytes-like object: bytes, bytearray, memoryview, array... Raises TypeError for all else."""
        try:
            view = memoryview(value)
        except TypeError:
            raise TypeError(
                f"the raw codec takes bytes-like objects, not {type(value).__name__}: encode it yourself, "
                'or use another codec (codec="json")'
            ) from None
        return view.tobytes()

    def decode(self, data: bytes) -> bytes:
        """The body."""
        return bytes(data)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """A function that makes bytes (also for Any), a bytearray or memoryview of the body.

        Raises TypeError for any other type.
        """
        if type is Any or type is bytes:
            return self.decode
        if type is bytearray or type is memoryview:
            make: Callable[[bytes], Any] = type
            return make
        raise TypeError(
            f"the raw codec decodes into bytes, bytearray or memoryview, not {type!r}: decode the bytes yourself, "
            'or use another codec (codec="json")'
        )
