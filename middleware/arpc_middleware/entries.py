"""What a cache keeps: answers and errors by key, each until its time is up, bounded in number and bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, Final, cast

from arpc.errors import ArpcError, MethodNotFound, RemoteError, RpcError

__all__ = ["Answer", "CacheStats", "Entries", "Failure", "Key", "Outcome", "failure_of"]

Key = tuple[str, bytes, Hashable, Hashable]
"""Method, body, and whose it is."""

OVERHEAD: Final = 256
"""Bytes that an entry costs beside what it holds."""


@dataclass(slots=True)
class CacheStats:
    """What a cache has done so far, and holds now."""

    hits: int = 0
    """Answers that were there."""
    misses: int = 0
    """Calls that were made for want of one."""
    shared: int = 0
    """Those who waited for the answer of another's call."""
    evicted: int = 0
    """Entries that went for want of room."""
    entries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and what came beside it."""

    data: bytes
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that was answered."""

    kind: type[RemoteError] | type[RpcError]
    message: str
    code: str | None
    details: Any

    def again(self) -> ArpcError:
        """An equal error, not yet raised."""
        return self.kind(self.message, self.code, deepcopy(self.details))


Outcome = Answer | Failure


def failure_of(error: BaseException) -> Failure | None:
    """What can be kept of an error: of one that was answered, not of one that only this caller has met."""
    for kind in (MethodNotFound, RemoteError, RpcError):
        if isinstance(error, kind):
            return Failure(kind, error.message, error.code, deepcopy(error.details))
    return None


class Entries:
    """The one that nobody asked for longest goes first; what is over goes when it is asked for."""

    def __init__(self, most: int, most_bytes: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[Outcome, float, int]] = OrderedDict()
        """Each with when its time is up, and what it costs."""
        self.stats: Final = CacheStats()

    def get(self, key: Key) -> Outcome | None:
        """TypeError for a key that has no hash."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[1] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Key, outcome: Outcome, seconds: float) -> None:
        """For a key of which nothing is kept. What is larger than all of the room is not kept."""
        cost = OVERHEAD + len(key[1]) + _size(outcome)
        if cost > self._most_bytes:
            return
        self._kept[key] = outcome, self._clock() + seconds, cost
        self.stats.entries += 1
        self.stats.bytes += cost
        while self.stats.entries > self._most or self.stats.bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))
            self.stats.evicted += 1

    def clear(self, method: str | None) -> None:
        """Forgets what is kept for a method, or all."""
        for key in [key for key in self._kept if method is None or key[0] == method]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.stats.bytes -= self._kept.pop(key)[2]
        self.stats.entries -= 1


def _size(outcome: Outcome) -> int:
    if isinstance(outcome, Answer):
        return len(outcome.data) + (_weight(dict(outcome.metadata)) if outcome.metadata else 0)
    return len(outcome.message) + (0 if outcome.details is None else _weight(outcome.details))


def _weight(value: Any) -> int:
    """Bytes that a value and all in it take, about; what an object of a class holds is not seen."""
    total, left, seen = 0, [value], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        total += getsizeof(one)
        if isinstance(one, Mapping):
            table = cast("Mapping[object, Any]", one)
            left += (*table, *table.values())
        elif isinstance(one, list | tuple | set | frozenset):
            left += cast("list[Any]", one)
    return total
