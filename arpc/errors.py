"""Every exception that arpc raises, in one tree.

    ArpcError
    ├── CallTimeout          (TimeoutError)     no answer within the call's timeout, no item within that of a stream
    ├── ConnectionClosed     (ConnectionError)  the connection ended; ``.sent`` tells about this request
    ├── ConnectError         (ConnectionError)  a connection could not be made
    │   └── ConnectTimeout   (TimeoutError)     ... within ``connect_timeout``
    ├── RemoteError                             the other side answered with an error
    │   └── MethodNotFound                      ... because it has no such handler
    ├── RpcError                                raise it in a handler to answer an error of your own
    ├── CallRefused                             a middleware of this side refused to send; nothing was sent
    ├── Overstock                               ``try_notify`` or ``try_send`` would have to wait
    ├── StreamReset                             a stream was ended at once, by either side
    ├── StreamEnded          (EOFError)         a stream brings no more items
    ├── ProtocolError                           the wire's rules were broken
    │   ├── LocalProtocolError                  ... by this side: a mistake in the calling program
    │   └── RemoteProtocolError                 ... by the other side: the connection is closed
    ├── CodecError                              a body could not be translated
    │   ├── EncodeError                         ... from a value into bytes
    │   └── DecodeError                         ... from bytes into the type asked for
    ├── LimitExceeded        (ValueError)       larger, or more streams, than one of the sides accepts
    ├── AddressError         (ValueError)       an address that names no place to listen or dial
    ├── RegistrationError    (TypeError)        a handler, router or service that cannot be served
    └── LoopError            (RuntimeError)     an object used off the event loop (or process) it belongs to

An error that closed a connection is the ``__cause__`` of what that connection's callers get.
"""

from __future__ import annotations

from sys import float_info
from typing import Any, Final, cast

__all__ = [
    "AddressError",
    "ArpcError",
    "CallRefused",
    "CallTimeout",
    "CodecError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "DecodeError",
    "EncodeError",
    "LimitExceeded",
    "LocalProtocolError",
    "LoopError",
    "MethodNotFound",
    "Overstock",
    "ProtocolError",
    "RegistrationError",
    "RemoteError",
    "RemoteProtocolError",
    "RpcError",
    "StreamEnded",
    "StreamReset",
    "remote_error",
]

METHOD_NOT_FOUND = "method not found"
"""The text by which every arpc, in any language, says that it has no such handler (PROTOCOL part 1)."""

OVERLOADED = "overloaded"
"""The text of an answer to a request that was refused unread: not executed, safe to retry."""


class ArpcError(Exception):
    """Base of everything that arpc raises."""


class CallTimeout(ArpcError, TimeoutError):
    """No answer came within the timeout of the call, or no item within that of a stream or of ``recv``.

    Where both sides use CANCEL the handler over there is cancelled; else it may still run.
    """


