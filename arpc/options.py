"""Every setting of an endpoint: one frozen, validated object, given as keywords to ``serve`` and ``connect``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from .hello import EVERY_CAPABILITY, MAX_CREDIT, Capability

if TYPE_CHECKING:
    from ssl import SSLContext

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a connection: ``open``, ``close``, ``goaway`` (the other side wants no new work),
    ``overloaded``, ``notify_dropped`` or ``stream_overflow``.

    ``peer`` is the :class:`~arpc.Peer`, ``detail`` says more in words (the cause of a ``close``, the reason of a
    ``goaway``). ``overloaded`` and ``notify_dropped`` come once each time refusing begins; ``peer.stats`` counts every
    message.
    """

    name: str
    peer: Any
    detail: str = ""


class OptionKeywords(TypedDict, total=False):
    """The keywords of ``serve`` and ``connect``; :class:`Options` documents each."""

    timeout: float | None
    connect_timeout: float | None
    hello_timeout: float
    extensions: bool
    capabilities: Capability
    metadata_appender: bool
    max_body: int
    max_streams: int
    max_streams_total: int
    stream_window: int
    max_item: int
    overflow: Literal["pause", "reset"]
    stream_idle_timeout: float | None
    max_inflight: int
    max_inflight_total: int
    max_queued: int
    max_queued_bytes: int
    max_buffered: int
    max_threads: int
    stall_timeout: float
    send_timeout: float
    write_buffer: int
    notify_grace: float
    reuse_port: bool
    ssl: SSLContext | None
    on_event: Callable[[Event], None] | None


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one endpoint. Sizes are bytes, times are seconds; ValueError names a setting that makes no sense."""

    timeout: float | None = 30.0
    """What a call waits for its answer when it does not say; None waits for ever."""
    connect_timeout: float | None = 10.0
    """What ``connect`` may take until the other side has accepted, with TLS until the handshake is done."""
    hello_timeout: float = 1.0
    """What the extensions' Hello waits for its Pong before the base protocol is used for good (PROTOCOL part 2)."""
    extensions: bool = True
    """Whether a Hello is sent and answered."""
    capabilities: Capability = EVERY_CAPABILITY
    """What this side offers in its Hello; what both offer is used (docs/protocol.md)."""
    metadata_appender: bool = False
    """Treat a peer without extensions as one that has an appender named ``meta`` on bit 1, as a Go service may."""
    max_body: int = 64 * MIB - 16
    """The largest body (method and data) that is accepted, and that is sent to a peer that announced no other."""
    max_streams: int = 65_536
    """Streams that the other side may have open; announced in the Hello. As many again may have handlers that still
    clean up after their stream has ended."""
    max_streams_total: int = 131_072
    """Handlers of streams that may run for all connections of an endpoint together; further streams are reset."""
    stream_window: int = 256 * KIB
    """Bytes of items (64 each beside their data) that may wait here to be read, for each stream, and one item more;
    announced in the Hello. 0 lets one item come for each that is read."""
    max_item: int = 64 * MIB - 16
    """The largest item of a stream that is accepted; a stream that brings a larger one is reset."""
    overflow: Literal["pause", "reset"] = "pause"
    """What happens when a peer that knows no flow control (Go) fills a stream's window: ``"pause"`` stops reading its
    connection, as Go does, while nothing of ours waits there; ``"reset"`` ends that stream and drops its rest."""
    stream_idle_timeout: float | None = None
    """A stream on which no item has come or gone for so long is reset; None never does that."""
    max_inflight: int = 1024
    """Handlers of one connection that may be suspended at a time; further requests wait in its queue."""
    max_inflight_total: int = 65_536
    """The same for all connections of an endpoint together."""
    max_queued: int = 262_144
    """Messages of one connection that may wait for a handler."""
    max_queued_bytes: int = 64 * MIB
    """Bytes that those messages may hold."""
    max_buffered: int = 512 * MIB
    """What unfinished frames, waiting messages and waiting items of streams (where a connection has over 64 KiB of
    those) of all connections of an endpoint may hold together."""
    max_threads: int = 32
    """Threads for handlers registered with ``threaded=True``."""
    stall_timeout: float = 30.0
    """A frame that has begun must grow by 4 KiB, or end, within this time, or its connection is closed;
    a server's TLS handshakes, too, must end within it."""
    send_timeout: float = 30.0
    """How long the other side may read nothing at all while the socket is full; then its connection is closed."""
    write_buffer: int = 256 * KIB
    """Bytes that may wait for the socket before ``call`` and ``notify`` wait, too."""
    notify_grace: float = 30.0
    """How long handlers of notifies that had arrived may run on after their connection has ended, and handlers of
    streams after the other side has left them."""
    reuse_port: bool = False
    """Listen with SO_REUSEPORT, so that several processes share a TCP address."""
    ssl: SSLContext | None = None
    """For ``tls://``: whom to trust, and this side's own certificate. ``serve`` needs one; None lets ``connect`` trust
    whom the system trusts (:func:`ssl.create_default_context`)."""
    on_event: Callable[[Event], None] | None = None
    """Called on the event loop with each :class:`Event`; what it raises is logged."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))


MAX_TIME = 1e9
"""Seconds, some thirty years: what is longer is no number of seconds, but a mistake, or None."""


def is_time(value: object) -> bool:
    """Whether this is a number of seconds that one can wait: above 0, and no more than a clock can hold."""
    return isinstance(value, (int, float)) and 0 < value <= MAX_TIME


_MAY_BE_NONE = frozenset({"timeout", "connect_timeout", "stream_idle_timeout", "ssl", "on_event"})
_MAY_BE_ZERO = frozenset({"notify_grace", "stream_window", "max_streams"})
_U32 = frozenset({"max_body", "max_streams"})


def _check(name: str, value: Any) -> None:
    if value is None and name in _MAY_BE_NONE:
        return
    if name == "on_event":
        if not callable(value):
            raise ValueError(f"on_event is called with each event, and cannot be {value!r}")
        if iscoroutinefunction(value):
            raise ValueError("on_event is called, not awaited: make it a plain def")
    elif name == "ssl":
        if isinstance(value, type) or not hasattr(value, "wrap_bio"):  # ssl itself does I/O: not on this floor
            raise ValueError(f"ssl is an ssl.SSLContext, such as ssl.create_default_context() makes, not {value!r}")
    elif name == "capabilities":
        if not isinstance(value, Capability):
            raise ValueError(f"capabilities is made of arpc.Capability, such as Capability.META, not {value!r}")
    elif name == "overflow":
        if value not in ("pause", "reset"):
            raise ValueError(f'overflow is "pause" or "reset", not {value!r}')
    elif name in {"extensions", "metadata_appender", "reuse_port"}:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is True or False, not {value!r}")
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is a number, not {value!r}")
    elif not (value > 0 or (value == 0 and name in _MAY_BE_ZERO)):
        raise ValueError(f"{name} must be {'0 or more' if name in _MAY_BE_ZERO else 'above 0'}, not {value!r}")
    elif "timeout" in name or name == "notify_grace":
        if value and not is_time(value):
            instead = "; None waits for ever" if name in _MAY_BE_NONE else ""
            raise ValueError(f"{name} is at most {MAX_TIME:g} seconds, not {value!r}{instead}")
    elif not isinstance(value, int):
        raise ValueError(f"{name} is a whole number, not {value!r}")
    elif name in _U32 and value > 0xFFFF_FFFF:
        raise ValueError(f"{name} travels as 32 bits and cannot be {value}")
    elif name == "stream_window" and value > MAX_CREDIT:
        raise ValueError(f"stream_window is at most {MAX_CREDIT}, not {value}")


def make_options(keywords: OptionKeywords) -> Options:
    """The options of those keywords; TypeError names one that does not exist."""
    unknown = keywords.keys() - OptionKeywords.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"no such option: {', '.join(sorted(unknown))}; there are codec, middleware, outgoing, coders,"
            f" {', '.join(OptionKeywords.__annotations__)}"
        )
    return Options(**keywords) if keywords else _DEFAULTS


_DEFAULTS: Final = Options()
"""Frozen, and checked once: most connections are made with these."""
