"""The calling side: shows credentials before the first message goes out."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from weakref import WeakKeyDictionary

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import CallTimeout, ConnectionClosed, MethodNotFound, RemoteError
from arpc.identity import Identity
from arpc.middleware import Layer, Next, Target

from .credential import Credential

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["BearerToken", "Credentials", "Password", "authenticate"]

RENEW_AFTER: Final = 0.9
"""The part of an identity's time after which it is renewed, where fresh tokens can be had."""

TIMEOUT: Final = 30.0
"""Seconds within which the other side has to answer."""


@dataclass
class Accepted:
    """The answer of a peer that has accepted a credential."""

    name: str
    roles: list[str] = field(default_factory=list[str])
    expires_in: float | None = None
    """Seconds after which the identity ends."""


Call = Callable[..., Awaitable[Accepted]]
"""As :meth:`Peer.call`, for this answer."""


class Admission(NamedTuple):
    """That a connection has authenticated; each time it is another one."""

    until: float
    """When it has to do so again."""


class Credentials(Layer):
    """Authenticates each connection before the first message goes out on it, for ``outgoing=[...]``.

    Other messages wait for that one call of ``method``, around which no middleware of this side stands. What it raises
    is raised to all of them (a RemoteError ``unauthenticated``, say), and the next message tries again. A call that is
    answered ``unauthenticated``, which says that it was not executed, authenticates once more and is repeated once.

    :class:`BearerToken` and :class:`Password` are such; for others override :meth:`credential`.
    """

    incoming = False
    renews = False
    """:meth:`credential` gives a fresh one each time: it is asked before the last one expires."""

    def __init__(self, *, method: str = "/auth", clock: Callable[[], float] = time.monotonic) -> None:
        self.method = method
        self._clock = clock
        self._admissions: MutableMapping[Peer, Admission] = WeakKeyDictionary()
        self._under_way: MutableMapping[Peer, asyncio.Task[None]] = WeakKeyDictionary()

    async def credential(self) -> Credential:
        """What to show."""
        raise NotImplementedError(f"{type(self).__name__} has no credential()")

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.method == self.method and target.kind == "message":
            return call_next
        admissions, clock = self._admissions, self._clock

        async def admitted(ctx: Context) -> Any:
            admission = admissions.get(ctx.peer)
            if admission is None or admission.until <= clock():
                await self._wait(ctx)
            return await call_next(ctx)

        if target.kind == "stream":
            return admitted

        async def repeated(ctx: Context) -> Any:
            admission = admissions.get(ctx.peer)
            if admission is None or admission.until <= clock():
                await self._wait(ctx)
                admission = admissions.get(ctx.peer)
            observers = ctx.observers
            try:
                return await call_next(ctx)
            except RemoteError as error:
                if error.code != Code.UNAUTHENTICATED:
                    raise
                ctx.end(error, since=observers)
            if admissions.get(ctx.peer) is admission:  # or another call has seen to it
                admissions.pop(ctx.peer, None)
            return await admitted(ctx)

        return repeated

    async def _wait(self, ctx: Context) -> None:
        """Waits for the one call that authenticates this connection, no longer than the caller wants."""
        peer = ctx.peer
        task = self._under_way.get(peer)
        if task is None:
            # In a context of its own: it serves all who wait, whichever handler was the first of them.
            task = asyncio.Task(self._authenticate(peer), loop=peer.loop, context=contextvars.Context())
            task.add_done_callback(_seen)
            self._under_way[peer] = task
        done, _ = await asyncio.wait({task}, timeout=ctx.remaining())
        if not done:
            raise CallTimeout(f"{ctx.method} was not sent: {self.method} has not answered in time")
        try:
            task.result()
        except ConnectionClosed as error:  # whatever became of the credential: this message was not sent
            raise ConnectionClosed(str(error)) from error

    async def _authenticate(self, peer: Peer) -> None:
        try:
            # Past all middleware: in a limit that stands outside, those that wait for this may hold all the places.
            accepted = await _show(peer, peer.call_directly, self.method, await self.credential(), TIMEOUT)
        finally:
            self._under_way.pop(peer, None)
        lasts = inf if accepted.expires_in is None or not self.renews else accepted.expires_in * RENEW_AFTER
        self._admissions[peer] = Admission(self._clock() + lasts)


class BearerToken(Credentials):
    """Shows a bearer token: a text, or a function, async or not, that gives a fresh one each time."""

    def __init__(
        self,
        token: str | Callable[[], str | Awaitable[str]],
        *,
        method: str = "/auth",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(method=method, clock=clock)
        given = cast(object, token)
        if not callable(given) and (not isinstance(given, str) or not given):
            raise TypeError("a token is a text that is not empty, or a function that returns one")
        self._token = token
        self.renews = callable(token)

    async def credential(self) -> Credential:
        token = self._token() if callable(self._token) else self._token
        shown = cast(object, await token if inspect.isawaitable(token) else token)
        if not isinstance(shown, str) or not shown:
            raise TypeError(f"the function of a BearerToken returns a token, a text that is not empty, not {shown!r}")
        return Credential("bearer", token=shown)


class Password(Credentials):
    """Shows a user's name and password."""

    def __init__(self, user: str, password: str, *, method: str = "/auth") -> None:
        super().__init__(method=method)
        if not user or not password:
            raise ValueError("a user and a password are not empty")
        self._credential = Credential("password", user=user, password=password)

    async def credential(self) -> Credential:
        return self._credential


async def authenticate(peer: Peer, credentials: Credentials, *, timeout: float | None = TIMEOUT) -> Identity:
    """Authenticates a connection by hand; returns whom the other side takes this one for.

    ``timeout``: seconds; None waits for ever. Raises RemoteError, with the code ``unauthenticated`` if the
    credentials are not accepted, and whatever else :meth:`Peer.call` raises.
    """
    credential = await credentials.credential()
    accepted = await _show(peer, peer.call, credentials.method, credential, timeout)
    return Identity(accepted.name, frozenset(accepted.roles), credential.scheme)


async def _show(peer: Peer, call: Call, method: str, credential: Credential, timeout: float | None) -> Accepted:
    try:
        return await call(method, credential.encode(), returns=Accepted, timeout=timeout, codec="json")
    except MethodNotFound as error:
        text = f"{peer.address} does not serve {method}, by which peers authenticate: include auth.router there"
        raise MethodNotFound(text) from error


def _seen(task: asyncio.Task[None]) -> None:
    _ = task.cancelled() or task.exception()  # or asyncio logs it, where nobody waits any more
