"""Coroutines that are stepped by hand before anything is made for those that wait."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, cast

__all__ = ["resume"]


@coroutine
def resume(begun: Coroutine[Any, Any, Any], waits: Any) -> Generator[Any, Any, Any]:
    """Goes on with a coroutine that was stepped once, by ``begun.send(None)``, and waits for what that gave."""
    try:
        while True:
            try:
                yield waits
            except BaseException as error:
                waits = begun.throw(error)
            else:
                return cast(Any, (yield from begun))
    except StopIteration as stop:
        return stop.value
