"""What a middleware can know about a message that this side sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .codes import Code
from .context import Context
from .errors import CallRefused, CallTimeout, ConnectionClosed, LimitExceeded, Overstock, RemoteError, RpcError
from .metadata import NOTHING
from .middleware import Next

if TYPE_CHECKING:
    from .peer import Peer
    from .stream import Stream

__all__ = ["AroundSending", "Outgoing"]


class AroundSending(Protocol):
    """A middleware as a function that stands around what goes out alone: ``async def mw(ctx: Outgoing, call_next)``."""

    def __call__(self, ctx: Outgoing, call_next: Next, /) -> Coroutine[Any, Any, Any]:
        """Returns the body of the answer: that of ``await call_next(ctx)``, or another; or raises."""
        ...


class Outgoing(Context):
    """The context of a call, a notify or a stream that goes out, for the middleware of ``outgoing=``.

    ``body`` is what is sent, encoded; ``peer`` is to whom. ``call_next(ctx)`` sends it, each time that it is called,
    and returns the answer's body as bytes; None for a notify. For a stream (``ctx.stream``, once it is open) it returns
    when that has ended.
    """

    __slots__ = ("_attached", "_deadline", "_given", "_stream", "seconds", "send")

    outgoing = True

    def __init__(
        self,
        peer: Peer,
        command: int,
        method: bytes,
        body: bytes,
        metadata: Mapping[str, Any] | None,
        seconds: float | None,
        send: Callable[[Any], Coroutine[Any, Any, Any]],
    ) -> None:
        super().__init__(peer, (command, 0, None, 0, method, body))
        self._given = metadata
        self._attached: dict[str, Any] | None = None
        self._stream: Stream[Any, Any] | None = None
        self.seconds = seconds
        """What the caller waits in all; None for ever."""
        self._deadline = None if seconds is None else monotonic() + seconds
        self.send = send
        """What the innermost of the chain does."""

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, by :func:`time.monotonic`; None for never."""
        return self._deadline

    def shorten(self, seconds: float) -> tuple[float | None, float | None]:
        """The caller waits no longer than so many seconds from now on. Returns what :meth:`restore` takes."""
        before = self.seconds, self._deadline
        if self.seconds is None or self.seconds > seconds:  # else it has less already, whenever that began
            deadline = monotonic() + seconds
            if self._deadline is None or deadline < self._deadline:
                self.seconds, self._deadline = seconds, deadline
        return before

    def restore(self, before: tuple[float | None, float | None]) -> None:
        """The caller waits as long as before :meth:`shorten`."""
        self.seconds, self._deadline = before

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What travels beside the body: the caller's, and what was attached."""
        if self._attached:
            return {**(self._given or NOTHING), **self._attached}
        return NOTHING if self._given is None else self._given

    @property
    def given_metadata(self) -> Mapping[str, Any] | None:
        """What the caller gave, which has to travel."""
        return self._given

    @property
    def attached(self) -> Mapping[str, Any] | None:
        """What was attached, if anything was."""
        return self._attached

    def attach(self, key: str, value: Any) -> None:
        """Puts something beside the body, in place of what the caller said by that key.

        It is left out where the other side takes no metadata, unlike what callers give, which fails there.
        """
        if self._attached is None:
            self._attached = {}
        self._attached[key] = value

    def attempt(self) -> Outgoing:
        """A context of its own for one of several attempts that run at the same time.

        What is attached to it, what comes beside its answer and who asks for its end is its own; ``state`` is shared.
        Whoever makes it says how it went, by :meth:`end`.
        """
        one = Outgoing(self.peer, self._frame[0], self._frame[4], self.body, self._given, self.seconds, self.send)
        one._deadline = self._deadline
        one._attached = None if self._attached is None else dict(self._attached)
        one._state = self.state
        return one

    @property
    def answer_metadata(self) -> dict[str, Any]:
        """What came beside the answer, once that is there."""
        return super().answer_metadata

    @property
    def stream(self) -> Stream[Any, Any] | None:
        return self._stream

    def opened(self, stream: Stream[Any, Any]) -> None:
        """The stream is open."""
        self._stream = stream

    def code_of(self, error: BaseException) -> str:
        """The code (see :class:`~arpc.Code`) of what a caller gets in place of an answer."""
        if isinstance(error, (RemoteError, CallRefused, RpcError)):
            return error.code or Code.UNKNOWN
        for kind, code in _CODES:
            if isinstance(error, kind):
                return code
        return Code.UNKNOWN

    def __repr__(self) -> str:
        return f"<arpc.Outgoing {self.kind} {self.method!r} to {self.peer!r}>"


_CODES: tuple[tuple[type[BaseException], Code], ...] = (
    (CallTimeout, Code.DEADLINE_EXCEEDED),
    (asyncio.CancelledError, Code.CANCELLED),
    (ConnectionClosed, Code.UNAVAILABLE),
    (Overstock, Code.OVERLOADED),
    (LimitExceeded, Code.RESOURCE_EXHAUSTED),
)
