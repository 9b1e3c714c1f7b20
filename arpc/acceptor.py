"""Streams that the other side opens: each has its handler, in a Task of its own."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from .context import StreamContext, serving
from .deadlines import bounded
from .errors import METHOD_NOT_FOUND, BadItem, ConnectionClosed, StreamEnded, StreamReset
from .flow import Flow
from .frame import STREAM
from .hooks import Message
from .metadata import Metadata
from .stream import Stream, error_text
from .streaming import StreamRoute

if TYPE_CHECKING:
    from .connection import Connection

NAME = "arpc stream"

_ENDS = (StreamReset, StreamEnded, ConnectionClosed, TimeoutError)
"""What a handler raises that let an end of its stream through: nothing to log."""

log = logging.getLogger("arpc")


class Acceptor:
    """The handlers of one connection's streams. It exists only while there is one.

    A handler may outlive its stream, to clean up: no more of those than ``max_streams``.
    """

    __slots__ = ("_grace", "connection", "tasks")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tasks: set[StreamTask] = set()
        self._grace: asyncio.TimerHandle | None = None

    def accept(self, flow: Flow, opening: Message) -> None:
        """Starts the handler of a stream, or resets it where there is none."""
        connection = self.connection
        endpoint = connection.endpoint
        flows = connection.session.make_flows()
        route = endpoint.routes.stream(flow.method)
        if route is None:
            known = flow.method in endpoint.routes
            name = flow.method.decode("utf-8", "replace")
            flows.reset(flow, f"{name} serves calls, not streams" if known else METHOD_NOT_FOUND)
            return
        if len(self.tasks) >= 2 * endpoint.options.max_streams:
            flows.reset(flow, f"too many streams: {len(self.tasks)} handlers still run (max_streams)")
            return
        if endpoint.streams >= endpoint.options.max_streams_total:
            flows.reset(flow, f"too many streams: {endpoint.streams} on all connections (max_streams_total)")
            return
        endpoint.streams += 1
        extra = opening[2]
        deadline = extra.deadline if isinstance(extra, Metadata) else None
        left = [] if deadline is None else [max(deadline - monotonic(), 0.0)]
        handler = route.handler
        if handler.timeout is not None:
            left.append(handler.timeout)
        idle = handler.idle_timeout or endpoint.options.stream_idle_timeout
        stream: Stream[Any, Any] = Stream(connection, route.decode, route.sends, route.codec)
        flow.owner = stream
        flow.method = route.method
        stream.begin(flow, limit=min(left, default=None), idle=idle)
        self.tasks.add(StreamTask(self, stream, route, opening, deadline))

    def ended(self, task: StreamTask) -> None:
        """A handler has ended."""
        self.tasks.discard(task)
        self.connection.endpoint.streams -= 1
        if not self.tasks:
            if self._grace is not None:
                self._grace.cancel()
            self.connection.streams_ended()

    def close(self) -> None:
        """The connection has ended: handlers that have all their items may go on with them for a while."""
        endpoint = self.connection.endpoint
        self._grace = endpoint.loop.call_later(endpoint.options.notify_grace, self.cancel)

    def cancel(self) -> None:
        """Cancels every handler."""
        for one in list(self.tasks):
            if one.task is not None:
                one.task.cancel()


class StreamTask:
    """The handler of one stream while it runs."""

    __slots__ = ("_acceptor", "_extra", "_grace", "_made", "_route", "stream", "task")

    def __init__(
        self,
        acceptor: Acceptor,
        stream: Stream[Any, Any],
        route: StreamRoute,
        opening: Message,
        deadline: float | None,
    ) -> None:
        endpoint = acceptor.connection.endpoint
        self._acceptor = acceptor
        self._route = route
        self._extra = opening[2]
        """Its metadata, if there are any. The rest of its first frame the stream knows."""
        self._made: StreamContext | None = None
        self._grace: asyncio.TimerHandle | None = None
        acceptor.connection.session.make_flows().hold(self._size)
        self.stream = stream
        stream.watcher = self
        if deadline is not None:
            bounded[self] = deadline
        variables = endpoint.variables.copy()
        variables.run(serving.set, self)
        # Not loop.create_task: a task factory may start the task at once, inside of whatever runs now.
        self.task: asyncio.Task[Any] | None = asyncio.Task(
            route.run(stream, self), loop=endpoint.loop, name=NAME, context=variables
        )
        self.task.add_done_callback(self._done, context=endpoint.variables)

    @property
    def _size(self) -> int:
        """Bytes of metadata that are held for it: they count as an item that waits."""
        return self._extra.size if isinstance(self._extra, Metadata) else 0

    def context(self) -> StreamContext:
        if self._made is None:
            opening: Message = (STREAM, 0, self._extra, self.stream.id, self._route.method, b"")
            self._made = StreamContext(self.stream.peer, opening, self.stream)
        return self._made

    def serves(self, connection: Connection) -> bool:
        return self.task is not None and self._acceptor.connection is connection

    def lend(self, connection: Any) -> None:
        """It holds no slot that it could lend: streams are bounded by ``max_streams``."""
        return

    async def take_back(self) -> None: ...

    def broken(self, *, clean: bool, told: bool) -> None:
        """The stream was reset. A handler that was just left, or finds out by itself, may go on for ``notify_grace``; a
        generator that reads nothing has nothing to go on with."""
        if self.task is None:
            return
        if self._route.handler.produces or not (clean or told):
            self.task.cancel()
        else:
            endpoint = self._acceptor.connection.endpoint
            grace = endpoint.options.notify_grace
            self._grace = endpoint.loop.call_later(grace, self.task.cancel, context=endpoint.variables)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        context, self._made = self._made, None
        if self._grace is not None:
            self._grace.cancel()
        bounded.pop(self, None)
        if self._size:
            self._acceptor.connection.session.make_flows().drop(self._size)
        stream = self.stream
        stream.watcher = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if context is not None:
            context.end(error)
        if error is None:
            stream.leave()
        elif isinstance(error, BadItem) and stream.is_of(error):
            stream.break_off(f"invalid item: {error}")
        else:
            text = error_text(error)
            if text == "internal error" and not (stream.closed and isinstance(error, _ENDS)):
                log.error("the handler of a stream of %s failed", self._route.handler.name, exc_info=error)
            stream.break_off(text)
        self._acceptor.ended(self)
