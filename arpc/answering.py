"""What goes back when a handler has ended: its answer, with its metadata, or an error."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from .codes import Code
from .context import Context
from .errors import DEADLINE_OVER, ArpcError, DuplicateRequest, RpcError
from .frame import REQUEST
from .handler import MissingHandler
from .hooks import Message
from .metadata import NOTHING
from .registered import Registered
from .streaming import StreamingHandler

if TYPE_CHECKING:
    from .inbox import Inbox
    from .runner import Runner

log = logging.getLogger("arpc")


def respond_with_metadata(context: Context, inbox: Inbox, frame: Message, reply: bytes) -> None:
    """Answers with the metadata that the handler has given, as far as the other side takes any."""
    connection = inbox.connection
    try:
        made = connection.answer_trailer(context.sent_metadata or NOTHING)
    except ArpcError as error:
        log.error("the metadata of an answer of %s cannot be sent: %s", context.method, error)
        raise RpcError("the handler's metadata could not be encoded", Code.INTERNAL) from None
    connection.session.respond_with(frame, reply, made)


def end_answered(context: Context, size: int, *, refused: bool) -> None:
    """Tells the observers of a message that it was answered, or that its answer was too large for the other side."""
    if refused:
        context.end(RpcError("the answer is too large", Code.RESOURCE_EXHAUSTED))
    else:
        context.end(None, size)


def fail(runner: Runner, inbox: Inbox, frame: Message, handler: Registered, error: BaseException) -> None:
    """Answers for a handler that raised: its own text for an RpcError, else a generic one; and logs what is ours."""
    session = inbox.connection.session
    if runner.made is not None:
        late = runner.expired and isinstance(error, asyncio.CancelledError)
        runner.made.end(RpcError(DEADLINE_OVER, Code.DEADLINE_EXCEEDED) if late else error)
    if isinstance(error, DuplicateRequest):
        inbox.connection.close(error)
        return
    details = None
    code: str | None = Code.INTERNAL
    if isinstance(error, RpcError):
        text, code, details = error.message, error.code, error.details
    elif isinstance(error, asyncio.CancelledError):
        text, code = "cancelled", Code.CANCELLED
        if runner.expired:
            text, code = DEADLINE_OVER, Code.DEADLINE_EXCEEDED
    else:
        text = "internal error"
        log.error("handler %s failed", handler.name, exc_info=error)
    if frame[0] == REQUEST:
        if not runner.withdrawn:
            session.respond_error(frame, text, code, details)
    elif isinstance(handler, (MissingHandler, StreamingHandler)):
        session.dropped += 1
    elif isinstance(error, RpcError):  # nobody waits for what this says
        inbox.connection.stats.notifies_dropped += 1
        log.debug("a notify of %s from %r was refused: %s", handler.name, inbox.connection.peer, error)
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        raise error
