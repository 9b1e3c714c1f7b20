"""Spans of OpenTelemetry. Needs the extra ``tracing``, loaded when one is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from arpc.codes import Code
from arpc.context import Context
from arpc.errors import RpcError
from arpc.middleware import FALLBACK, Layer, Next, Target
from arpc.outgoing import Outgoing

if TYPE_CHECKING:
    from opentelemetry.context import Context as Variables
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Tracing"]

CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.45.0"
SYSTEM: Final = "arpc"

OURS: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
        Code.OVERLOADED,
    }
)
"""Codes that are errors of a server's span; the others, yours among them, are the caller's fault. As for gRPC."""


class Tracing(Layer):
    """A span for each message: SERVER around a handler, CLIENT around what goes out; for a stream, all of its life.

    ``tracer_provider``: None is OpenTelemetry's global one. ``propagator``: carries the context from side to side, in
    metadata; None is the global one (W3C trace context and baggage, unless ``OTEL_PROPAGATORS`` says otherwise).
    Towards a peer that takes no metadata the trace ends, and nothing fails.

    The span of a handler is the current one in it, in its tasks and its thread: spans made there, and what is sent from
    there, are its children. A message that brings no context begins a trace.

    Names and attributes are those of the semantic conventions for RPC, version 1.45.0: the span has the name of the
    method (``arpc`` for a fallback); ``rpc.system.name``, ``rpc.method`` (``_OTHER`` for a fallback, and what was
    called in ``rpc.method_original``), ``rpc.status_code`` (``ok``, or of :class:`~arpc.Code`), ``error.type`` (the
    same, if it is an error), ``network.peer.address``, ``network.peer.port``, and for what goes out ``server.address``,
    ``server.port``; beside them ``arpc.kind``: call, notify, stream. The status is an error for every code of what goes
    out, and for a handler where the server is to blame; an exception that was no answer is recorded with its traceback,
    in the span alone.

    Raises ImportError if opentelemetry-api is not installed.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, *, propagator: TextMapPropagator | None = None
    ) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError as error:
            text = "Tracing needs the extra tracing of arpc, or else: pip install opentelemetry-api"
            raise ImportError(text, name=error.name) from error
        self._tracer = trace.get_tracer("arpc", tracer_provider=tracer_provider, schema_url=CONVENTIONS)
        carrying: Any = propagate if propagator is None else propagator
        self._inject: Callable[[dict[str, str], Variables], None] = carrying.inject
        self._extract: Callable[[dict[str, str], Variables], Variables] = carrying.extract
        self._nothing = context.Context()
        self._context = context
        self._trace = trace

    def wrap(self, call_next: Next, target: Target) -> Next:
        return self._around_sending(call_next, target) if target.outgoing else self._around_handler(call_next, target)

    def _around_sending(self, call_next: Next, target: Target) -> Next:
        start, inject, within = self._tracer.start_span, self._inject, self._trace.set_span_in_context
        method, kind = target.method, self._trace.SpanKind.CLIENT

        def traced(ctx: Context) -> Coroutine[Any, Any, Any]:
            attributes = {**_called(ctx.peer.address), "rpc.method": method, "arpc.kind": ctx.kind}
            span = start(method, kind=kind, attributes=attributes)
            ctx.on_end(self._end, span)
            carrier: dict[str, str] = {}
            inject(carrier, within(span))
            for key, value in carrier.items():
                cast(Outgoing, ctx).attach(key, value)
            return call_next(ctx)

        return traced

    def _around_handler(self, call_next: Next, target: Target) -> Next:
        start, within = self._tracer.start_span, self._trace.set_span_in_context
        attach, detach = self._context.attach, self._context.detach
        name, kind, nothing = target.method, self._trace.SpanKind.SERVER, self._nothing
        named = {"rpc.method": name}
        if name == FALLBACK:
            name, named = SYSTEM, {"rpc.method": "_OTHER"}

        async def traced(ctx: Context) -> Any:
            attributes = {**_calling(ctx.peer.address), **named, "arpc.kind": ctx.kind}
            if name is SYSTEM:
                attributes["rpc.method_original"] = ctx.method
            parent = self._context_of(ctx.metadata)
            span = start(name, parent, kind=kind, attributes=attributes)
            if parent is nothing and not span.get_span_context().is_valid:
                return await call_next(ctx)  # without an SDK: to make nothing current would cost a Task
            ctx.on_end(self._end, span)
            token = attach(within(span, parent))
            try:
                result = await call_next(ctx)
            except GeneratorExit:
                raise  # a handler that is thrown away is closed in whatever context; its own goes with it
            except BaseException:
                detach(token)
                raise
            detach(token)
            return result

        return traced

    def _context_of(self, metadata: Mapping[str, Any]) -> Variables:
        """The context of a message's caller, with nothing of that in which ``serve`` was called."""
        if not metadata:
            return self._nothing
        # The other side may have put anything in there, and a propagator expects texts.
        carrier = {key: value for key, value in metadata.items() if isinstance(value, str)}
        return self._extract(carrier, self._nothing)

    def _end(self, ctx: Context, error: BaseException | None, size: int, span: Span) -> None:
        if span.is_recording():
            if error is None:
                span.set_attribute("rpc.status_code", "ok")
            else:
                self._end_with_error(ctx, error, span)
        span.end()

    def _end_with_error(self, ctx: Context, error: BaseException, span: Span) -> None:
        code = str(ctx.code_of(error))
        span.set_attribute("rpc.status_code", code)
        if not (ctx.outgoing or code in OURS):
            return
        span.set_attribute("error.type", code)
        span.set_status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {error}")
        if not (ctx.outgoing or isinstance(error, (RpcError, asyncio.CancelledError))):
            span.record_exception(error)


@lru_cache(1024)
def _calling(address: str) -> Mapping[str, Any]:
    """Attributes of a span whose caller has this address."""
    place, port = _place(address)
    return {
        "rpc.system.name": SYSTEM,
        "network.peer.address": place,
        **({} if port is None else {"network.peer.port": port}),
    }


@lru_cache(1024)
def _called(address: str) -> Mapping[str, Any]:
    """Attributes of a span that calls this address."""
    place, port = _place(address)
    return {
        **_calling(address),
        "server.address": place,
        **({} if port is None else {"server.port": port}),
    }


def _place(address: str) -> tuple[str, int | None]:
    """Host and port of an address like ``tcp://[::1]:9000``; what follows the scheme of another."""
    rest = address.partition("://")[2] or address
    host, _, port = rest.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else (rest, None)
