"""What a handler, and the middleware around it, can know about the message that is served."""

# pyright: reportPrivateUsage=false
# A slot belongs to a connection, which is nobody's business but its peer's, and that of the contexts of its messages.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from .codes import Code
from .errors import BadItem, ConnectionClosed, RpcError, StreamEnded, StreamReset
from .frame import NOTIFY, REQUEST
from .hooks import Message
from .metadata import NOTHING, Metadata

if TYPE_CHECKING:
    from .peer import Peer
    from .stream import Stream

__all__ = ["Context", "FromThread", "Observer", "State", "StreamContext", "current"]

log = logging.getLogger("arpc")

T = TypeVar("T")

Observer = Callable[..., object]
"""Called as ``observer(ctx, error, size, *args)``; see :meth:`Context.on_end`."""


Observers = tuple[Observer, tuple[Any, ...], "Observers | None"]
"""A chain of those that wait for the end of a message: cheaper than a list, of which nearly all would have one item."""


class State(dict[str, Any]):
    """What an application wants to remember, by item or by attribute: ``state["user"]`` is ``state.user``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"nothing is remembered as {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"nothing is remembered as {name!r}") from None


class Context:
    """One message, seen from its handler: a parameter annotated with this class receives it."""

    __slots__ = ("_frame", "_state", "body", "observers", "peer", "sent_metadata")

    outgoing = False
    """Whether this side sends the message: see :class:`~arpc.Outgoing`."""

    def __init__(self, peer: Peer, frame: Message) -> None:
        self._frame = frame
        self._state: State | None = None
        self.sent_metadata: dict[str, Any] | None = None
        """What was put into :attr:`answer_metadata`."""
        self.observers: Observers | None = None
        """Who has asked with :meth:`on_end`, the last one first."""
        self.body = frame[5]
        """The message's data, as it came."""
        self.peer = peer
        """The other side of the connection; call and notify it as you like."""

    @property
    def method(self) -> str:
        """The name that was called."""
        return self._frame[4].decode("utf-8", "replace")

    @property
    def kind(self) -> str:
        """``"call"``; ``"notify"``, whose result nobody waits for; or ``"stream"``."""
        command = self._frame[0]
        if command == REQUEST:
            return "call"
        return "notify" if command == NOTIFY else "stream"

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the caller said in ``metadata=``; empty if nothing, or if the two sides do not use META."""
        extra = self._frame[2]
        return extra.values if isinstance(extra, Metadata) else NOTHING

    @property
    def answer_metadata(self) -> dict[str, Any]:
        """Metadata of the answer, for a caller that asks with ``answer_metadata=``: put in what you like.

        Calls alone have answers; and they stay here where the two sides do not use META. Text keys, at most 65,529
        bytes as MessagePack.
        """
        if self.sent_metadata is None:
            self.sent_metadata = {}
        return self.sent_metadata

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, by :func:`time.monotonic` and the loop's clock; None if it did not say.

        The handler is cancelled then. What it calls without a ``timeout=`` of its own has the same deadline.
        """
        extra = self._frame[2]
        return extra.deadline if isinstance(extra, Metadata) else None

    def remaining(self) -> float | None:
        """Seconds until the :attr:`deadline`, not below 0; None if there is none."""
        deadline = self.deadline
        return None if deadline is None else max(deadline - monotonic(), 0.0)

    @property
    def stream(self) -> Stream[Any, Any] | None:
        """The stream that is served, if it is one."""
        return None

    @property
    def state(self) -> State:
        """Room for this message; ``ctx.peer.state`` is room for the connection."""
        if self._state is None:
            self._state = State()
        return self._state

    def on_end(self, observer: Observer, *args: Any) -> None:
        """Has ``observer(ctx, error, size, *args)`` called once, when it is known how the message ended.

        ``error`` is what is answered (or raised, for what goes out) in place of a result, or None; ``size`` the bytes
        of the answer's body, 0 where there is none. So it sees what no middleware does: an answer that could not be
        encoded, a handler that its deadline ended. It is called, not awaited; what it raises is logged. The last one
        given is called first, as a chain is left from the inside out.
        """
        self.observers = observer, args, self.observers

    def end(self, error: BaseException | None, size: int = 0, *, since: Observers | None = None) -> None:
        """The message has ended so: tells those who asked with :meth:`on_end`.

        ``since``: only those who asked after these :attr:`observers`: one attempt to send it has ended.
        """
        left, self.observers = self.observers, since
        while left is not since and left is not None:
            observer, args, left = left
            try:
                observer(self, error, size, *args)
            except Exception:  # an observer's own: the message has been served
                log.exception("an observer of %s failed", self.method)

    def code_of(self, error: BaseException) -> str:
        """The code (see :class:`~arpc.Code`) that a caller gets for an exception that ends this message."""
        if isinstance(error, RpcError):
            return error.code or Code.UNKNOWN
        return Code.CANCELLED if isinstance(error, asyncio.CancelledError) else Code.INTERNAL

    async def lend_while(self, waiting: Awaitable[T]) -> T:
        """Awaits what another handler will bring about. Meanwhile the slot of the handler in which this runs is free
        for others (``max_inflight``), if it serves this very peer: else both might wait for ever."""
        runner = serving.get()
        lender = None if runner is None else runner.lend(self.peer._connection)
        try:
            return await waiting
        finally:
            if lender is not None:
                await lender.take_back()

    @property
    def from_thread(self) -> FromThread:
        """The way back to the peer for handlers registered with ``threaded=True``."""
        return FromThread(self.peer)

    def __repr__(self) -> str:
        return f"<arpc.Context {self.kind} {self.method!r} from {self.peer!r}>"


