"""Spans, as the real SDK exports them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import arpc
from arpc.middleware import Target, Tracing
from tests.middleware.hop import Spans
from tests.tools import eventually


@pytest.fixture
def spans(caplog: pytest.LogCaptureFixture) -> Iterator[Spans]:
    yield Spans()
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")]
    assert logged == []  # such as "Failed to detach context"


def ids(span: ReadableSpan) -> tuple[int, int | None]:
    assert span.context is not None
    return span.context.span_id, None if span.parent is None else span.parent.span_id


def router(spans: Spans) -> arpc.Router:
    made = arpc.Router()

    @made.handle("/own")
    async def own() -> None:
        with spans.tracer.start_as_current_span("own"):
            await asyncio.sleep(0)

    @made.handle("/plain")
    def plain() -> str:
        return baggage_of("user")

    @made.handle("/thread", threaded=True)
    def thread() -> None:
        spans.tracer.start_span("own").end()

    @made.handle("/task")
    async def task() -> None:
        async def work() -> None:
            spans.tracer.start_span("own").end()

        await asyncio.create_task(work())

    @made.handle("/fail")
    async def fail(code: str | None) -> None:
        raise arpc.RpcError("not so", code)

    @made.handle("/raise")
    async def crash() -> None:
        raise ZeroDivisionError("secret")

    @made.handle("/sleep")
    async def sleep() -> None:
        await asyncio.sleep(60)

    @made.handle("/back")
    async def back(ctx: arpc.Context) -> None:
        await ctx.peer.call("/own")

    @made.stream("/count")
    async def count(stream: arpc.Stream[int, int]) -> None:
        async for number in stream:
            with spans.tracer.start_as_current_span("own"):
                await stream.send(number + 1)

    @made.handle("/metadata")
    async def metadata(ctx: arpc.Context) -> dict[str, Any]:
        return dict(ctx.metadata)

    @made.fallback
    async def anything(body: bytes) -> bytes:
        return body

    return made


def baggage_of(key: str) -> str:
    return str(baggage.get_baggage(key))


@pytest.mark.parametrize("method", ["/own", "/thread", "/task"])
async def test_what_a_handler_makes_is_below_its_span(spans: Spans, method: str) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        with spans.tracer.start_as_current_span("above"):
            await peer.call(method)
        (served,) = await spans.served()
    above, called, own = (next(s for s in spans() if s.name == n) for n in ("above", method, "own"))
    (called,) = spans(SpanKind.CLIENT)
    assert ids(above)[1] is None
    assert ids(called)[1] == ids(above)[0]
    assert ids(served)[1] == ids(called)[0]
    assert ids(own)[1] == ids(served)[0]
    assert len({span.context.trace_id for span in spans() if span.context}) == 1


async def test_names_and_attributes_over_tcp(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("tcp://127.0.0.1:0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        await peer.call("/own")
        await peer.notify("/own")
        await spans.served(2)
        await peer.call("/any", b"x", returns=bytes)
        served = await spans.served(3)
        (accepted,) = server.peers
        port, client = (int(address.rpartition(":")[2]) for address in (server.address, accepted.address))
    called = spans(SpanKind.CLIENT)
    common = {"rpc.system.name": "arpc", "rpc.status_code": "ok", "network.peer.address": "127.0.0.1"}
    ours = {**common, "network.peer.port": port, "server.address": "127.0.0.1", "server.port": port}
    theirs = {**common, "network.peer.port": client}
    assert [(span.name, dict(span.attributes or {})) for span in called] == [
        ("/own", {**ours, "rpc.method": "/own", "arpc.kind": "call"}),
        ("/own", {**ours, "rpc.method": "/own", "arpc.kind": "notify"}),
        ("/any", {**ours, "rpc.method": "/any", "arpc.kind": "call"}),
    ]
    assert [(span.name, dict(span.attributes or {})) for span in served] == [
        ("/own", {**theirs, "rpc.method": "/own", "arpc.kind": "call"}),
        ("/own", {**theirs, "rpc.method": "/own", "arpc.kind": "notify"}),
        ("arpc", {**theirs, "rpc.method": "_OTHER", "rpc.method_original": "/any", "arpc.kind": "call"}),
    ]
    assert {span.instrumentation_scope.name for span in called + served if span.instrumentation_scope} == {"arpc"}
    assert {span.status.status_code for span in called + served} == {StatusCode.UNSET}


async def test_a_stream_is_one_span_at_each_side(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        async with peer.open_stream("/count", returns=int) as stream:
            for number in range(3):
                await stream.send(number)
                await stream.recv()
            assert spans(SpanKind.SERVER) == spans(SpanKind.CLIENT) == []
            await stream.end()
        (served,) = await spans.served()
        await eventually(lambda: spans(SpanKind.CLIENT))
    (called,) = spans(SpanKind.CLIENT)
    own = [span for span in spans() if span.name == "own"]
    assert {ids(span)[1] for span in own} == {ids(served)[0]}
    assert len(own) == 3
    assert ids(served)[1] == ids(called)[0]
    assert (called.attributes or {})["arpc.kind"] == (served.attributes or {})["arpc.kind"] == "stream"
    assert "server.port" not in (called.attributes or {})  # mem:// has none


@pytest.mark.parametrize(
    ("method", "code", "blamed"),
    [("/fail", "not_found", False), ("/fail", "unavailable", True), ("/fail", "of my own", False)],
)
async def test_errors_that_are_answers(spans: Spans, method: str, code: str, blamed: bool) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        with pytest.raises(arpc.RemoteError):
            await peer.call(method, code)
        (served,) = await spans.served()
    (called,) = spans(SpanKind.CLIENT)
    for span, error in (called, True), (served, blamed):
        attributes = span.attributes or {}
        assert attributes["rpc.status_code"] == code
        assert attributes.get("error.type") == (code if error else None)
        assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
        assert span.events == ()
    assert called.status.description == "RemoteError: not so"


async def test_an_exception_is_recorded_where_it_was_raised_alone(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        with pytest.raises(arpc.RemoteError, match=r"^internal error$"):
            await peer.call("/raise")
        (served,) = await spans.served()
    (called,) = spans(SpanKind.CLIENT)
    (event,) = served.events
    assert "ZeroDivisionError: secret" in str((event.attributes or {})["exception.stacktrace"])
    assert served.status.description == "ZeroDivisionError: secret"
    assert "secret" not in called.to_json()
    assert (called.attributes or {})["error.type"] == (served.attributes or {})["error.type"] == "internal"


async def test_a_call_that_is_given_up(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
    async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/sleep", timeout=0.05)
        call = asyncio.create_task(peer.call("/sleep"))
        await peer.call("/own")  # so that it has been sent
        call.cancel()
        await asyncio.wait([call])
        served = await spans.served(3)
    assert codes(spans(SpanKind.CLIENT)) == ["deadline_exceeded", "ok", "cancelled"]
    assert codes(served) in (["deadline_exceeded", "ok", "cancelled"], ["cancelled", "ok", "cancelled"])


async def test_calls_back_on_the_same_connection(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing], outgoing=[tracing])
    async with (
        serving as server,
        arpc.connect(server.address, router(spans), middleware=[tracing], outgoing=[tracing]) as peer,
    ):
        await peer.call("/back")
        await spans.served(2)
    parents = dict(map(ids, spans()))
    assert len(parents) == 5
    assert depth(parents) == 5


def codes(made: list[ReadableSpan]) -> list[Any]:
    return [(span.attributes or {})["rpc.status_code"] for span in made]


def depth(parents: dict[int, int | None]) -> int:
    """How deep a tree is; AssertionError if it is not one."""
    assert list(parents.values()).count(None) == 1
    deepest = 0
    for span in parents:
        steps, at = 0, span
        while at is not None:
            steps, at = steps + 1, parents[at]  # type: ignore[assignment]
            assert steps <= len(parents)
        deepest = max(deepest, steps)
    return deepest


async def test_a_message_without_context_begins_a_trace(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("start-up"):
        serving = arpc.serve("mem://0", router(spans), middleware=[Tracing(spans.provider)])
        async with serving as server, arpc.connect(server.address) as peer:
            await peer.call("/own")
            (served,) = await spans.served()
    assert served.parent is None


async def test_baggage_travels_with_the_global_propagator_and_not_with_one_that_has_none(spans: Spans) -> None:
    token = context.attach(baggage.set_baggage("user", "ann"))
    try:
        for propagator, seen in (None, "ann"), (CompositePropagator([]), "None"):
            tracing = Tracing(spans.provider, propagator=propagator)
            serving = arpc.serve("mem://0", router(spans), middleware=[tracing])
            async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as peer:
                assert await peer.call("/plain", returns=str) == seen
    finally:
        context.detach(token)


async def test_w3c_headers_are_beside_what_the_caller_said(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    async with (
        arpc.serve("mem://0", router(spans)) as server,
        arpc.connect(server.address, outgoing=[tracing]) as peer,
    ):
        found = await peer.call("/metadata", metadata={"tenant": "x"})
    (called,) = spans(SpanKind.CLIENT)
    assert called.context is not None
    start = f"00-{called.context.trace_id:032x}-{called.context.span_id:016x}-"
    assert found.keys() == {"tenant", "traceparent"}
    assert found["traceparent"].startswith(start)
    assert int(found["traceparent"].removeprefix(start), 16) & 1  # it is sampled


@pytest.mark.parametrize("value", [1, b"x", ["00"], {"a": 1}, None, "", "=;,", "a=" + "b" * 9000])
@pytest.mark.parametrize("traceparent", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_bad_contexts_harm_nothing(spans: Spans, traceparent: str, value: Any) -> None:
    serving = arpc.serve("mem://0", router(spans), middleware=[Tracing(spans.provider)])
    async with serving as server, arpc.connect(server.address) as peer:
        await peer.call("/own", metadata={"traceparent": traceparent, "tracestate": "?", "baggage": value})
        (served,) = await spans.served()
    assert served.parent is None


async def test_towards_a_peer_without_metadata_the_trace_ends(spans: Spans) -> None:
    tracing = Tracing(spans.provider)
    serving = arpc.serve("mem://0", router(spans), middleware=[tracing], extensions=False)
    async with serving as server, arpc.connect(server.address, outgoing=[tracing], hello_timeout=0.01) as peer:
        await peer.call("/own")
        (served,) = await spans.served()
    assert served.parent is None


async def test_without_an_sdk_a_context_is_handed_on_and_none_is_made(spans: Spans) -> None:
    idle = Tracing(trace.NoOpTracerProvider())
    serving = arpc.serve("mem://0", router(spans), middleware=[idle], outgoing=[idle])
    async with (
        serving as server,
        arpc.connect(server.address, router(spans), middleware=[Tracing(spans.provider)]) as peer,
    ):
        await peer.call("/back")
        (alone,) = await spans.served()
        await peer.call("/back", metadata={"traceparent": f"00-{5:032x}-{7:016x}-01"})
        _, below = await spans.served(2)
    assert alone.parent is None
    assert ids(below)[1] == 7


async def test_what_is_not_sampled_is_not_made_and_not_sampled_further_on(spans: Spans) -> None:
    unsampled = Tracing(TracerProvider(sampler=ALWAYS_OFF))
    serving = arpc.serve("mem://0", router(spans), middleware=[Tracing(spans.provider)])
    async with serving as server, arpc.connect(server.address, outgoing=[unsampled]) as peer:
        await peer.call("/own")
        with pytest.raises(arpc.RemoteError):
            await peer.call("/raise")
        found = await peer.call("/metadata")
    assert not int(found["traceparent"].rpartition("-")[2], 16) & 1
    assert spans() == []


async def test_a_handler_that_is_thrown_away_is_closed_quietly(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def waits(ctx: arpc.Context) -> None:
        await asyncio.get_running_loop().create_future()

    traced = Tracing(spans.provider).wrap(waits, Target("/x", "message", False, bytes))
    handler = traced(Forgotten())  # type: ignore[arg-type]
    copy_context().run(handler.send, None)
    handler.close()
    assert trace.get_current_span() is trace.INVALID_SPAN


class Forgotten:
    """The context of a message, as far as it takes one here."""

    class peer:
        address = "mem://1"

    kind = "call"
    metadata: dict[str, Any] = {}  # noqa: RUF012

    def on_end(self, observer: Any, *args: Any) -> None: ...


def test_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match="Tracing needs the extra tracing of arpc, or else: pip install"):
        Tracing()
