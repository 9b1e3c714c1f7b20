"""Who the other side of a connection is, once it has proved it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

__all__ = ["Identity"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer that has authenticated: ``ctx.peer.identity``, set by a middleware such as :class:`arpc.middleware.Auth`.

    ``name``: who it is; ``roles``: what it may; ``scheme``: how it proved that (``"bearer"``, ``"password"``, ...);
    ``claims``: whatever else its proof said, such as the claims of a JWT.
    """

    name: str
    roles: frozenset[str] = frozenset()
    scheme: str = ""
    claims: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, compare=False)
    expires: float | None = None
    """When it ends, in seconds of UNIX time; None for never before the connection does."""

    def __post_init__(self) -> None:
        roles = cast(object, self.roles)
        if isinstance(roles, frozenset):
            return
        if isinstance(roles, str) or not isinstance(roles, Iterable):
            raise TypeError(f"roles are a set of texts, not {roles!r}")
        object.__setattr__(self, "roles", frozenset(cast("Iterable[str]", roles)))

    def has_ended(self, now: float) -> bool:
        """Whether it has expired at ``now``, in seconds of UNIX time."""
        return self.expires is not None and self.expires <= now
