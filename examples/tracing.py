"""One trace over two services, printed as a tree. Needs the extra tracing, and opentelemetry-sdk.

python -m examples.tracing
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import arpc
from arpc.middleware import Tracing

exporter = InMemorySpanExporter()  # in a real program: one that sends to a collector
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("cafe")
tracing = Tracing(provider)

kitchen = arpc.Router()


@kitchen.handle("/oven")
async def oven(cake: str) -> str:
    return f"warm {cake}"


async def cafe(address: str) -> None:
    """Takes orders, and asks the kitchen."""
    router = arpc.Router()
    async with arpc.connect(address, outgoing=[tracing]) as kitchen:

        @router.handle("/order")
        async def order(cake: str) -> str:
            with tracer.start_as_current_span("bake"):
                await asyncio.sleep(0.001)
            return await kitchen.call("/oven", cake, returns=str)

        serving = arpc.serve("tcp://127.0.0.1:0", router, middleware=[tracing])
        async with serving as server, arpc.connect(server.address, outgoing=[tracing]) as guest:
            print(await guest.call("/order", "apple pie", returns=str))


def show(spans: Sequence[ReadableSpan], parent: int | None = None, depth: int = 0) -> None:
    """Those below ``parent``, the earliest first."""
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent and span.context is not None:
            print("  " * depth + span.kind.name, span.name)
            show(spans, span.context.span_id, depth + 1)


async def main() -> None:
    async with arpc.serve("tcp://127.0.0.1:0", kitchen, middleware=[tracing]) as server:
        await cafe(server.address)
    show(exporter.get_finished_spans())


if __name__ == "__main__":
    arpc.run(main())
