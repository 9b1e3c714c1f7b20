"""What went wrong, in a word: the codes of errors, after those of gRPC."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Code"]


class Code(StrEnum):
    """Codes of errors that arpc itself uses, and that handlers should; any other text of yours is a code as well.

    A member is its text: ``error.code == "not_found"`` and ``error.code == Code.NOT_FOUND`` are the same.
    """

    CANCELLED = "cancelled"
    """The handler was cancelled."""
    UNKNOWN = "unknown"
    """Nothing better is known."""
    INVALID_ARGUMENT = "invalid_argument"
    """The body is wrong, whatever state the service is in."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The time of the call, or of its handler, was up."""
    NOT_FOUND = "not_found"
    """There is no such thing."""
    ALREADY_EXISTS = "already_exists"
    """There is such a thing, and there was to be none."""
    PERMISSION_DENIED = "permission_denied"
    """The caller is known, and may not."""
    RESOURCE_EXHAUSTED = "resource_exhausted"
    """A quota, or a limit of size."""
    FAILED_PRECONDITION = "failed_precondition"
    """Not in this state; do not retry before it has been changed."""
    ABORTED = "aborted"
    """A conflict with something else; retry the whole transaction."""
    OUT_OF_RANGE = "out_of_range"
    """Past the end, for now."""
    UNIMPLEMENTED = "unimplemented"
    """There is no such method."""
    INTERNAL = "internal"
    """A handler failed; its log says why."""
    UNAVAILABLE = "unavailable"
    """Not executed, safe to retry: here later, or elsewhere now."""
    DATA_LOSS = "data_loss"
    """Data are lost or corrupt."""
    UNAUTHENTICATED = "unauthenticated"
    """The caller is not known."""
    OVERLOADED = "overloaded"
    """Not executed, safe to retry later: too much waits here. (arpc's own; gRPC has no such code.)"""
