"""The one symmetric endpoint that users hold, whichever side dialled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, overload

from .bodies import NO_BODY
from .caller import DEFAULT, Caller, Default
from .codecs import Codec
from .connection import Connection
from .context import State
from .deadlines import bounded, inherited
from .endpoint import Endpoint
from .errors import ConnectionClosed, LocalProtocolError
from .hello import Capabilities
from .identity import Identity
from .opener import Items, OpeningStream, Opens, open_stream
from .service import callers_names, proxy
from .stats import Stats
from .stream import Stream

__all__ = ["Peer"]

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


class StreamKeywords(TypedDict, total=False):
    """Keywords of :meth:`Peer.open_stream` and :meth:`Peer.stream`; see there."""

    timeout: float | Default | None
    idle_timeout: float | Default | None
    metadata: Mapping[str, Any] | None
    codec: str | Codec | None


class Remote:
    """What the methods of :meth:`Peer.service` go through."""

    __slots__ = ("codec", "metadata", "peer", "timeout")

    def __init__(
        self,
        peer: Peer,
        timeout: float | Default | None,
        metadata: Mapping[str, Any] | None,
        codec: str | Codec | None,
    ) -> None:
        self.peer = peer
        self.timeout: float | Default | None = timeout
        self.metadata = metadata
        self.codec: str | Codec | None = codec

    async def call(self, method: str, body: Any, returns: Any) -> Any:
        return await self.peer.call(
            method, body, returns=returns, timeout=self.timeout, metadata=self.metadata, codec=self.codec
        )

    def stream(self, method: str, body: Any, items: Any, returns: Any) -> OpeningStream[Any, Any]:
        return self.peer.stream(
            method,
            body,
            items=items,
            returns=returns,
            timeout=self.timeout,
            metadata=self.metadata,
            codec=self.codec,
        )


class Notifying(Remote):
    """What the methods of :meth:`Peer.notifier` go through."""

    async def call(self, method: str, body: Any, returns: Any) -> None:
        await self.peer.notify(method, body, metadata=self.metadata, codec=self.codec)

    def stream(self, method: str, body: Any, items: Any, returns: Any) -> OpeningStream[Any, Any]:
        raise LocalProtocolError(f"{method} is a stream, which cannot be notified: use peer.service")


class Peer(Caller):
    """The other side of a connection. It belongs to the event loop that it was made in."""

    __slots__ = ("_state", "identity")

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._state: State | None = None
        self.identity: Identity | None = None
        """Who the other side is, once a middleware has had that proved; None before, and where nobody asks."""
        self._connection = Connection(endpoint, self)

    # --- streams

    @overload
    def open_stream(
        self, method: str, *, returns: type[R], sends: type[S], **options: Unpack[StreamKeywords]
    ) -> OpeningStream[R, S]: ...

    @overload
    def open_stream(
        self, method: str, *, returns: type[R], **options: Unpack[StreamKeywords]
    ) -> OpeningStream[R, Any]: ...

    @overload
    def open_stream(
        self, method: str, *, returns: Any = Any, sends: Any = Any, **options: Unpack[StreamKeywords]
    ) -> OpeningStream[Any, Any]: ...

    def open_stream(
        self, method: str, *, returns: Any = Any, sends: Any = Any, **options: Unpack[StreamKeywords]
    ) -> OpeningStream[Any, Any]:
        """Opens a stream: ``async with peer.open_stream("/chat", returns=Line) as stream``, or ``await`` it.

        ``returns``: the type of the items that come, as for :meth:`call`; ``sends``: that of the items that go, checked
        where it is a class. ``timeout``: seconds for all of it, after which it is reset and its handler cancelled
        (default: none, or what is left to the handler in which this is opened); ``idle_timeout``: seconds without any
        item, either way (default: the option ``stream_idle_timeout``). ``metadata``: for the handler's
        ``ctx.metadata``. ``codec``: that of this method, in place of the connection's.

        Raises ConnectionClosed; LimitExceeded when the other side takes no more streams; LocalProtocolError;
        CallTimeout; ValueError; TypeError for a ``returns`` that cannot be decoded; LoopError. That there is no such
        handler is told by a StreamReset when the stream is used.
        """
        return self._opening(Opens(method, returns, sends), options)

    @overload
    def stream(
        self,
        method: str,
        body: Any = NO_BODY,
        *,
        returns: type[R],
        items: Items = None,
        **options: Unpack[StreamKeywords],
    ) -> OpeningStream[R, Any]: ...

    @overload
    def stream(
        self,
        method: str,
        body: Any = NO_BODY,
        *,
        returns: Any = Any,
        items: Items = None,
        **options: Unpack[StreamKeywords],
    ) -> OpeningStream[Any, Any]: ...

    def stream(
        self,
        method: str,
        body: Any = NO_BODY,
        *,
        returns: Any = Any,
        items: Items = None,
        **options: Unpack[StreamKeywords],
    ) -> OpeningStream[Any, Any]:
        """Opens a stream, sends ``body`` as its first item and then ``items``, and ends this side's half.

        ``async with peer.stream("/ticks", request, returns=Tick) as ticks: async for tick in ticks: ...``; the answer
        of a handler that gives one is ``await stream.recv()``. ``items``, an iterable or an async one, are sent in the
        background as the other side takes them; what they raise resets the stream, and is raised where it is read. The
        rest as :meth:`open_stream`.
        """
        return self._opening(Opens(method, returns, Any, body, items, ends=True), options)

    call_directly = Caller.call
    """As :meth:`call`, past the middleware of ``outgoing=``: for what such a middleware asks on its own account."""

    def _opening(self, opens: Opens, options: StreamKeywords) -> OpeningStream[Any, Any]:
        if unknown := options.keys() - StreamKeywords.__annotations__.keys():
            known = ", ".join(StreamKeywords.__annotations__)
            raise TypeError(f"no such option of a stream: {', '.join(sorted(unknown))}; there are {known}")
        timeout, idle = options.get("timeout", DEFAULT), options.get("idle_timeout", DEFAULT)
        opens.metadata = options.get("metadata")
        opens.codec = options.get("codec")
        if timeout is DEFAULT:
            opens.limit = inherited() if bounded else None
        else:
            opens.limit = self._timeout(timeout)
        opens.idle = (
            self._endpoint.options.stream_idle_timeout if idle is DEFAULT else self._timeout(idle, "idle_timeout")
        )
        return OpeningStream(opens, self._open_stream)

    async def _open_stream(self, opens: Opens) -> Stream[Any, Any]:
        return await open_stream(self._connection, opens)

    # --- services

    def service(
        self,
        service: Callable[..., T],
        *,
        timeout: float | Default | None = DEFAULT,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        codec: str | Codec | None = None,
    ) -> T:
        """An object of the class ``service`` whose methods marked ``@arpc.rpc`` are calls to this peer, or streams.

        ``timeout``, ``metadata`` and ``codec`` are those of each call and stream; ``name`` replaces the class's name
        where the other side registered it so. A method that is an async generator here is one there: breaking off its
        iteration ends the stream.
        """
        return proxy(service, Remote(self, timeout, metadata, codec), repr(self), name, callers_names())

    def notifier(
        self,
        service: Callable[..., T],
        *,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        codec: str | Codec | None = None,
    ) -> T:
        """As :meth:`service`, with notifies in place of calls: each method returns as soon as it is sent.

        What it returns is None, whatever the class declares. Methods with streams raise LocalProtocolError.
        """
        return proxy(service, Notifying(self, DEFAULT, metadata, codec), repr(self), name, callers_names())

    # --- the connection

    async def close(self) -> None:
        """Sends what is under way and closes. Calls that wait fail at once with ConnectionClosed."""
        self._endpoint.check()
        self._connection.close(ConnectionClosed("it was closed by this side"))
        await self._connection.wait_ended()

    def go_away(self, reason: str) -> None:
        """Asks the other side to start nothing new here (PROTOCOL part 2, GoAway); peers without GOAWAY see nothing.

        What it sends all the same is served. Once is enough. Raises LoopError.
        """
        self._endpoint.check()
        self._connection.session.go_away(reason)

    async def wait_closed(self) -> None:
        """Returns when the connection has ended, whoever ended it."""
        self._endpoint.check()
        await self._connection.wait_ended()

    @property
    def closed(self) -> bool:
        """The connection has ended; nothing can be sent any more."""
        return not self._connection.open

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The other side's certificate, verified, in the form of :meth:`ssl.SSLSocket.getpeercert`.

        None without TLS, and where none was asked for, shown or verified. It stays after the end.
        """
        return self._connection.certificate

    @property
    def state(self) -> State:
        """Room for whatever the application wants to remember about this connection."""
        if self._state is None:
            self._state = State()
        return self._state

    @property
    def remote_capabilities(self) -> Capabilities:
        """What the other side said about itself in its Hello."""
        return self._connection.session.remote

    @property
    def stats(self) -> Stats:
        """Counters of what was refused or dropped on this connection, and of its streams."""
        stats = self._connection.stats
        session = self._connection.session
        stats.frames_dropped = session.dropped
        stats.pending = len(session.pending)
        if session.flows is not None:
            stats.streams = len(session.flows)
            stats.stream_bytes = session.flows.queued
            stats.stream_bytes_peak = session.flows.peak
        return stats

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that this peer belongs to."""
        return self._endpoint.loop

    def __repr__(self) -> str:
        return f"<arpc.{type(self).__name__} {self.address}{' closed' if self.closed else ''}>"
