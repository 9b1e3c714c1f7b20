"""What all connections of one ``serve()`` or ``connect()`` share: settings, compiled handlers, budgets, timers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from contextvars import copy_context
from threading import get_ident
from typing import Any, cast
from weakref import WeakSet

from .bodies import body_decoder
from .chains import Chains
from .codecs import Codec, get_codec
from .coders import Coder, check_coders
from .connection import Connection
from .context import serving
from .errors import CallTimeout, LoopError, RemoteProtocolError
from .inbox import Inbox
from .middleware import Middleware, checked
from .options import Event, OptionKeywords, Options, make_options
from .outgoing import AroundSending
from .router import Router
from .routes import Routes
from .runner import Lane
from .stalls import Stalls
from .threads import Threads
from .wheel import EXPIRED, NEVER, Slot, wheel_of

log = logging.getLogger("arpc")


class Endpoint:
    """Shared by connections; belongs to the event loop, thread and process that it was made in."""

    __slots__ = (
        "__weakref__",
        "_codecs",
        "_decoders",
        "_waiting_ready",
        "buffered",
        "codec",
        "coders",
        "connections",
        "dials",
        "inflight",
        "lane",
        "lingering",
        "loop",
        "options",
        "outgoing",
        "pristine",
        "routes",
        "stalls",
        "starved",
        "stopped",
        "streams",
        "thread",
        "threads",
        "variables",
        "wheel",
    )

    def __init__(
        self,
        router: Router | None,
        codec: str | Codec | None,
        keywords: OptionKeywords,
        *,
        dials: bool,
        middleware: Iterable[Middleware] = (),
        outgoing: Iterable[Middleware | AroundSending] = (),
        coders: Iterable[Coder] = (),
    ) -> None:
        given = cast(object, router)
        if given is not None and not isinstance(given, Router):
            raise TypeError(f"handlers come in an arpc.Router, not in {given!r}")
        self.options: Options = make_options(keywords)
        self.codec = get_codec(codec)
        self.coders = check_coders(coders, self.options)
        self.threads = Threads(self.options.max_threads)
        self.loop = asyncio.get_running_loop()
        self.thread = get_ident()
        self.stopped = False
        """New connections are refused."""
        self.dials = dials
        """This endpoint's connections are dialled, and say Hello first."""
        self.wheel = wheel_of(self.loop)
        self.stalls = Stalls(self.loop, self.options)
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        """Ended connections whose notifies and streams are still being served."""
        self.lane = Lane(self, ordered=False)
        """Inboxes with messages to serve."""
        self.inflight = 0
        """Suspended handlers of all connections, for ``max_inflight_total``."""
        self.streams = 0
        """Handlers of streams of all connections, for ``max_streams_total``."""
        self.starved: dict[Inbox, None] = {}
        """Inboxes that wait for that bound, in order."""
        self.buffered = 0
        """Bytes of all connections, for ``max_buffered``."""
        variables = copy_context()
        variables.run(serving.set, None)
        self.variables = variables
        """The context variables that every handler starts with: those of ``serve()`` or ``connect()``."""
        self.pristine = [(key, value) for key, value in variables.items() if key is not serving]
        self._waiting_ready: dict[Connection, list[asyncio.Future[Any]]] = {}
        self._codecs: dict[str, Codec] = {}
        self._decoders: dict[Any, Callable[[bytes], Any]] = {}
        self.routes = Routes(router or Router(), self.codec, self.threads.run, checked(middleware), self)
        around = checked(cast("Iterable[Middleware]", outgoing), outgoing=True)
        self.outgoing = Chains(around, self) if around else None
        """What stands around calls, notifies and streams of this side."""
        _remember(self)

    # --- bodies

    def codec_of(self, codec: str | Codec) -> Codec:
        """The codec of that name, or that object. ValueError, TypeError if it is none."""
        if not isinstance(codec, str):
            return get_codec(codec)
        known = self._codecs.get(codec)
        if known is None:
            known = self._codecs[codec] = get_codec(codec)
        return known

    def decoder(self, type: Any, codec: Codec | None = None) -> Callable[[bytes], Any]:
        """The compiled decoder of ``returns=type``, by the endpoint's codec if no other. TypeError if it never can."""
        key: Any = type if codec is None or codec is self.codec else (codec, type)
        try:
            decode = self._decoders.get(key)
        except TypeError:  # a type that cannot be hashed, such as Annotated with a list
            return body_decoder(codec or self.codec, type)
        if decode is None:
            if len(self._decoders) > 4096:
                self._decoders.clear()
            decode = self._decoders[key] = body_decoder(codec or self.codec, type)
        return decode

    # --- where it may be used

    def misused(self) -> LoopError:
        """The error of a call from another thread, event loop or process."""
        if self.thread == 0:
            return LoopError("this arpc object was made before a fork: connect or serve in the new process")
        if self.thread != get_ident():
            return LoopError(
                "this arpc object belongs to another thread: use ctx.from_thread, or run_coroutine_threadsafe"
            )
        return LoopError("this arpc object belongs to another event loop: connect or serve in this one")

    def check(self) -> None:
        """Raises LoopError if this is not where the endpoint was made."""
        if self.thread != get_ident() or not self.loop.is_running():
            raise self.misused()

    # --- the Hello

    def ready(self, connection: Connection) -> None:
        """It is decided how this connection is spoken, or it has ended."""
        for waiter in self._waiting_ready.pop(connection, ()):
            if not waiter.done():
                waiter.set_result(None)

    def decide_soon(self, connection: Connection) -> list[asyncio.Future[Any]]:
        """Something is to be sent before the first frame has come: ``hello_timeout`` begins. Those who wait for it."""
        waiting = self._waiting_ready.get(connection)
        if waiting is None:
            waiting = self._waiting_ready[connection] = []
            self.loop.call_later(self.options.hello_timeout, connection.settle)
        return waiting

    async def until_ready(self, connection: Connection, slot: Slot = NEVER) -> None:
        """Waits for the Hello or its Pong, at most ``hello_timeout``: then the base protocol is used for good.

        Raises CallTimeout when ``slot`` expires before.
        """
        if connection.session.ready or not connection.open:
            return
        waiter: asyncio.Future[Any] = self.loop.create_future()
        self.decide_soon(connection).append(waiter)
        slot.add(waiter)
        try:
            if await waiter is EXPIRED:
                raise CallTimeout(
                    f"nothing could be sent in time: {connection.peer.address} has not answered the Hello"
                )
        finally:
            slot.discard(waiter)

    # --- bounds

    def charge(self, connection: Connection, held: int) -> None:
        """Counts what a connection holds. When all hold half of ``max_buffered`` it is not read on, where it need not
        be; past the whole of it the one that holds the most is closed."""
        grown = held > connection.charged
        self.buffered += held - connection.charged
        connection.charged = held
        if grown and self.buffered > self.options.max_buffered // 2:
            self._relieve(connection)

    def _relieve(self, newest: Connection) -> None:
        # Counts may be too high between two countings: nobody is made to give way before his is exact.
        newest.recount()
        limit = self.options.max_buffered
        if self.buffered > limit // 2 and newest.inbox is not None:
            newest.inbox.pause_reading()
        while self.buffered > limit:
            largest = max((*self.connections, *self.lingering), key=lambda connection: connection.charged)
            before = largest.charged
            largest.recount()
            if largest.charged < before:
                continue
            largest.abort(RemoteProtocolError(f"all connections hold over {limit} bytes, this one most (max_buffered)"))
            if largest.inbox is not None:
                largest.inbox.cancel()
            largest.recount()
            if largest.charged >= before:
                return

    def feed_starved(self) -> None:
        """A handler has ended: the connections that wait longest for ``max_inflight_total`` may go on."""
        while self.starved and self.inflight < self.options.max_inflight_total:
            inbox = next(iter(self.starved))
            del self.starved[inbox]
            inbox.admit()

    # --- the end

    def tell(self, event: Event) -> None:
        """Gives an event to ``on_event``."""
        if self.options.on_event is not None:
            try:
                self.options.on_event(event)
            except Exception:  # the application's own: it must not end the connection
                log.exception("on_event failed")

    def lost(self, connection: Connection) -> None:
        """A connection's transport has closed."""
        self.connections.discard(connection)
        if connection.inbox is not None or connection.acceptor is not None:
            self.lingering.add(connection)

    async def shut_down(self) -> None:
        """No more handlers: those that run are cancelled, and waited for as long as ``notify_grace``."""
        running: list[asyncio.Task[Any]] = []
        for connection in (*self.connections, *self.lingering):
            if connection.inbox is not None:
                running += [runner.task for runner in connection.inbox.suspended if runner.task is not None]
                connection.inbox.cancel()
            if connection.acceptor is not None:
                running += [one.task for one in connection.acceptor.tasks if one.task is not None]
                connection.acceptor.cancel()
        if running:
            await asyncio.wait(running, timeout=self.options.notify_grace)
        self.threads.shut_down()


_endpoints: WeakSet[Endpoint] | None = None


def _remember(endpoint: Endpoint) -> None:
    global _endpoints
    if _endpoints is None:
        _endpoints = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_disown)
    _endpoints.add(endpoint)


def _disown() -> None:
    """In a forked child: no thread has the number 0, so whatever was made before the fork says so when it is used."""
    for endpoint in _endpoints or ():
        endpoint.thread = 0