class ConnectionClosed(ArpcError, ConnectionError):
    """The connection ended, or had ended before.

    ``sent`` is False when the request certainly never left this process, so that sending it again is safe; True when
    the other side may have received it.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectError(ArpcError, ConnectionError):
    """No connection could be made to an address, or an address could not be listened on."""


class ConnectTimeout(ConnectError, TimeoutError):
    """The connection was not made within ``connect_timeout`` seconds."""


class RemoteError(ArpcError):
    """The other side answered the call with an error.

    ``message`` is its text; ``code`` (see :class:`~arpc.Code`) and ``details`` are None unless the other side said
    them.
    """

    def __init__(self, message: str, code: str | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details

    @property
    def retry_after(self) -> float | None:
        """Seconds after which it makes sense to try again, if the other side said so (in ``details``)."""
        return _retry_after(self.details)


class MethodNotFound(RemoteError):
    """The other side has no handler of that name."""

    def __init__(
        self, message: str = METHOD_NOT_FOUND, code: str | None = "unimplemented", details: Any = None
    ) -> None:
        super().__init__(message, code, details)


class RpcError(ArpcError):
    """Raise it in a handler: the caller gets ``message`` (as a :class:`RemoteError`), and nothing is logged.

    Any other exception of a handler answers a generic text and is logged here with its traceback. ``code`` (a text, see
    :class:`~arpc.Code`) and ``details`` (what MessagePack can carry) travel where both sides use META; details for
    which there is no room are left out. A stream that is ended by such an error carries its message alone.
    """

    def __init__(self, message: object, code: str | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = str(message)  # so that an exception may be passed on as it was caught
        self.code = code
        self.details = details


class CallRefused(ArpcError):
    """A middleware of this side refused a call, a notify or a stream (a limit, an open circuit). Nothing was sent.

    ``code`` (see :class:`~arpc.Code`) and ``details`` are those of a :class:`RemoteError`, had the other side refused.
    """

    def __init__(self, message: str, code: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details

    @property
    def retry_after(self) -> float | None:
        """Seconds after which it makes sense to try again, if that is known."""
        return _retry_after(self.details)


def _retry_after(details: Any) -> float | None:
    seconds = cast("dict[object, object]", details).get("retry_after") if isinstance(details, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return float(seconds) if 0 <= seconds <= float_info.max else None


class Overstock(ArpcError):
    """``try_notify`` or ``try_send`` would have had to wait. Nothing was sent."""


class StreamReset(ArpcError):
    """A stream was ended at once: by an error of the other side, or while this side wanted to send.

    ``message`` is what the other side said about it; empty if it just left.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message or "the other side has left the stream")
        self.message = message


class StreamEnded(ArpcError, EOFError):
    """``recv`` found that the other side has ended its half: there are no more items. (``async for`` just ends.)"""


class ProtocolError(ArpcError):
    """The rules of the wire were broken."""


class LocalProtocolError(ProtocolError):
    """This side asked for something that the wire cannot carry, such as a method of 200 bytes. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol does not allow; the connection is closed with this as its cause."""


class DuplicateRequest(RemoteProtocolError):
    """A request carries the number of one that still runs."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"request {seq} came while another request {seq} is still running")


class CodecError(ArpcError):
    """A body could not be translated. The connection is not affected."""


class EncodeError(CodecError):
    """A value could not be encoded. Nothing was sent."""


class DecodeError(CodecError):
    """A body is not what was asked for; the message names the field where there is one."""


class BadItem(DecodeError):
    """An item of a stream could not be read. ``flow`` tells of which stream."""

    def __init__(self, message: str, flow: object) -> None:
        super().__init__(message)
        self.flow = flow


class LimitExceeded(ArpcError, ValueError):
    """A body is larger, or more streams are open, than this side or the other accepts. Nothing was sent, unless the
    message says that it is an answer which is too large for this side."""


class AddressError(ArpcError, ValueError):
    """An address that names no place to listen at or to dial; the message shows a right one."""


class RegistrationError(ArpcError, TypeError):
    """A function or object that cannot be served as it is; the message says what to change."""


class LoopError(ArpcError, RuntimeError):
    """An arpc object was used from another event loop, or another process, than the one it was made in."""


DEADLINE_OVER = "the deadline is over"
"""The text of an answer, or of a reset, of a handler that its caller's deadline has ended."""

_KNOWN: Final = {OVERLOADED: OVERLOADED}
"""Codes of texts that every arpc shares, from peers that send none."""


def remote_error(text: str, code: str | None = None, details: Any = None) -> RemoteError | CallTimeout:
    """The exception for an error answer of the wire: texts that every arpc shares get their class and code."""
    if text == METHOD_NOT_FOUND:
        return MethodNotFound(details=details)
    if text == DEADLINE_OVER and code == "deadline_exceeded":
        return CallTimeout("its handler was cancelled at the deadline of the call")
    return RemoteError(text, code or _KNOWN.get(text), details)
