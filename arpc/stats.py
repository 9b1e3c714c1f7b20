"""What went wrong on a connection without being anybody's error."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stats"]


@dataclass(slots=True)
class Stats:
    """Counters of one connection."""

    overloaded: int = 0
    """Requests that were answered ``overloaded``."""
    notifies_dropped: int = 0
    """Notifies that were dropped because too many messages waited, whose body was wrong, or that their handler or a
    middleware refused."""
    frames_dropped: int = 0
    """Answers and pongs that nobody waited for, messages to nothing that want no answer, and frames of streams that
    had ended."""
    pending: int = 0
    """Calls of this side that wait for their answer now."""
    streams: int = 0
    """Streams that are open now, whoever opened them."""
    stream_bytes: int = 0
    """Bytes of items that wait to be taken now, with 64 for each item."""
    stream_bytes_peak: int = 0
    """The most that this has been."""
    streams_overflowed: int = 0
    """Streams that were ended because a peer without flow control sent faster than they were read."""
