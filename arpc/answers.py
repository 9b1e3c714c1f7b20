"""The short way of an answer: from the chunk that it came in to who waits for it, with no frame made in between.

Nearly all that a client reads are answers, one after the other. What is anything else, or not whole, is left to the
splitter and to the session.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from .frame import FLAG_ERROR, RESPONSE

_unpack_from: Final[Callable[[bytes, int], tuple[int, int, int, int, int]]] = Struct("<IHBBQ").unpack_from
"""A header whose reserved bits and command are one number: a plain answer has no such bits."""

_PLAIN: Final = RESPONSE << 8


def take_answers(
    data: bytes, at: int, limit: int, pending: dict[int, tuple[bytes, Any]], resolve: Callable[[Any, bytes], object]
) -> tuple[int, int]:
    """Resolves the answers that ``data`` holds from ``at`` on; returns where they end, and for how many nobody waited.

    It stops at what is not the whole, expected and good answer, without metadata, of one of the requests that are
    ``pending``.
    """
    dropped = 0
    last = len(data) - 16
    while at <= last:
        length, command, flag, method_size, seq = _unpack_from(data, at)
        start = at + 16
        end = start + length
        split = start + method_size
        if command != _PLAIN or flag & FLAG_ERROR or end - 16 > last or length > limit or method_size > length:
            break
        entry = pending.get(seq)
        if entry is None or entry[0] != data[start:split]:
            break
        del pending[seq]
        try:
            resolve(entry[1], data[split:end])
        except Exception:  # whatever its owner's tokens raise: nobody waits any more
            dropped += 1
        at = end
    return at, dropped
