"""What a session tells its owner: direct calls in place of event objects, which cost more than what they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .frame import Frame

if TYPE_CHECKING:
    from .flow import Flow

__all__ = ["Hooks", "Message", "StreamOwner"]

Message = tuple[int, int, Any, int, bytes, bytes]
"""A frame whose third part is, where it came with metadata, what :meth:`Hooks.read_metadata` made of them."""


class Hooks(Protocol):
    """What a session tells its owner; called from within :meth:`Session.receive`."""

    def on_output(self) -> None:
        """``session.out`` holds something again: have it sent."""

    def on_messages(self, frames: list[Message]) -> None:
        """Requests and notifies arrived, in this order."""

    def resolve(self, token: Any, data: bytes, /) -> None:
        """The one answer of the request with this token. It may raise, if nobody waits for that any more."""

    def on_answer(self, token: Any, data: bytes, metadata: Any) -> None:
        """As :meth:`resolve`, for an answer with metadata."""

    def on_error(self, token: Any, data: bytes, metadata: Any) -> None:
        """The one answer of the request with this token is an error; ``metadata`` is None where it came with none."""

    def on_cancel(self, seq: int, handler: Any) -> None:
        """The caller of this request has given up; ``handler`` is what :meth:`Session.begin` noted, or None."""

    def on_stream(self, flow: Flow, opening: Message) -> None:
        """The other side opens a stream: ``flow.owner`` is to be set, or the flow reset. Its items come after this."""

    def on_room(self) -> None:
        """Many items have been read, or dropped: they count no more, and where reading was paused it may go on."""

    def on_goaway(self, reason: str) -> None:
        """The other side wants no new work."""

    def on_pong(self, token: Any) -> None:
        """The answer of the ping with this token."""

    def on_failure(self, error: Exception) -> None:
        """What has to be sent cannot be: the connection cannot go on."""

    def on_grown(self, size: int) -> None:
        """What came, and was handed out, has so many bytes more than those that were received."""

    def on_ready(self) -> None:
        """What the other side knows is decided: from now on anything may be sent."""

    def read_metadata(self, frame: Frame, value: bytes) -> Any:
        """What the value of a trailer says beside this frame. RemoteProtocolError if that makes no sense."""

    def add_values(self, frame: Message, values: dict[str, Any], size: int) -> Any:
        """The metadata of a frame from which coders took these values, of so many bytes."""

    def write_error(self, code: str | None, details: Any) -> bytes:
        """The trailer of an error answer; empty where it would say nothing."""
        ...


class StreamOwner(Protocol):
    """Who holds a stream: told of what the other side does with it."""

    def on_items(self, items: list[bytes]) -> None:
        """Items arrived; the list is the owner's."""

    def on_end(self) -> None:
        """No more items will come."""

    def on_reset(self, text: str) -> None:
        """Both halves have ended. An empty text is a clean end."""

    def on_lost(self, error: BaseException) -> None:
        """The connection has ended."""

    def on_credit(self) -> None:
        """Items may be sent again."""

    def on_overflow(self) -> bool:
        """More items wait than should, from a peer that knows no flow control: whether to take one more."""
        ...
