"""What the demo shows: each function does one thing with the café and checks what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import arpc

from .messages import Order, Question, Ready, Receipt, Till, Tip

Lines = list[tuple[str, str]]
"""Who said what."""


class Wrong(Exception):
    """Something came out otherwise than it must."""


def check(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Wrong(f"{what}: expected {expected!r}, got {got!r}")


class Guest:
    """The client: calls the café, and serves what the café calls here."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.ready: asyncio.Queue[Ready] = asyncio.Queue()
        self.router = arpc.Router()
        self.router.handle("/ask")(self.answer)
        self.router.handle("/ready")(self.take)

    async def answer(self, question: Question) -> str:
        self.questions.append(question)
        return question.choices[0]

    async def take(self, ready: Ready) -> None:
        self.ready.put_nowait(ready)


async def call_server(peer: arpc.Peer, guest: Guest) -> Lines:
    order = Order("Ann", "flat white", 2)
    receipt = await peer.call("/order", order, returns=Receipt)
    check("the receipt", receipt, Receipt(1, "2 x flat white for Ann", 760))
    return [("client calls", f"/order {order}"), ("server answers", f"{receipt}")]


async def call_client(peer: arpc.Peer, guest: Guest) -> Lines:
    receipt = await peer.call("/latte", "Ann", returns=Receipt)
    check("the server's questions", guest.questions, [Question("Which milk?", ["oat", "cow"])])
    check("the receipt", receipt, Receipt(2, "1 x latte with oat milk for Ann", 400))
    return [
        ("client calls", "/latte 'Ann'"),
        ("server calls", f"/ask {guest.questions[0]}"),
        ("client answers", "'oat'"),
        ("server answers", f"{receipt}"),
    ]


async def notify_server(peer: arpc.Peer, guest: Guest) -> Lines:
    tips = [Tip("Ann", 50), Tip("Bob", 20)]
    for tip in tips:
        await peer.notify("/tip", tip)
    counted = await peer.call("/tips", returns=list[Tip])
    check("the tips that the server took", counted, tips)
    return [*(("client notifies", f"/tip {tip}") for tip in tips), ("server has", f"{counted}, asked by a call")]


async def notify_client(peer: arpc.Peer, guest: Guest) -> Lines:
    await peer.call("/brew", 1)
    async with asyncio.timeout(5):
        ready = await guest.ready.get()
    check("what is ready", ready, Ready(1, "flat white"))
    return [("server notifies", f"/ready {ready}"), ("client has", f"{ready}")]


async def error(peer: arpc.Peer, guest: Guest) -> Lines:
    order = Order("Ann", "tea", 1)
    problem = await failure(arpc.RemoteError, peer.call("/order", order, returns=Receipt))
    check("the error's text", str(problem), "we have no tea")
    return [("client calls", f"/order {order}"), ("server raises", "RpcError"), ("client gets", named(problem))]


async def timeout(peer: arpc.Peer, guest: Guest) -> Lines:
    started = time.monotonic()
    problem = await failure(arpc.CallTimeout, peer.call("/roast", timeout=0.3))
    took = time.monotonic() - started
    check(f"that it took about 0.3 s ({took:.3f} s)", 0.3 <= took < 3, True)
    alive = await peer.ping(timeout=5)
    return [
        ("client calls", "/roast, timeout=0.3"),
        ("client gets", f"{named(problem)} ({took:.3f} s)"),
        ("then", f"the connection is fine: a ping took {alive * 1000:.1f} ms"),
    ]


async def wrong_body(peer: arpc.Peer, guest: Guest) -> Lines:
    order = {"customer": "Ann", "drink": "espresso", "cups": "two"}
    problem = await failure(arpc.RemoteError, peer.call("/order", order, returns=Receipt))
    check(f"that the error names the field ({problem})", "`$.cups`" in str(problem), True)
    return [("client calls", f"/order {order}"), ("client gets", named(problem))]


async def not_found(peer: arpc.Peer, guest: Guest) -> Lines:
    problem = await failure(arpc.MethodNotFound, peer.call("/cake"))
    check("the error's text", str(problem), "method not found")
    return [("client calls", "/cake"), ("client gets", named(problem))]


async def service(peer: arpc.Peer, guest: Guest) -> Lines:
    till = peer.service(Till)
    total = await till.total([250, 380, 400], percent_off=10)
    check("the total", total, 927)
    return [("client calls", "till.total([250, 380, 400], percent_off=10)"), ("server answers", f"{total}")]


STEPS: list[tuple[str, Callable[[arpc.Peer, Guest], Awaitable[Lines]]]] = [
    ("Call: the client calls the server", call_server),
    ("Call: the server calls the client, while that one waits for it", call_client),
    ("Notify: the client tells the server", notify_server),
    ("Notify: the server tells the client", notify_client),
    ("An error that the handler raised", error),
    ("A timeout", timeout),
    ("A wrong body: the error names the field", wrong_body),
    ("A method that nobody serves", not_found),
    ("A service: typed calls through one shared class", service),
]


async def failure(kind: type[arpc.ArpcError], call: Awaitable[Any]) -> arpc.ArpcError:
    """The error of exactly that kind which the call must end with."""
    try:
        answer = await call
    except arpc.ArpcError as problem:
        check("the kind of error", type(problem).__name__, kind.__name__)
        return problem
    raise Wrong(f"expected {kind.__name__}, got the answer {answer!r}")


def named(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"
