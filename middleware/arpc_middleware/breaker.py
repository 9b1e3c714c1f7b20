"""Leaves alone for a while what fails again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from weakref import WeakKeyDictionary, ref

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import CallRefused, RemoteError
from arpc.middleware import Layer, Next, Target, refusal
from arpc.options import is_time

from .circuit import Circuit, State
from .refusing import EARLY

if TYPE_CHECKING:
    from arpc.peer import Peer

__all__ = ["CircuitBreaker"]

log = logging.getLogger("arpc")

METHODS: Final = 4096
"""Methods whose circuits are kept."""

_FAILURES: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL})


class CircuitBreaker(Layer):
    """Refuses calls of what has failed ``failures`` times in a row, until a trial call has succeeded.

    Closed, it lets everything through. When so many calls in a row have failed, the first of them no more than
    ``window`` seconds ago, it opens: calls are refused with the code ``unavailable``. After ``reset`` seconds it is
    half open: ``trial`` calls at a time are let through. The first that succeeds closes it, the first that fails opens
    it for ``reset`` seconds more; one that is cancelled, or says nothing about the other side, gives its place back.

    ``per``: a circuit for each ``"method"``, or for each ``"peer"``: a server that calls many clients takes the latter.
    ``counts``: whether an error, asked with the context, is a failure; by default those with the codes ``unavailable``,
    ``deadline_exceeded`` and ``internal``, a CallTimeout and a ConnectionClosed. A handler that its caller's deadline
    has ended has not failed, whatever ``counts`` says. ``on_change``: called with the method
    or peer and the new state, ``"closed"``, ``"open"`` or ``"half-open"``; what it raises is logged.

    It stands on both sides: around a handler it gives what that depends on time to recover. Streams pass; so do
    notifies that go out, since nobody learns how they fare.
    """

    def __init__(
        self,
        failures: int = 5,
        *,
        window: float = 10.0,
        reset: float = 30.0,
        trial: int = 1,
        per: Literal["method", "peer"] = "method",
        counts: Callable[[Context, BaseException], bool] | None = None,
        on_change: Callable[[str | Peer, State], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name, function in (("counts", counts), ("on_change", on_change)):
            if function is not None and not callable(cast(object, function)):
                raise TypeError(f"{name} is a function, not {function!r}")
        for name, count in (("failures", failures), ("trial", trial)):
            if isinstance(count, bool) or not isinstance(cast(object, count), int) or count < 1:
                raise ValueError(f"{name} is a whole number of 1 or more, not {count!r}")
        for name, seconds in (("window", window), ("reset", reset)):
            if not is_time(seconds):
                raise ValueError(f"{name} is seconds above 0, not {seconds!r}")
        if per not in ("method", "peer"):
            raise ValueError(f'per is "method" or "peer", not {per!r}')
        self._failures = failures
        self._window = window
        self._reset = reset
        self._trial = trial
        self._per = per
        self._counts = counts or _is_failure
        self._on_change = on_change
        self._clock = clock
        self._methods: dict[str, Circuit] = {}
        self._peers: WeakKeyDictionary[Peer, Circuit] = WeakKeyDictionary()

    def state(self, of: str | Peer) -> State:
        """Of the circuit of a method, or with ``per="peer"`` of a peer: ``"closed"``, ``"open"`` or ``"half-open"``."""
        circuit = self._methods.get(of) if isinstance(of, str) else self._peers.get(of)
        return "closed" if circuit is None else circuit.state

    def wrap(self, call_next: Next, target: Target) -> Next:
        if target.kind == "stream":
            return call_next
        if self._per == "peer":

            def guarded_by_peer(ctx: Context) -> Coroutine[Any, Any, Any]:
                circuit = self._peers.get(ctx.peer)
                if circuit is None:
                    circuit = self._peers[ctx.peer] = self._circuit(ref(ctx.peer))
                return self._guarded(call_next, ctx, circuit)

            return guarded_by_peer
        method = target.method

        def guarded_by_method(ctx: Context) -> Coroutine[Any, Any, Any]:
            circuit = self._methods.get(method)
            return self._guarded(call_next, ctx, self._added(method) if circuit is None else circuit)

        return guarded_by_method

    def _added(self, method: str) -> Circuit:
        """A new circuit. Of too many those that are closed are forgotten, and then the oldest."""
        if len(self._methods) >= METHODS:
            not_closed = [entry for entry in self._methods.items() if not entry[1].closed]
            self._methods = dict(not_closed[-METHODS // 2 :])
        circuit = self._methods[method] = self._circuit(lambda: method)
        return circuit

    def _circuit(self, of: Callable[[], str | Peer | None]) -> Circuit:
        def changed(state: State) -> None:
            subject = cast("str | Peer", of())  # which is there: a call to it changes its circuit
            name = str(subject)  # handlers of logs may keep what they are given, and are not to keep a peer
            log.warning("the circuit of %s is %s", name, state)
            if self._on_change is not None:
                try:
                    self._on_change(subject, state)
                except Exception:  # the application's own: the call goes on
                    log.exception("on_change of the circuit of %s failed", name)

        return Circuit(self._failures, self._window, self._reset, self._trial, changed, self._clock)

    async def _guarded(self, call_next: Next, ctx: Context, circuit: Circuit) -> Any:
        if ctx.outgoing and ctx.kind == "notify":
            return await call_next(ctx)
        if not circuit.admit():
            raise _refused(ctx, circuit)
        period = circuit.period
        try:
            result = await call_next(ctx)
        except BaseException as error:
            self._judge(ctx, error, circuit, period)
            raise
        circuit.succeeded(period)
        return result

    def _judge(self, ctx: Context, error: BaseException, circuit: Circuit, period: int) -> None:
        if not ctx.outgoing and (isinstance(error, asyncio.CancelledError) or _is_late(ctx)):
            circuit.left(period)  # the caller has chosen when: else any could shut a method to the others
        elif self._counts(ctx, error):
            circuit.failed(period)
        elif _was_answered(ctx, error):
            circuit.succeeded(period)
        else:
            circuit.left(period)


def _refused(ctx: Context, circuit: Circuit) -> Exception:
    done = "called" if ctx.outgoing else "served"
    if circuit.opened is None:
        text = f"{ctx.method} is not {done}: its circuit is half open, and a trial is under way; try again soon"
        return refusal(ctx, text, Code.UNAVAILABLE)
    text = (
        f"{ctx.method} is not {done}: its circuit is open for {circuit.age:.3g} s, after {circuit.failures} failures"
        f" in a row; try again in {circuit.wait:.3g} s"
    )
    return refusal(ctx, text, Code.UNAVAILABLE, retry_after=circuit.wait)


def _is_failure(ctx: Context, error: BaseException) -> bool:
    return ctx.code_of(error) in _FAILURES and not isinstance(error, CallRefused)  # which was not sent


def _is_late(ctx: Context) -> bool:
    """Whether the caller's deadline is over, to the rounding of the loop's timers."""
    left = ctx.remaining()
    return left is not None and left <= EARLY


def _was_answered(ctx: Context, error: BaseException) -> bool:
    """Whether an error that is no failure shows that there is somebody who answers."""
    return isinstance(error, RemoteError) if ctx.outgoing else isinstance(error, Exception)