class StreamContext(Context):
    """The context of a stream's handler."""

    __slots__ = ("_stream",)

    def __init__(self, peer: Peer, frame: Message, stream: Stream[Any, Any]) -> None:
        super().__init__(peer, frame)
        self._stream = stream

    @property
    def stream(self) -> Stream[Any, Any]:
        return self._stream

    def code_of(self, error: BaseException) -> str:
        """The code of what ended this stream: a bad item, a timeout, and a handler that let the end of its stream
        through are no failures of the handler."""
        if isinstance(error, BadItem) and self._stream.is_of(error):
            return Code.INVALID_ARGUMENT
        if isinstance(error, TimeoutError):
            return Code.DEADLINE_EXCEEDED
        if self._stream.closed and isinstance(error, (StreamReset, StreamEnded, ConnectionClosed)):
            return Code.CANCELLED
        return super().code_of(error)


class FromThread:
    """Blocking calls to a peer from a thread that is not its event loop's."""

    __slots__ = ("_peer",)

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @overload
    def call(self, method: str, body: Any = None, *, returns: type[T], timeout: float | None = ...) -> T: ...

    @overload
    def call(self, method: str, body: Any = None, *, returns: Any = Any, timeout: float | None = ...) -> Any: ...

    def call(self, method: str, body: Any = None, *, returns: Any = Any, **options: Any) -> Any:
        """As :meth:`Peer.call`; blocks this thread until the answer is there."""
        return self._run(self._peer.call(method, body, returns=returns, **options))

    def notify(self, method: str, body: Any = None, *, metadata: Mapping[str, Any] | None = None) -> None:
        """As :meth:`Peer.notify`; blocks this thread while the socket is full."""
        self._run(self._peer.notify(method, body, metadata=metadata))

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(call, self._peer.loop).result()
        call.close()
        raise RuntimeError("from_thread blocks, and this is an event loop: await ctx.peer.call(...) here")


class Serving(Protocol):
    """Whatever runs handlers, as far as :func:`current` needs to know it."""

    task: asyncio.Task[None] | None

    def serves(self, connection: Any) -> bool:
        """Its message came on this connection."""
        ...

    def context(self) -> Context:
        """The context of the message that is being served."""
        ...

    def lend(self, connection: Any) -> Serving | None:
        """A call to this connection begins: the handler's slot is lent if it serves it. None if it does not."""

    async def take_back(self) -> None:
        """That call has ended."""


serving: ContextVar[Serving | None] = ContextVar("arpc_serving", default=None)
"""Who serves here: set once for each runner's task, never for a message; tasks and threads of a handler inherit it."""


def current() -> Context:
    """The context of the message that this handler serves; LookupError outside of a handler.

    It is found by the running task: in a task that a handler has started, hand it the context instead.
    """
    runner = serving.get()
    if runner is not None and runner.task is not None:
        try:
            here = asyncio.current_task()
        except RuntimeError:
            return runner.context()  # a thread of a threaded handler, whose task waits for it
        if here is runner.task:
            return runner.context()
    raise LookupError("arpc.current() works in a handler's own task; in others pass the context on")
