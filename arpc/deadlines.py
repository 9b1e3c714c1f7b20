"""Which handlers have a deadline, so that what they call inherits it."""

from __future__ import annotations

from time import monotonic
from typing import Final

from .context import Serving, serving

__all__ = ["bounded", "inherited", "left_of"]

bounded: Final[dict[Serving, float]] = {}
"""Handlers that run with a deadline, by the monotonic clock. Empty where nobody uses them, and then never asked."""

LEAST: Final = 0.001
"""Seconds that a nested call is given when nothing is left: its timeout is seen by it, not by who made it."""


def left_of(seconds: float | None, since: float) -> float | None:
    """What is left of ``seconds`` that began then."""
    return None if seconds is None else max(seconds - (monotonic() - since), LEAST)


def inherited(most: float | None = None) -> float | None:
    """Seconds left to the handler in which this runs, or one of its tasks; None where there is no deadline.

    They are not more than ``most``.
    """
    handler = serving.get()
    deadline = None if handler is None else bounded.get(handler)
    if deadline is None:
        return None
    left = max(deadline - monotonic(), LEAST)
    return left if most is None else min(left, most)
