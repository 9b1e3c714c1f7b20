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
    """Notifies that were dropped because too many messages waited."""
    frames_dropped: int = 0
    """Answers and pongs that nobody waited for, and messages to nothing that want no answer."""
