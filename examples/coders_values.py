"""Values beside the body by coders, as Go's arpc carries them; between two Pythons `metadata=` needs none of these.

python -m examples.coders_values
"""

from __future__ import annotations

from typing import Any

import arpc
from arpc.coders import Appender, Coder, MsgpackValues, OpenTracing, SpanContext

router = arpc.Router()


@router.handle("/order")
async def order(what: str, ctx: arpc.Context) -> str:
    print(f"  the server sees {dict(ctx.metadata)}")
    ctx.answer_metadata["user"] = "Bob"
    return f"{what} for {ctx.metadata['user']}"


async def ask(name: str, coders: list[Coder], metadata: dict[str, Any]) -> None:
    """``extensions=False``: as with a Go program, which knows no metadata but what coders carry."""
    print(name)
    async with (
        arpc.serve("tcp://127.0.0.1:0", router, coders=coders, extensions=False) as server,
        arpc.connect(server.address, coders=coders, extensions=False) as peer,
    ):
        beside: dict[str, Any] = {}  # takes what comes beside the answer
        try:
            answer = await peer.call("/order", "tea", returns=str, metadata=metadata, answer_metadata=beside)
            print(f"  the caller gets {answer!r}, and beside it {beside}")
        except arpc.LocalProtocolError as error:
            print(f"  not sent: {error}")


async def main() -> None:
    # One named value on a bit of its own, as bytes of your choice: Go's coder.NewAppender("user", 3, ...).
    user = Appender("user", 3, str.encode, bytes.decode)
    await ask("Appender", [user], {"user": "Ann"})

    # The context of a span: Go's tracing.NewTracer(...) reads it.
    span = SpanContext(trace_id=7, span_id=1, sampled=True, baggage={"tier": "gold"})
    await ask("Appender and OpenTracing", [user, OpenTracing()], {"user": "Ann", "arpc-opentracing": span})

    # Everything that MessagePack can say, without a bit: both sides must have it, as Go's msgpack.New().
    await ask("MsgpackValues", [MsgpackValues()], {"user": "Ann", "table": 4, "extras": ["milk", "sugar"]})

    await ask("A value that no coder carries", [user], {"user": "Ann", "table": 4})


if __name__ == "__main__":
    arpc.run(main())
