"""The short way of a stream's items: from the chunk that they came in to their stream, with no frames made in between.

What a busy stream brings is items, one after the other. What is anything else, or not whole, is left to the splitter
and to the session.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from .flow import ITEM, Flow, Flows
from .frame import MAX_METHOD, STREAM, STREAM_LOCAL

_unpack_from: Final[Callable[[bytes, int], tuple[int, int, int, int, int]]] = Struct("<IHBBQ").unpack_from
"""A header whose reserved bits and command are one number: a plain item has no such bits."""

_OURS: Final = STREAM << 8
_THEIRS: Final = (STREAM | STREAM_LOCAL) << 8


def take_items(data: bytes, at: int, limit: int, flows: Flows) -> int:
    """Hands out the items that ``data`` holds from ``at`` on, and returns where they end.

    It stops at what is not a whole item that its stream has credit and room for.
    """
    last = len(data) - 16
    most = flows.max_item
    flow: Flow | None = None
    id = side = allowance = 0
    items: list[bytes] = []
    while at <= last:
        length, command, _, method_size, seq = _unpack_from(data, at)
        end = at + 16 + length
        if end - 16 > last or length > limit or not 0 < method_size <= MAX_METHOD:
            break
        if seq != id or command != side or flow is None:
            if command == _THEIRS:
                found = flows.accepted.get(seq)
            elif command == _OURS:
                found = flows.opened.get(seq)
            else:
                break
            if found is None or not found.receiving or found.owner is None:
                break
            if flow is not None and items:
                flows.arrived(flow, items, allowance)
                items = []
            flow, id, side, allowance = found, seq, command, found.allowance
        size = length - method_size
        if size <= 0 or size > most or allowance <= 0:
            break
        allowance -= ITEM + size
        items.append(data[end - size : end])
        at = end
    if flow is not None and items:
        flows.arrived(flow, items, allowance)
    return at
