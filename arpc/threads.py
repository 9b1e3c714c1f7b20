"""The threads of handlers registered with ``threaded=True``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .context import serving
from .runner import Runner

PATIENT = 1024
"""Handlers that may lend their slot while they wait for a thread; further ones keep it."""


class Threads:
    """A pool whose handlers wait for a thread without holding a slot of ``max_inflight``.

    Otherwise all slots could belong to handlers that wait for threads, and all threads to handlers that wait for calls
    back, which wait for slots. (When the calls back need threads, too, and all are taken, their timeouts end it.)
    """

    __slots__ = ("_busy", "_limit", "_pool", "_waiters")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool: ThreadPoolExecutor | None = None
        self._busy = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs ``function(*args)`` in a thread. If this is cancelled it ends no sooner than the thread does."""
        await self._turn()
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="arpc")
        cancelled: asyncio.CancelledError | None = None
        try:
            running = loop.run_in_executor(self._pool, function, *args)
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError as error:
                    cancelled = error
        finally:
            self._next()
        if cancelled is not None:
            running.exception()  # nobody asks for it any more
            raise cancelled
        return running.result()

    async def _turn(self) -> None:
        if self._busy < self._limit:
            self._busy += 1
            return
        runner = serving.get()
        lender = None
        if isinstance(runner, Runner) and runner.inbox is not None and len(self._waiters) < PATIENT:
            lender = runner.lend(runner.inbox.connection)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
            if lender is not None:
                returning, lender = lender, None
                await returning.take_back()
        except BaseException:
            if waiter.cancelled():
                self._waiters.remove(waiter)
            else:
                self._next()
            if lender is not None:
                await lender.take_back()
            raise

    def _next(self) -> None:
        """A thread is free: it is the next one's that waits."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._busy -= 1

    def shut_down(self) -> None:
        """Takes no more; threads that run end by themselves."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
