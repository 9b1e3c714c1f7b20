"""The one symmetric endpoint that users hold, whichever side dialled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar, overload

from .bodies import encode_body
from .connection import Connection
from .context import State, serving
from .endpoint import Endpoint
from .errors import ArpcError, CallTimeout, ConnectionClosed, DecodeError, Overstock
from .frame import encode_method
from .hello import Capabilities
from .options import is_time
from .service import callers_names, proxy
from .stats import Stats
from .transport import describe
from .wheel import EXPIRED, NEVER

__all__ = ["Peer"]

T = TypeVar("T")


class _Default(Enum):
    TIMEOUT = "the timeout of the endpoint's options"


DEFAULT: Final = _Default.TIMEOUT

_methods: dict[str, bytes] = {}


def _method(name: str) -> bytes:
    """The wire's bytes of a method, remembered."""
    encoded = encode_method(name)
    if len(_methods) >= 4096:
        _methods.clear()
    _methods[name] = encoded
    return encoded


class Peer:
    """The other side of a connection. It belongs to the event loop that it was made in."""

    __slots__ = ("__weakref__", "_address", "_connection", "_endpoint", "_state")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._state: State | None = None
        self._address: str | None = None
        self._connection = Connection(endpoint, self)

    # --- messages

    @overload
    async def call(
        self, method: str, body: Any = None, *, returns: type[T], timeout: float | _Default | None = DEFAULT
    ) -> T: ...

    @overload
    async def call(
        self, method: str, body: Any = None, *, returns: None, timeout: float | _Default | None = DEFAULT
    ) -> None: ...

    @overload
    async def call(
        self, method: str, body: Any = None, *, returns: Any = Any, timeout: float | _Default | None = DEFAULT
    ) -> Any: ...

    async def call(
        self, method: str, body: Any = None, *, returns: Any = Any, timeout: float | _Default | None = DEFAULT
    ) -> Any:
        """Calls ``method`` on the other side and returns its answer, decoded as ``returns`` and validated.

        ``body``: bytes and str travel as they are, None is empty, all else goes through the codec. ``returns``: bytes
        and str take the answer as it is; a type is decoded and validated; without it the answer is the codec's plain
        value. ``timeout``: seconds, above 0, for all of it (it comes up to 20 ms late); None waits for ever; the
        default is the option ``timeout`` (30). While the socket is full the call waits before it sends.

        Inside of a handler at full load any outcome is seen when the handler has its slot again (docs/design.md).

        Raises CallTimeout; RemoteError (MethodNotFound) if the other side answered an error; ConnectionClosed, whose
        ``sent`` tells whether the request may have arrived; EncodeError, DecodeError; LimitExceeded; LocalProtocolError
        for a method that cannot be sent; ValueError for a timeout, TypeError for a ``returns`` that cannot be decoded;
        LoopError off the event loop.
        """
        endpoint = self._endpoint
        if endpoint.thread != get_ident() or not endpoint.loop.is_running():
            raise endpoint.misused()
        name = _methods.get(method) or _method(method)
        data = body if body.__class__ is bytes else encode_body(endpoint.codec, body)
        decode = None if returns is bytes else endpoint.decoder(returns)
        timeout = endpoint.options.timeout if timeout is DEFAULT else self._timeout(timeout)
        connection = self._connection
        slot = NEVER if timeout is None else endpoint.wheel.slots[timeout]
        gated = connection.blocked and await connection.clearance(len(data), slot)
        session = connection.session
        future: asyncio.Future[Any] = endpoint.loop.create_future()
        try:
            seq = session.request(name, data, future)
        finally:
            if gated:
                connection.passed()
        lender = None
        if connection.inbox is not None:  # handlers serve this peer: this may be a call of one of them
            runner = serving.get()
            lender = None if runner is None else runner.lend(connection)
        slot.add(future)
        try:
            answer = await future
        except BaseException:
            session.forget(seq)
            raise
        finally:
            slot.discard(future)
            if lender is not None:
                session.forget(seq)  # before a wait that may be cancelled
                await lender.take_back()
        if answer.__class__ is not bytes:
            if answer is EXPIRED:
                session.forget(seq)
                answer = CallTimeout(f"{method} has not answered within {timeout:g} s")
            raise answer
        if decode is None:
            return answer
        try:
            return decode(answer)
        except DecodeError as error:
            raise DecodeError(f"the answer of {method}: {error}") from error.__cause__

    async def notify(self, method: str, body: Any = None) -> None:
        """Sends a message that wants no answer. While the socket is full it waits.

        Raises ConnectionClosed; EncodeError; LimitExceeded; LocalProtocolError; LoopError. That it was served is never
        known: the other side drops what it has no handler for.
        """
        name, data = self._message(method, body)
        connection = self._connection
        gated = connection.blocked and await connection.clearance(len(data), NEVER)
        try:
            connection.session.notify(name, data)
        finally:
            if gated:
                connection.passed()

    def try_notify(self, method: str, body: Any = None) -> None:
        """As :meth:`notify`, without ever waiting: raises :class:`~arpc.Overstock` where that would have to wait."""
        name, data = self._message(method, body)
        connection = self._connection
        if connection.blocked:
            connection.check_open()
            if not connection.session.ready:
                self._endpoint.decide_soon(connection)
                raise Overstock(
                    f"{self.address} has not sent anything yet, so it is not decided how to speak to it; "
                    f"{method} was not sent: use notify, or try again after hello_timeout"
                )
            if not connection.writable:
                raise Overstock(f"the socket to {self.address} is full; {method} was not sent")
        connection.session.notify(name, data)

    async def ping(self, timeout: float | _Default | None = DEFAULT) -> float:
        """Asks for a sign of life; returns the seconds it took. Raises CallTimeout, ConnectionClosed, LoopError."""
        endpoint = self._endpoint
        endpoint.check()
        limit = self._timeout(timeout)
        connection = self._connection
        slot = NEVER if limit is None else endpoint.wheel.slots[limit]
        gated = connection.blocked and await connection.clearance(16, slot)
        future: asyncio.Future[Any] = endpoint.loop.create_future()
        started = monotonic()
        connection.session.ping(future)
        if gated:
            connection.passed()
        connection.flush()
        slot.add(future)
        try:
            answer = await future
        except BaseException:
            connection.session.forget_ping(future)
            raise
        finally:
            slot.discard(future)
        if answer is EXPIRED:
            connection.session.forget_ping(future)
            raise CallTimeout(f"{self.address} has not answered a ping within {limit:g} s")
        if isinstance(answer, ArpcError):
            raise answer
        return monotonic() - started

    def _message(self, method: str, body: Any) -> tuple[bytes, bytes]:
        endpoint = self._endpoint
        if endpoint.thread != get_ident() or not endpoint.loop.is_running():
            raise endpoint.misused()
        data = body if body.__class__ is bytes else encode_body(endpoint.codec, body)
        return _methods.get(method) or _method(method), data

    def _timeout(self, timeout: float | _Default | None) -> float | None:
        if timeout is DEFAULT:
            return self._endpoint.options.timeout
        if timeout is None or timeout == inf:
            return None
        if not is_time(timeout):
            raise ValueError(f"timeout is seconds above 0, or None to wait for ever, not {timeout!r}")
        return timeout

    # --- services

    def service(
        self, service: Callable[..., T], *, timeout: float | _Default | None = DEFAULT, name: str | None = None
    ) -> T:
        """An object of the class ``service`` whose methods marked ``@arpc.rpc`` are calls to this peer.

        ``timeout`` is that of each call; ``name`` replaces the class's name where the other side registered it so.
        """

        async def call(method: str, body: Any, returns: Any) -> Any:
            return await self.call(method, body, returns=returns, timeout=timeout)

        return proxy(service, call, repr(self), name, callers_names())

    def notifier(self, service: Callable[..., T], *, name: str | None = None) -> T:
        """As :meth:`service`, with notifies in place of calls: each method returns as soon as it is sent.

        What it returns is None, whatever the class declares.
        """

        async def notify(method: str, body: Any, returns: Any) -> None:
            await self.notify(method, body)

        return proxy(service, notify, repr(self), name, callers_names())

    # --- the connection

    async def close(self) -> None:
        """Sends what is under way and closes. Calls that wait fail at once with ConnectionClosed."""
        self._endpoint.check()
        self._connection.close(ConnectionClosed("it was closed by this side"))
        await self._connection.wait_ended()

    async def wait_closed(self) -> None:
        """Returns when the connection has ended, whoever ended it."""
        self._endpoint.check()
        await self._connection.wait_ended()

    @property
    def closed(self) -> bool:
        """The connection has ended; nothing can be sent any more."""
        return not self._connection.open

    @property
    def address(self) -> str:
        """Where the other side is, as ``tcp://host:port``."""
        if self._address is None:
            self._address = describe(self._connection.transport)
        return self._address

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
        """Counters of what was refused or dropped on this connection."""
        stats = self._connection.stats
        stats.frames_dropped = self._connection.session.dropped
        return stats

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that this peer belongs to."""
        return self._endpoint.loop

    def __repr__(self) -> str:
        return f"<arpc.{type(self).__name__} {self.address}{' closed' if self.closed else ''}>"
