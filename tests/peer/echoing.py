"""What tests of calls and of their answers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import arpc

Log = Callable[[], str]


@dataclass
class Person:
    name: str
    age: int = 0


def echoing() -> arpc.Router:
    """Answers any body with itself."""
    router = arpc.Router()

    @router.handle("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    return router
