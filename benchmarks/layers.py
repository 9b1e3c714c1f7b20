"""What each middleware takes of its own where it has no work, in one process: with it and without it, in turn.

python -m benchmarks layers
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, Final

import arpc
from arpc.context import Context
from arpc.frame import REQUEST
from arpc.middleware import (
    Auth,
    BearerToken,
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Graceful,
    Hedge,
    LoadShed,
    Logger,
    Metrics,
    Middleware,
    Next,
    RateLimit,
    Recover,
    Require,
    Retry,
    Target,
    Timeout,
    Tokens,
    Tracing,
    Validate,
    compose,
)
from arpc.outgoing import Outgoing
from benchmarks.cpu import Elsewhere
from benchmarks.inprocess import Work, interleaved, introduction, parse, versions_of, write
from benchmarks.report.grids import Rows, piped, significant

PACKAGES: Final = ("arpc", "prometheus-client", "opentelemetry-api")
BARE: Final = "(none)"
TOKEN: Final = "the token of the benchmark"
METHOD: Final = "/person"

Made = dict[str, list[Middleware]]


async def through(ctx: Context, call_next: Next) -> Any:
    """A middleware that is a function, and does nothing."""
    return await call_next(ctx)


def around_handlers() -> Made:
    """By title; each has something to look at, and nothing to do."""
    registry = _registry()
    return {
        "an `async def` that does nothing": [through],
        "Recover": [Recover(lambda ctx, error: None)],
        "Logger, below its level": [Logger()],
        "Timeout": [Timeout(30)],
        "ConcurrencyLimit": [ConcurrencyLimit(1000)],
        "ConcurrencyLimit, per peer": [ConcurrencyLimit(1000, per="peer")],
        "RateLimit": [RateLimit(1e9)],
        "LoadShed": [LoadShed(max_inflight=1000)],
        "Validate": [Validate(1 << 20)],
        "Metrics": [Metrics(registry)],
        "Tracing, without an SDK": [Tracing()],
        "Auth": [_auth()],
        "Require": [Require("user")],
        "CircuitBreaker": [CircuitBreaker()],
        "Cache, another method": [Cache(60, methods=["/other"])],
        "Graceful": [Graceful()],
        "five: Logger, Timeout, ConcurrencyLimit, Metrics, Auth": [
            Logger(),
            Timeout(30),
            ConcurrencyLimit(1000),
            Metrics(registry, namespace="five"),
            _auth(),
        ],
    }


def around_calls(token: BearerToken) -> Made:
    """The same, of what goes out, ``token`` having authenticated."""
    return {
        "Logger, below its level": [Logger()],
        "Timeout": [Timeout(30)],
        "ConcurrencyLimit": [ConcurrencyLimit(1000)],
        "RateLimit": [RateLimit(1e9)],
        "Metrics": [Metrics(_registry())],
        "Tracing, without an SDK": [Tracing()],
        "Retry": [Retry()],
        "CircuitBreaker": [CircuitBreaker()],
        "Hedge, another method": [Hedge(1, methods=["/other"])],
        "Cache, another method": [Cache(60, methods=["/other"])],
        "BearerToken": [token],
    }


def _registry() -> Any:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


def _auth() -> Auth:
    return Auth(Tokens({TOKEN: arpc.Identity("benchmark", frozenset({"user"}))}))


async def _innermost(ctx: Context) -> bytes:
    return b"an answer"


def _run(chain: Next, make: Callable[[], Context]) -> Work:
    """One message through a chain, stepped as a runner does it."""

    def work() -> None:
        ctx = make()
        call: Coroutine[Any, Any, Any] = chain(ctx)
        try:
            call.send(None)
        except StopIteration:
            ctx.end(None, 9)
            return
        raise RuntimeError("a middleware waits, which is not what is measured here")

    return work


def _works(made: Made, make: Callable[[], Context], *, outgoing: bool) -> dict[str, Work]:
    target = Target(METHOD, "message", outgoing, bytes)
    chains = {title: compose(middleware, _innermost, target) for title, middleware in made.items()}
    return {BARE: _run(_innermost, make)} | {title: _run(chain, make) for title, chain in chains.items()}


async def measure(rounds: int, slice: float) -> dict[str, dict[str, float]]:
    """Seconds of a message by the side and by what is around it, the bare one among them."""
    logging.getLogger("arpc.messages").setLevel(logging.ERROR)
    auth, token = _auth(), BearerToken(TOKEN)
    router = arpc.Router()
    router.include(auth.router)
    router.handle(METHOD)(lambda: None)
    async with (
        arpc.serve("mem://0", router, middleware=[auth]) as server,
        arpc.connect(server.address, outgoing=[token]) as peer,
    ):
        await peer.call(METHOD)
        (accepted,) = server.peers
        frame = (REQUEST, 0, 0, 1, METHOD.encode(), b'{"name":"Ann"}')

        async def send(ctx: Any) -> bytes:
            return b""

        def incoming() -> Context:
            return Context(accepted, frame)

        def outgoing() -> Context:
            return Outgoing(peer, REQUEST, frame[4], frame[5], None, 30.0, send)

        return {
            "handlers": interleaved(_works(around_handlers(), incoming, outgoing=False), rounds, slice),
            "calls": interleaved(_works(around_calls(token), outgoing, outgoing=True), rounds, slice),
        }


def markdown(data: dict[str, Any]) -> str:
    """The report of a result file."""
    parts = introduction("Middleware", data, "what each adds to a message that it has nothing to do for")
    for side, title in (("handlers", "Around handlers"), ("calls", "Around calls")):
        seconds = data["seconds"][side]
        rows: Rows = [
            ["middleware", "microseconds of its own"],
            *(
                [name, significant((one - seconds[BARE]) * 1e6, 2) if one > seconds[BARE] else "0"]
                for name, one in seconds.items()
                if name != BARE
            ),
        ]
        parts += [f"## {title}", f"Without any: {significant(seconds[BARE] * 1e6, 2)}.", piped(rows)]
    return "\n\n".join(parts) + "\n"


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks layers`: 1 where a library is not installed that a middleware needs."""
    options = parse("layers", __doc__, argv)
    try:
        versions = versions_of(PACKAGES)
        began, elsewhere = monotonic(), Elsewhere(0)
        seconds = arpc.run(measure(options.repeat, options.slice))
    except ImportError as error:
        print(f"{error}: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    share = elsewhere.seconds() / (monotonic() - began)
    write("layers", argv, options, {"versions": versions, "elsewhere": share, "seconds": seconds}, markdown)
    return 0
