"""What a session tells its owner: direct calls in place of event objects, which cost more than what they carry."""

from __future__ import annotations

from typing import Any, Protocol

from .frame import Frame

__all__ = ["Hooks"]


class Hooks(Protocol):
    """What a session tells its owner; called from within :meth:`Session.receive`."""

    def on_output(self) -> None:
        """``session.out`` holds something again: have it sent."""

    def on_messages(self, frames: list[Frame]) -> None:
        """Requests and notifies arrived, in this order."""

    def resolve(self, token: Any, data: bytes, /) -> None:
        """The one answer of the request with this token. It may raise, if nobody waits for that any more."""

    def on_error(self, token: Any, data: bytes) -> None:
        """The one answer of the request with this token is an error."""

    def on_pong(self, token: Any) -> None:
        """The answer of the ping with this token."""

    def on_ready(self) -> None:
        """What the other side knows is decided: from now on anything may be sent."""
