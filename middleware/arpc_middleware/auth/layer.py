"""The layer around handlers that lets through who has authenticated, and the handler by which peers do."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import RpcError
from arpc.identity import Identity
from arpc.middleware import Layer, Next, Target, refusal
from arpc.router import Router

from ..matching import matching
from .attempts import Attempts, attempts_by_peer
from .credential import Credential, parse_authorization, parse_body
from .scheme import Scheme

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["Auth"]

log = logging.getLogger("arpc")

KEY: Final = "authorization"
"""The metadata in which a credential may come beside a message."""

_NAMES: Final = {"bearer": "a bearer token", "password": "a password", "certificate": "a TLS certificate"}


class Auth(Layer):
    """Lets through messages and streams of peers that have authenticated; others are answered ``unauthenticated``.

    A peer authenticates by a call of ``method``, which :attr:`router` serves: include it in yours, without a prefix.
    What stands inside of this in the chain is not asked about that call. Or it does so by the metadata
    ``authorization`` beside any message; or by its TLS certificate. Then ``ctx.peer.identity`` is who
    it is, until that expires or the connection ends. ``schemes``: judge what it shows; of those for the same kind of
    credential the first one that knows it. ``public``: methods, or patterns like ``"/public/*"``, that need no identity
    (a fallback is called ``"(fallback)"``). ``attempts``: that many failures in a row on one connection close it.
    Raises ValueError or TypeError for an option.
    """

    outgoing = False

    def __init__(
        self,
        *schemes: Scheme,
        method: str = "/auth",
        public: Iterable[str] = (),
        attempts: int = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(cast(object, attempts), int) or attempts < 1:
            raise ValueError(f"attempts is a number above 0, not {attempts!r}")
        if not schemes:
            raise TypeError("Auth needs a scheme, such as Tokens({...})")
        self._schemes: dict[str, list[Scheme]] = {}
        for scheme in schemes:
            if isinstance(scheme, type) or not hasattr(scheme, "accepts"):
                raise TypeError(f"a scheme is an object with accepts and authenticate, not {scheme!r}")
            self._schemes.setdefault(scheme.accepts, []).append(scheme)
        self.method = method
        self._public = matching(public, "public")
        self._attempts = attempts
        self._clock = clock
        self._by_peer = attempts_by_peer()
        self._closing: set[asyncio.Task[None]] = set()
        kinds = " or ".join(_NAMES.get(kind, f"{kind!r}") for kind in self._schemes)
        self._hint = f"authenticate first: call {method} with {kinds}"
        self.router = Router()
        """Serves :attr:`method`; its body and its answer are JSON whatever the codec of the connection."""
        self.router.handle(method, codec="json")(self._not_around)

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.method == self.method and target.kind == "message":
            # What stands inside, a cache or a limit by identity, is for those who have one.
            return lambda ctx: self._answer(ctx.body, ctx)
        if self._public(target.method):
            return call_next
        clock = self._clock

        def authenticated(ctx: Context) -> Coroutine[Any, Any, Any]:
            identity = ctx.peer.identity
            if (
                identity is None
                or KEY in ctx.metadata
                or (identity.expires is not None and identity.expires <= clock())
            ):
                return self._admit(ctx, call_next)
            return call_next(ctx)

        return authenticated

    async def _admit(self, ctx: Context, call_next: Next) -> Any:
        """As the layer does, where there is something to find out first."""
        attempts = self._attempts_of(ctx.peer)
        if KEY in ctx.metadata:
            await self._by_metadata(ctx, attempts, ctx.metadata[KEY])
        elif self._current(ctx.peer, attempts) is None and not await self._by_certificate(ctx, attempts):
            self._refuse(ctx, attempts)
        return await call_next(ctx)

    async def _not_around(self, body: bytes, ctx: Context) -> dict[str, Any]:
        """The handler of :attr:`router`, to which nothing comes where this stands around it."""
        log.error("%s is served, and its Auth stands around nothing: write middleware=[auth], too", ctx.method)
        raise refusal(ctx, "authentication is not set up here", Code.INTERNAL)

    async def _answer(self, body: bytes, ctx: Context) -> dict[str, Any]:
        """Serves the method by which peers authenticate."""
        try:
            credential = parse_body(body)
        except ValueError as error:
            raise refusal(ctx, str(error), Code.INVALID_ARGUMENT) from None
        attempts = self._attempts_of(ctx.peer)
        async with attempts.lock:
            identity = await self._judge(ctx, attempts, credential)
            ctx.peer.identity = identity
            attempts.accept(None)
        answer: dict[str, Any] = {"name": identity.name, "roles": sorted(identity.roles)}
        if identity.expires is not None:
            answer["expires_in"] = round(identity.expires - self._clock(), 3)
        return answer

    async def _by_metadata(self, ctx: Context, attempts: Attempts, authorization: object) -> None:
        """One connection is one peer: what comes beside a message may renew its identity, and not change its name."""
        peer = ctx.peer
        async with attempts.lock:
            current = self._current(peer, attempts)
            if current is not None and attempts.is_accepted(authorization):
                return
            try:
                credential = parse_authorization(authorization)
            except ValueError as error:
                raise refusal(ctx, f"the metadata {KEY}: {error}", Code.INVALID_ARGUMENT) from None
            identity = await self._judge(ctx, attempts, credential)
            if current is not None and current.name != identity.name:
                text = f"this connection has authenticated as somebody else: call {self.method}, or connect once more"
                raise refusal(ctx, text, Code.FAILED_PRECONDITION)
            peer.identity = identity
            attempts.accept(cast(str, authorization))

    async def _by_certificate(self, ctx: Context, attempts: Attempts) -> bool:
        """Whether the connection's certificate gives it an identity, which is found out once."""
        peer = ctx.peer
        if "certificate" not in self._schemes or peer.certificate is None:
            return False
        async with attempts.lock:
            if self._current(peer, attempts) is not None:  # another message has seen to it
                return True
            if attempts.expired:  # who was somebody by a token does not become somebody else when that ends
                return False
            if not attempts.certificate_judged:
                try:
                    peer.identity = await self._ask(ctx, Credential("certificate"))
                except RpcError as error:
                    if error.code == Code.UNAUTHENTICATED:
                        attempts.certificate_judged = True
                        log.warning("the certificate of %s gives it no identity", peer.address)
                    raise
                attempts.certificate_judged = True
            return peer.identity is not None

    async def _judge(self, ctx: Context, attempts: Attempts, credential: Credential) -> Identity:
        """Whose credential it is. Failures are counted and logged; the last one closes the connection.

        An attempt counts when it begins, or one that is cancelled would cost nothing.
        """
        if attempts.failures >= self._attempts:
            ctx.on_end(self._close)
            raise refusal(ctx, "too many attempts have failed on this connection", Code.UNAUTHENTICATED)
        attempts.failures += 1
        try:
            identity = await self._ask(ctx, credential)
            attempts.failures = 0
            return identity
        except RpcError as error:
            if error.code != Code.UNAUTHENTICATED:
                attempts.failures -= 1
                raise
            kind = credential.scheme if credential.scheme in self._schemes else "something else"
            user = f" as {credential.user[:64]!r}" if credential.user else ""
            count = f"{attempts.failures} of {self._attempts}"
            log.warning("%s failed to authenticate by %s%s, attempt %s", ctx.peer.address, kind, user, count)
            if attempts.failures < self._attempts:
                raise
            ctx.on_end(self._close)
            raise refusal(ctx, f"{error}; that was the last attempt here", Code.UNAUTHENTICATED) from None

    async def _ask(self, ctx: Context, credential: Credential) -> Identity:
        """Asks the schemes. RpcError: ``unauthenticated`` if the credential proves nothing."""
        refused = RpcError("the credentials are not accepted", Code.UNAUTHENTICATED)
        for scheme in self._schemes.get(credential.scheme, ()):
            try:
                identity = cast(object, await scheme.authenticate(credential, ctx))
                if isinstance(identity, Identity):
                    return identity
                if identity is not None:
                    raise TypeError(f"it returned a {type(identity).__name__}, not an Identity or None")
            except RpcError as error:
                if error.code != Code.UNAUTHENTICATED:
                    raise
                refused = error
            except Exception as error:
                log.error("%s failed: %s", type(scheme).__name__, _without_secrets(error, credential))
                raise refusal(ctx, "credentials cannot be checked now: try again", Code.UNAVAILABLE) from None
        raise refused

    def _attempts_of(self, peer: Peer) -> Attempts:
        attempts = self._by_peer.get(peer)
        if attempts is None:
            attempts = self._by_peer[peer] = Attempts()
        return attempts

    def _current(self, peer: Peer, attempts: Attempts) -> Identity | None:
        """The identity of a connection, which ends here if it has expired."""
        identity = peer.identity
        if identity is not None and identity.has_ended(self._clock()):
            peer.identity = identity = None
            attempts.expired = True
        return identity

    def _refuse(self, ctx: Context, attempts: Attempts) -> NoReturn:
        if ctx.kind == "notify" and not attempts.notifies_dropped:
            attempts.notifies_dropped = True
            log.warning("%s sends notifies and has not authenticated: they are dropped", ctx.peer.address)
        why = "what this connection has authenticated with has expired: " if attempts.expired else ""
        raise refusal(ctx, why + self._hint, Code.UNAUTHENTICATED)

    def _close(self, ctx: Context, error: BaseException | None, size: int) -> None:
        """Closes the connection when the answer, which is written after this, is on its way.

        Not by loop.create_task: a task factory may start the task at once. In a context of its own, since it belongs to
        no message.
        """
        peer = ctx.peer
        task = asyncio.Task(peer.close(), loop=peer.loop, context=contextvars.Context())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _without_secrets(error: Exception, credential: Credential) -> str:
    """The traceback of a scheme's error: texts of errors love to quote what they were given."""
    text = "".join(traceback.format_exception(error))
    for secret in credential.token, credential.password:
        for written in {secret, repr(secret)[1:-1]} - {""}:
            text = text.replace(written, "(secret)")
    return text
