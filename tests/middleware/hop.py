"""A process that serves one method, which calls the next one.

python -m tests.middleware.hop <method> <next address> <next method>

It prints its address, and at the end of its input the spans that it has made, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import arpc
from arpc.middleware import Tracing
from tests.tools import eventually


class Spans:
    """A provider and what its spans were."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def __call__(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if kind in (None, span.kind)]

    async def served(self, count: int = 1) -> list[ReadableSpan]:
        """Those of handlers, of which there are to be so many."""
        await eventually(lambda: len(self(SpanKind.SERVER)) >= count)
        return self(SpanKind.SERVER)


async def main(method: str, address: str, following: str) -> None:
    spans = Spans()
    tracing, router = Tracing(spans.provider), arpc.Router()
    async with arpc.connect(address, outgoing=[tracing]) as peer:

        @router.handle(method)
        async def hop(number: int) -> Any:
            with spans.tracer.start_as_current_span(f"work of {method}"):
                await asyncio.sleep(0)
                return await peer.call(following, number + 1)

        async with arpc.serve("tcp://127.0.0.1:0", router, middleware=[tracing]) as server:
            print(server.address, flush=True)  # noqa: T201
            await asyncio.to_thread(sys.stdin.read)
    print(json.dumps([json.loads(span.to_json()) for span in spans()]))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
