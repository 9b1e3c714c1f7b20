"""A process that serves one method, which calls the next one: ``python hop.py <method> <next address> <next method>``.

It prints its address, and at the end of its input the spans that it has made, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import arpc
from arpc.middleware import Tracing


async def main(method: str, address: str, following: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing, router = Tracing(provider), arpc.Router()
    async with arpc.connect(address, outgoing=[tracing]) as peer:

        @router.handle(method)
        async def hop(number: int) -> Any:
            with provider.get_tracer("test").start_as_current_span(f"work of {method}"):
                await asyncio.sleep(0)
                return await peer.call(following, number + 1)

        async with arpc.serve("tcp://127.0.0.1:0", router, middleware=[tracing]) as server:
            print(server.address, flush=True)  # noqa: T201
            await asyncio.to_thread(sys.stdin.read)
    print(json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()]))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
