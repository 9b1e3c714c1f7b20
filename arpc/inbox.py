"""Messages of one connection that wait for a handler or have one, and every bound on them.

It exists only while there is such a message: an idle connection has none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .frame import NOTIFY, REQUEST
from .hooks import Message
from .metadata import Metadata
from .runner import Lane, Runner

if TYPE_CHECKING:
    from .connection import Connection

INBOX = 1
"""The bit of a connection's ``holds`` that says: too much waits here."""

_OVERHEAD = 256
"""Bytes that a waiting message costs beside its data."""


def _cost(frame: Message) -> int:
    """Bytes that a waiting message holds."""
    extra = frame[2]
    return len(frame[5]) + _OVERHEAD + (extra.size if isinstance(extra, Metadata) else 0)


class Inbox:
    """Queues, the runners that serve them, and the handlers that are suspended."""

    __slots__ = (
        "_bytes",
        "_grace",
        "_lane",
        "_refusing",
        "_resume_at",
        "_returning",
        "connection",
        "inflight",
        "listed",
        "ordered",
        "queue",
        "suspended",
        "withdrawn",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.queue: deque[Message] = deque()
        self.ordered: deque[Message] | None = None
        """The one lane of all ordered handlers."""
        self.inflight = 0
        """Suspended handlers that hold a slot of ``max_inflight``."""
        self.suspended: set[Runner] = set()
        self.withdrawn: set[int] | None = None
        """Requests whose callers have given up, perhaps while they waited here: dropped when their turn comes."""
        self.listed = False
        """Stands in the endpoint's lane."""
        self._lane: Lane | None = None
        self._returning: deque[Runner] | None = None
        """Handlers that return from a call to this peer and wait for a slot."""
        self._grace: asyncio.TimerHandle | None = None
        self._bytes = 0
        self._resume_at = 0
        self._refusing = False

    # --- messages come in

    def add(self, frames: list[Message]) -> None:
        self.queue.extend(frames)
        self._bytes += _OVERHEAD * len(frames)
        if not self.listed:
            self.start()

    def withdraw(self, seq: int) -> None:
        """The caller of this request has given up. Where it waits is not looked for now: there may be many."""
        if self.waiting:
            if self.withdrawn is None:
                self.withdrawn = set()
            self.withdrawn.add(seq)
            if len(self.withdrawn) > 2 * self.waiting:  # most of them never waited here
                self.withdrawn &= {frame[3] for queue in (self.queue, self.ordered or ()) for frame in queue}

    @property
    def waiting(self) -> int:
        """Messages that wait for a handler."""
        return len(self.queue) + (len(self.ordered) if self.ordered is not None else 0)

    @property
    def waiting_bytes(self) -> int:
        """What they hold, at most: what arrived since the count was last trued up."""
        return self._bytes

    def received(self, size: int) -> None:
        """Counts the bytes of a chunk, once for all its messages, and looks after the bounds."""
        self._bytes += size
        options = self.connection.endpoint.options
        count, limit = options.max_queued, options.max_queued_bytes
        if self._bytes > limit:
            self.true_up()
        if self._bytes > limit:
            self._give_way(count, limit * 7 // 8)  # so that the next count is some way off
        elif self.waiting > count:
            self._give_way(count, limit)

    def _give_way(self, count: int, size: int) -> None:
        if not self.pause_reading():
            self._refuse(count, size)

    def pause_reading(self) -> bool:
        """Reads no more until half of what waits is served; whether that is possible."""
        if not self.connection.holds & INBOX:
            if not self.waiting or not self.connection.pause_reading(INBOX):
                return False
            self._resume_at = self.waiting // 2
        return True

    def true_up(self) -> None:
        """Counts exactly what the waiting messages hold."""
        self._bytes = sum(_cost(frame) for queue in (self.queue, self.ordered or ()) for frame in queue)

    def _refuse(self, count: int, size: int) -> None:
        """Answers the newest messages with ``overloaded``; notifies among them are lost, counted and told."""
        connection = self.connection
        begun = not self._refusing
        self._refusing = True
        dropped = 0
        for queue in (self.queue, self.ordered or deque()):
            while queue and (self.waiting > count or self._bytes > size):
                frame = queue.pop()
                self._bytes -= _cost(frame)
                if frame[0] == REQUEST:
                    connection.stats.overloaded += 1
                    connection.session.refuse(frame)
                else:
                    connection.stats.notifies_dropped += 1
                    dropped += 1
        if begun:
            connection.emit("overloaded", f"{self.waiting} messages wait for a handler")
        if begun and dropped:
            connection.emit("notify_dropped", f"{dropped} notifies were dropped")

    # --- runners

    def may_start(self) -> bool:
        """Whether one more handler may run now: not past ``max_inflight``, and not while the socket is full."""
        return not self._returning and self._may_return()

    def start(self) -> None:
        """Has waiting messages served, as far as they may be."""
        if (self.queue or self.ordered) and self.may_start():
            if self.queue:
                self.connection.endpoint.lane.offer(self)
            if self.ordered and self._lane is not None:
                self._lane.offer(self)

    def open_lane(self, ordered: bool) -> deque[Message] | None:
        """A runner takes messages from here; None if it may not. Answers are collected until :meth:`close_lane`."""
        if not ordered:
            self.listed = False
        if not self.may_start():
            return None
        self.connection.corked = True
        return self.ordered if ordered else self.queue

    def close_lane(self, ordered: bool) -> None:
        """The runner goes on to another inbox: answers go out, and what is left waits for the next turn."""
        self.connection.push()
        if self.queue or self.ordered:
            self.start()
        self._emptied()

    def reorder(self, frame: Message) -> None:
        """Moves a message into the ordered lane."""
        if self._lane is None or self.ordered is None:
            self.ordered = deque()
            self._lane = Lane(self.connection.endpoint, ordered=True)
        self.ordered.append(frame)
        self._lane.offer(self)

    def suspend(self, runner: Runner, handler: Coroutine[Any, Any, Any]) -> None:
        """The runner's Task is now its handler's: it takes a slot, and a fresh runner takes the lane."""
        assert runner.frame is not None
        if runner.frame[0] == REQUEST:
            try:
                self.connection.session.begin(runner.frame[3], runner)
            except BaseException:
                handler.close()
                raise
        runner.suspended = True
        self.suspended.add(runner)
        runner.expect_end()
        if not runner.lent:
            self._take_slot(runner)
        self.connection.uncork()
        if not runner.lane.ordered:
            self.start()
            runner.lane.release(runner)
        self._emptied()

    def left(self, runner: Runner) -> None:
        """The runner's Task has ended while it served a message from here."""
        frame = runner.frame
        resumed = runner.suspended
        if resumed:
            runner.suspended = False
            self.suspended.discard(runner)
            if frame is not None and frame[0] == REQUEST:
                self.connection.session.finish(frame[3])
        if self.connection.endpoint.loop.is_closed():
            return
        if runner.held:
            self._free_slot(runner)
        if not resumed:  # else its answer goes out with those of the others that end in this turn
            self.connection.push()
        self.start()
        self._emptied()

    def _emptied(self) -> None:
        """Nothing waits any more, perhaps: then nothing of this inbox is kept."""
        if self.connection.holds & INBOX and self.waiting <= self._resume_at:
            self.connection.release_reading(INBOX)
        if self.queue or self.ordered:
            return
        connection = self.connection
        self._bytes = 0
        self._refusing = False
        self.withdrawn = None
        if connection.charged:
            connection.account()
        if not self.suspended and connection.inbox is self:
            connection.inbox = None
            if connection.acceptor is None:
                connection.endpoint.lingering.discard(connection)
            if self._grace is not None:
                self._grace.cancel()

    # --- slots

    def _room(self) -> bool:
        """Whether there is a slot, here and for all connections together; if only for all, this inbox is told later."""
        endpoint = self.connection.endpoint
        if self.inflight >= endpoint.options.max_inflight:
            return False
        if endpoint.inflight < endpoint.options.max_inflight_total:
            return True
        endpoint.starved[self] = None
        return False

    def _may_return(self) -> bool:
        return not self.connection.paused and self._room()

    def _take_slot(self, runner: Runner) -> None:
        runner.held = True
        self.inflight += 1
        self.connection.endpoint.inflight += 1

    def _free_slot(self, runner: Runner) -> None:
        runner.held = False
        self.inflight -= 1
        self.connection.endpoint.inflight -= 1
        self.admit()
        self.connection.endpoint.feed_starved()

    def admit(self) -> None:
        """Gives slots to handlers that return from calls, then to messages that wait."""
        while self._returning and (self._may_return() or not self.connection.open):
            runner = self._returning.popleft()
            waiter, runner.returning = runner.returning, None
            if runner.inbox is self and not runner.lent:
                self._take_slot(runner)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self.start()

    def lend(self, runner: Runner) -> None:
        """The handler awaits a call to the peer it serves: others may run meanwhile, or both sides wait for ever."""
        runner.lent += 1
        if runner.held:
            self._free_slot(runner)

    async def take_back(self, runner: Runner) -> None:
        """The call has ended; the handler goes on as soon as there is a slot, before any new one starts."""
        runner.lent -= 1
        if runner.lent or runner.held or not runner.suspended:
            return
        waiter = runner.returning
        if waiter is None:
            if not self._returning and self._may_return():
                self._take_slot(runner)
                return
            if self._returning is None:
                self._returning = deque()
            waiter = runner.returning = self.connection.endpoint.loop.create_future()
            self._returning.append(runner)
            self.admit()
        cancelled: asyncio.CancelledError | None = None
        while not waiter.done():
            try:
                await asyncio.shield(waiter)  # other tasks of the same handler may wait for it, too
            except asyncio.CancelledError as error:
                cancelled = error  # it cannot run without a slot, not even to clean up
        if cancelled is not None:
            raise cancelled

    # --- the end

    def close(self) -> None:
        """The connection has ended: handlers of calls are cancelled; notifies that came are served, for a while."""
        for queue in (self.queue, self.ordered):
            if queue:
                notifies = [frame for frame in queue if frame[0] == NOTIFY]
                queue.clear()
                queue.extend(notifies)
        for runner in list(self.suspended):
            if runner.frame is not None and runner.frame[0] == REQUEST and runner.task is not None:
                runner.task.cancel()
        self.admit()
        if self.queue or self.ordered or self.suspended:
            endpoint = self.connection.endpoint
            self._grace = endpoint.loop.call_later(endpoint.options.notify_grace, self.cancel)
            self.true_up()
        self._emptied()

    def cancel(self) -> None:
        """Cancels every handler and drops what waits."""
        self.queue.clear()
        if self.ordered is not None:
            self.ordered.clear()
        for runner in list(self.suspended):
            if runner.task is not None:
                runner.task.cancel()
        self.connection.endpoint.starved.pop(self, None)
        self._emptied()
