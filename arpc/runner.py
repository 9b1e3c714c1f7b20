"""Runs handlers without a Task for each message.

A runner is a real Task that takes messages from the inboxes of all connections of an endpoint and steps each handler's
coroutine itself. A handler that does not suspend costs no Task; the moment one suspends, this Task *is* its task, for
the rest of it, and a fresh runner takes over. So ``asyncio.timeout``, TaskGroup and cancellation work in handlers as
anywhere.

What keeps one message from being seen by the next (docs/design.md, tests/peer/test_runner.py):

- a runner owns its lane from its creation on, and starts with a fresh copy of the endpoint's pristine context;
- it retires as soon as a handler has left something behind: a context variable, a task that has inherited its context,
  a cancellation, a name, a reference to the task;
- however it ends, its lane is handed on; it ends when nothing is ready, since a parked Task costs 2 KB.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Generator
from contextvars import Context as Variables
from contextvars import ContextVar
from gc import get_referents
from sys import getrefcount
from time import monotonic
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import getweakrefcount

from .answering import end_answered, fail, respond_with_metadata
from .codes import Code
from .context import Context, serving
from .deadlines import bounded
from .errors import DEADLINE_OVER, EncodeError, RpcError
from .frame import NOTIFY, REQUEST
from .handler import ASYNC, ORDERED
from .hooks import Message
from .metadata import Metadata
from .stepping import resume

if TYPE_CHECKING:
    from .connection import Connection
    from .endpoint import Endpoint
    from .inbox import Inbox

SLICE: Final = 64
"""Messages after which a runner flushes and lets the loop do something else ..."""
SLICE_TIME: Final = 0.001
"""... or seconds, whichever comes first."""
BLOCKING: Final = 0.1
"""Seconds that a handler may keep the event loop without a warning."""
NAME: Final = "arpc handler"

log = logging.getLogger("arpc")


class Lane:
    """Inboxes with messages to serve, and the one runner that serves them: all of an endpoint's, or the ordered
    messages of one connection."""

    __slots__ = ("endpoint", "ordered", "ready", "runner")

    def __init__(self, endpoint: Endpoint, *, ordered: bool) -> None:
        self.endpoint = endpoint
        self.ordered = ordered
        """One message after another: a handler that is suspended keeps the lane."""
        self.ready: deque[Inbox] = deque()
        self.runner: Runner | None = None

    def offer(self, inbox: Inbox) -> None:
        """This inbox has messages."""
        if self.ordered:
            if not self.ready:
                self.ready.append(inbox)
        elif not inbox.listed:
            inbox.listed = True
            self.ready.append(inbox)
        if self.runner is None:
            self.runner = Runner(self)

    def release(self, runner: Runner) -> None:
        """The runner serves this lane no more: a fresh one takes over, if there is something to serve."""
        if self.runner is runner:
            self.runner = Runner(self) if self.ready and not self.endpoint.loop.is_closed() else None


class Runner(Coroutine[Any, None, None]):
    """The coroutine of a Task that serves one message after another, until one keeps it.

    It is a coroutine of its own kind so that it sees every way in which its Task can end: also the one of a Task that
    is cancelled before its first step, whose ordinary coroutine would never run a line.
    """

    __slots__ = (
        "_steps",
        "expired",
        "frame",
        "held",
        "inbox",
        "lane",
        "lent",
        "made",
        "returning",
        "suspended",
        "task",
        "timer",
        "variables",
        "withdrawn",
    )

    def __init__(self, lane: Lane) -> None:
        endpoint = lane.endpoint
        self.lane = lane
        self.inbox: Inbox | None = None
        """Whose message is being served."""
        self.frame: Message | None = None
        """That message."""
        self.suspended = False
        """This task belongs to that message."""
        self.held = False
        """The message counts against ``max_inflight``."""
        self.lent = 0
        """Calls to the peer being served that the handler waits for: meanwhile its slot is free for others."""
        self.returning: asyncio.Future[None] | None = None
        """Such calls have ended, and the handler waits for a slot."""
        self.made: Context | None = None
        """The context of that message, if it was asked for."""
        self.withdrawn = False
        """Its caller waits no more: it is not answered."""
        self.expired = False
        """It was cancelled at its deadline."""
        self.timer: asyncio.TimerHandle | None = None
        """Cancels the handler at its deadline."""
        variables = endpoint.variables.copy()
        variables.run(serving.set, self)
        self.variables: Variables | None = variables
        self._steps = cast("Generator[Any, None, None]", _serve(self))
        # Not loop.create_task: a task factory may start the task at once, inside of whatever runs now.
        self.task: asyncio.Task[None] | None = asyncio.Task(self, loop=endpoint.loop, name=NAME, context=variables)

    def context(self) -> Context:
        """The context of the message being served, made when first asked for."""
        if self.made is None:
            assert self.inbox is not None
            assert self.frame is not None
            self.made = Context(self.inbox.connection.peer, self.frame)
        return self.made

    def serves(self, connection: Connection) -> bool:
        """The message came on this connection."""
        return self.inbox is not None and self.inbox.connection is connection

    def withdraw(self) -> None:
        """The caller has given up: the handler is cancelled, and nothing is answered."""
        self.withdrawn = True
        if self.task is not None:
            self.task.cancel()

    def bind(self, deadline: float) -> None:
        """The handler runs with a deadline, which what it calls inherits."""
        bounded[self] = deadline

    def expect_end(self) -> None:
        """The handler is suspended: it is cancelled when its deadline comes."""
        deadline = bounded.get(self)
        if deadline is not None:
            endpoint = self.lane.endpoint
            left = deadline - monotonic()
            self.timer = endpoint.loop.call_later(left, self._expire, context=endpoint.variables)

    def _expire(self) -> None:
        self.expired = True
        if self.task is not None:
            self.task.cancel()

    def unbind(self) -> None:
        """The handler has ended, and with it its deadline."""
        bounded.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def lend(self, connection: Connection) -> Runner | None:
        """A handler calls this connection. If that is the one that it serves, its slot is free for others until
        :meth:`take_back`; else None."""
        inbox = self.inbox
        if inbox is None or inbox.connection is not connection:
            return None
        inbox.lend(self)
        return self

    async def take_back(self) -> None:
        """The call has ended: the handler goes on when it has a slot again."""
        if self.inbox is not None:
            await self.inbox.take_back(self)

    # --- the protocol of a coroutine, as its Task uses it

    def send(self, value: Any) -> Any:
        try:
            return self._steps.send(value)
        except BaseException:
            self._end()
            raise

    def throw(self, *error: Any) -> Any:
        try:
            return self._steps.throw(*error)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        self._steps.close()
        self._end()

    def __await__(self) -> Generator[Any, None, None]:
        raise TypeError("a runner is driven by its own task")

    def _end(self) -> None:
        inbox, self.inbox = self.inbox, None
        if bounded:
            self.unbind()
        self.task = self.made = self.variables = None
        if inbox is not None:
            inbox.left(self)
        self.frame = None  # a task that outlives the handler keeps the runner, and must not keep the body
        self.lane.release(self)


@coroutine
def _serve(runner: Runner) -> Generator[Any, None, None]:
    """Serves the lane until nothing is ready, or a handler keeps this task."""
    lane = runner.lane
    ordered, ready = lane.ordered, lane.ready
    endpoint = lane.endpoint
    routes = endpoint.routes
    task, variables = runner.task, runner.variables
    assert task is not None
    assert variables is not None
    pristine = endpoint.pristine
    size = len(pristine) + 1
    table = _table_of(variables)
    while ready:
        # These are the same again after each message, unless its handler keeps something of this task.
        references = getrefcount(task)
        weak = getweakrefcount(task)
        copies = getrefcount(table)
        left = SLICE
        started = now = monotonic()
        while ready and left > 0 and now - started < SLICE_TIME:
            inbox = ready.popleft()
            queue = inbox.open_lane(ordered)
            if queue is None:
                continue
            runner.inbox = inbox
            connection = inbox.connection
            session = connection.session
            withdrawn = inbox.withdrawn
            while queue and left > 0:
                left -= 1
                runner.frame = frame = queue.popleft()
                command, _, extra, seq, method, data = frame
                if withdrawn and seq in withdrawn and command == REQUEST:
                    withdrawn.discard(seq)
                    continue
                start, finish, mode, handler = routes[method]
                if mode >= ORDERED:
                    if not ordered:
                        inbox.reorder(frame)
                        continue
                    mode -= ORDERED
                try:
                    if extra:
                        _bind(runner, extra)
                    value = start(runner, data)
                    if mode == ASYNC or value.__class__ is CoroutineType:
                        try:
                            waits = value.send(None)
                        except StopIteration as stop:
                            value = stop.value
                        else:
                            inbox.suspend(runner, value)
                            value = yield from cast("Generator[Any, Any, Any]", resume(value, waits))
                            if runner.withdrawn:
                                command = NOTIFY
                    if command == REQUEST:
                        try:
                            reply = finish(value)
                        except EncodeError as error:
                            log.error("the answer of handler %s could not be encoded: %s", handler.name, error)
                            raise RpcError("the handler's answer could not be encoded", Code.INTERNAL) from None
                        made = runner.made
                        if made is None:
                            session.respond(frame, reply)
                        else:
                            refused = session.refused
                            if made.sent_metadata:
                                respond_with_metadata(made, inbox, frame, reply)
                            else:
                                session.respond(frame, reply)
                            if made.observers is not None:
                                end_answered(made, len(reply), refused=session.refused != refused)
                        if connection.paused:
                            left = 0
                    elif runner.made is not None:
                        runner.made.end(asyncio.CancelledError() if runner.withdrawn else None)
                except BaseException as error:
                    fail(runner, inbox, frame, handler, error)
                runner.made = None
                if extra:
                    runner.unbind()
                if (
                    getrefcount(table) != copies
                    or len(variables) != size
                    or task.cancelling()
                    or getrefcount(task) != references
                    or getweakrefcount(task) != weak
                    or task.get_name() is not NAME
                    or runner.suspended
                    or (pristine and _changed(variables, pristine))
                ):
                    return
                before, now = now, monotonic()
                if now - before > BLOCKING:
                    handler.warn_blocking(now - before)
                if now - started > SLICE_TIME:
                    break
            inbox.close_lane(ordered)
            runner.inbox = None
        if ready:
            yield


def _table_of(variables: Variables) -> object:
    """What a context and its copies share, so that whoever has inherited this context holds it, too.

    It is called hamt since Python 3.7. If it should be called otherwise one day, what is left behind by a handler that
    starts a task and does not suspend is no longer seen; nothing else depends on it.
    """
    for part in get_referents(variables):
        if type(part).__name__ == "hamt":
            return part
    return variables


def _changed(variables: Variables, pristine: list[tuple[ContextVar[Any], Any]]) -> bool:
    return any(variables.get(key) is not value for key, value in pristine)


def _bind(runner: Runner, extra: object) -> None:
    """Gives the handler the deadline of its message; RpcError if that is over."""
    if isinstance(extra, Metadata) and extra.deadline is not None:
        if extra.deadline <= monotonic():
            raise RpcError(DEADLINE_OVER, Code.DEADLINE_EXCEEDED)
        runner.bind(extra.deadline)
