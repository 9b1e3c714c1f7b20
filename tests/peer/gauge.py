"""What tests of ``max_inflight`` share: how many handlers run, and a peer that is called back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import arpc
from tests.peer.conftest import Link


class Gauge:
    """How many handlers run at once: those that wait for a call of their own to their peer do not count."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1


def backing() -> arpc.Router:
    router = arpc.Router()

    @router.handle("/back")
    async def back() -> None:
        await asyncio.sleep(0)

    return router


def endpoint_of(link: Link) -> Any:
    return link.peer._endpoint
