"""Roles: what who is known may do."""

from __future__ import annotations

from collections.abc import Coroutine
from time import time
from typing import Any, Self, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.middleware import Layer, Next, Target, refusal

__all__ = ["Require"]


class Require(Layer):
    """Lets through whose identity has all these roles: ``@router.handle("/stop", middleware=[Require("admin")])``.

    Without any role: whoever has authenticated. :meth:`any_of` asks for one role of several. Others are answered
    ``permission_denied``, with the roles that are missing; a peer without identity ``unauthenticated``. It stands
    inside of :class:`Auth`, around a handler, a router or a service.
    """

    outgoing = False

    def __init__(self, *roles: str) -> None:
        self._alternatives: tuple[frozenset[str], ...] = (frozenset(_checked(roles)),)

    @classmethod
    def any_of(cls, *roles: str) -> Self:
        """One of these roles is enough."""
        if not roles:
            raise ValueError("any_of needs the roles of which one is enough")
        made = cls()
        made._alternatives = tuple(frozenset({role}) for role in _checked(roles))
        return made

    def wrap(self, call_next: Next, target: Target) -> Next:
        alternatives = self._alternatives

        def required(ctx: Context) -> Coroutine[Any, Any, Any]:
            identity = ctx.peer.identity
            if identity is None or identity.has_ended(time()):
                raise refusal(ctx, f"{ctx.method} is for those who have authenticated", Code.UNAUTHENTICATED)
            for wanted in alternatives:
                if wanted <= identity.roles:
                    return call_next(ctx)
            raise self._refusal(ctx, identity.roles)

        return required

    def _refusal(self, ctx: Context, roles: frozenset[str]) -> Exception:
        if len(self._alternatives) == 1:
            missing = sorted(self._alternatives[0] - roles)
            text = f"the role{'s'[: len(missing) - 1]} {_named(missing)}"
        else:
            missing = sorted(frozenset[str]().union(*self._alternatives))
            text = f"one of the roles {_named(missing)}"
        return refusal(ctx, f"{ctx.method} needs {text}", Code.PERMISSION_DENIED, roles=missing)


def _named(roles: list[str]) -> str:
    return ", ".join(map(repr, roles))


def _checked(roles: tuple[str, ...]) -> tuple[str, ...]:
    for role in cast("tuple[object, ...]", roles):
        if not isinstance(role, str) or not role:
            raise TypeError(f'a role is a text: Require("admin", "operator"), not {role!r}')
    return roles
