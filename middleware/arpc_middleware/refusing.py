"""How the middlewares that bound things refuse a message, and a setting that makes no sense."""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import CallRefused, RpcError
from arpc.middleware import refusal

__all__ = ["EARLY", "check_count", "refused"]

EARLY: Final = 0.001
"""Seconds by which a timer may fire too early (uvloop counts in milliseconds): who waited as told is let through."""


def refused(
    ctx: Context, message: str, code: Code, *, retry_after: float | None = None, **details: Any
) -> RpcError | CallRefused:
    """The error for a message that is over a limit; its text says when to come back, where that is known."""
    if retry_after is not None:
        retry_after = ceil(retry_after * 1000) / 1000  # never too early
        message = f"{message}; come back in {retry_after:g} s"
    return refusal(ctx, message, code, retry_after=retry_after, **details)


def check_count(name: str, value: object, least: int) -> None:
    """ValueError if an option is no whole number, or below the least that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is a whole number, {least} or more, not {value!r}")
