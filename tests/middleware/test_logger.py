"""One line a message, at either side."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

import arpc
from arpc.identity import Identity
from arpc.middleware import Logger, Middleware
from tests.tools import eventually

NAME = "arpc.messages"


def router() -> arpc.Router:
    made = arpc.Router()

    @made.handle("/greet")
    async def greet(name: str) -> str:
        return f"hello {name}"

    @made.handle("/fail")
    async def fail() -> None:
        raise arpc.RpcError("secret of Ann", "not_found")

    @made.handle("/break")
    async def broken() -> object:
        return object()

    @made.handle("/sleep")
    async def sleep() -> None:
        await asyncio.sleep(60)

    @made.stream("/count")
    async def count(stream: arpc.Stream[int, int]) -> None:
        async for number in stream:
            await stream.send(number + 1)

    @made.fallback
    async def anything(body: bytes, ctx: arpc.Context) -> bytes:
        return body

    return made


class Both:
    """A connection with middleware at both sides, and what was logged meanwhile."""

    def __init__(
        self,
        caplog: pytest.LogCaptureFixture,
        middleware: list[Middleware] | None = None,
        outgoing: list[Middleware] | None = None,
        address: str = "mem://0",
    ) -> None:
        caplog.set_level(logging.INFO, NAME)
        self._caplog = caplog
        self._server = arpc.serve(address, router(), middleware=middleware or [])
        self._outgoing = outgoing or []

    async def __aenter__(self) -> arpc.Client:
        server = await self._server.__aenter__()
        self.peer = await arpc.connect(server.address, outgoing=self._outgoing)
        return self.peer

    async def __aexit__(self, *error: Any) -> None:
        await self.peer.close()
        await self._server.__aexit__(None, None, None)

    def records(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == NAME]

    def lines(self) -> list[tuple[int, str]]:
        return [(record.levelno, record.getMessage()) for record in self.records()]


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_a_line_for_a_call_at_both_sides(caplog: pytest.LogCaptureFixture, address: str) -> None:
    both = Both(caplog, [Logger()], [Logger()], address)
    async with both as peer:
        assert await peer.call("/greet", "Ann", returns=str) == "hello Ann"
        await eventually(lambda: len(both.lines()) == 2)
    (_, served), (_, called) = both.lines()
    assert re.fullmatch(r"call /greet from (mem|tcp)://\S+ ok in \d+\.\d\d ms, 3 -> 9 bytes", served)
    assert re.fullmatch(r"call /greet to (mem|tcp)://\S+ ok in \d+\.\d\d ms, 3 -> 9 bytes", called)


async def test_the_same_in_fields(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger()])
    async with both as peer:
        await peer.call("/greet", "Ann", returns=str)
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")
    ok, failed = (record.__dict__["arpc"] for record in both.records())
    assert ok["peer"].startswith("mem://")
    assert 0 < ok.pop("seconds") < 5
    assert 0 < failed.pop("seconds") < 5
    base = {"side": "server", "kind": "call", "peer": ok["peer"], "identity": None}
    assert ok == {**base, "method": "/greet", "code": "ok", "request_bytes": 3, "response_bytes": 9, "error": None}
    assert failed == {
        **base,
        "method": "/fail",
        "code": "not_found",
        "request_bytes": 0,
        "response_bytes": 0,
        "error": "RpcError",
    }


async def test_who_the_peer_is(caplog: pytest.LogCaptureFixture) -> None:
    async def knows(ctx: arpc.Context, call_next: Any) -> Any:
        ctx.peer.identity = Identity("ann")
        return await call_next(ctx)

    both = Both(caplog, [Logger(), knows])
    async with both as peer:
        await peer.call("/greet", "Ann", returns=str)
    assert both.records()[0].__dict__["arpc"]["identity"] == "ann"


async def test_errors_have_a_level_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger(sample=0)], [Logger(sample=0, error_level=logging.ERROR)])
    async with both as peer:
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")
        with pytest.raises(arpc.RemoteError, match="could not be encoded"):
            await peer.call("/break")
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/sleep", timeout=0.05)
        await eventually(lambda: len(both.lines()) == 6)
    lines = sorted(both.lines())
    assert [level for level, _ in lines] == [logging.WARNING] * 3 + [logging.ERROR] * 3
    assert not [text for _, text in lines if "Ann" in text]
    for level, at in (logging.WARNING, "from"), (logging.ERROR, "to"):
        found = " ".join(text for one, text in lines if one == level)
        assert re.search(rf"call /fail {at} \S+ not_found \(\w+\) in .* 0 -> 0 bytes", found)
        assert re.search(rf"call /break {at} \S+ internal \(\w+\) in", found)
        assert re.search(rf"call /sleep {at} \S+ (deadline_exceeded|cancelled) \(\w+\) in", found)


async def test_notifies_and_streams(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger()], [Logger()])
    async with both as peer:
        await peer.notify("/greet", "Ann")
        async with peer.open_stream("/count", returns=int) as stream:
            await stream.send(1)
            assert await stream.recv() == 2
            await stream.end()
        await eventually(lambda: len(both.lines()) == 4)
    texts = sorted(text for _, text in both.lines())
    assert [text.split()[:3:2] for text in texts] == [
        ["notify", "from"],
        ["notify", "to"],
        ["stream", "from"],
        ["stream", "to"],
    ]
    assert all(text.endswith("3 -> 0 bytes") for text in texts[:2])
    assert all(re.fullmatch(r"stream /count \w+ \S+ ok in \d+\.\d\d ms", text) for text in texts[2:])
    streams = [record.__dict__["arpc"] for record in both.records() if record.__dict__["arpc"]["kind"] == "stream"]
    assert [(one["request_bytes"], one["response_bytes"]) for one in streams] == [(0, 0)] * 2


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        ("/plain", "/plain"),
        ("/a\nERROR forged", r"'/a\nERROR forged'"),
        ("/a ok in 0.00 ms", "'/a ok in 0.00 ms'"),
        ("/a\x1b[2J", r"'/a\x1b[2J'"),
        ("/\u202eab", r"'/\u202eab'"),
        ("/back\\nslash", r"'/back\\nslash'"),
        ("/größe", "/größe"),
    ],
)
async def test_a_method_cannot_forge_a_line(caplog: pytest.LogCaptureFixture, method: str, seen: str) -> None:
    both = Both(caplog, [Logger()], [Logger()])
    async with both as peer:
        await peer.call(method, b"x", returns=bytes)
        await eventually(lambda: len(both.lines()) == 2)
    assert [text.startswith(f"call {seen} ") for _, text in both.lines()] == [True, True]
    assert [record.__dict__["arpc"]["method"] for record in both.records()] == [method] * 2


async def test_a_share_of_what_ends_well(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger(sample=0.5)])
    async with both as peer:
        for _ in range(400):
            await peer.call("/greet", "Ann", returns=str)
    assert 100 < len(both.lines()) < 300


async def test_what_is_slow_is_logged_in_any_case(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger(sample=0, slow=1e-9), Logger(sample=0, slow=1000)])
    async with both as peer:
        await peer.call("/greet", "Ann", returns=str)
    assert len(both.lines()) == 1


async def test_levels_that_are_off(caplog: pytest.LogCaptureFixture) -> None:
    both = Both(caplog, [Logger(logging.getLogger(NAME))])
    async with both as peer:
        caplog.set_level(logging.WARNING, NAME)
        await peer.call("/greet", "Ann", returns=str)
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")
        caplog.set_level(logging.CRITICAL, NAME)
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail")
    assert [level for level, _ in both.lines()] == [logging.WARNING]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"logger": 3}, TypeError, "logger is a logging.Logger or the name of one, not 3"),
        ({"level": "INFO"}, ValueError, "level is a number of logging, such as logging.INFO, not 'INFO'"),
        ({"error_level": -1}, ValueError, "error_level is a number"),
        ({"sample": 1.5}, ValueError, r"sample is a share from 0 to 1, not 1\.5"),
        ({"sample": "all"}, ValueError, "sample is a share"),
        ({"slow": 0}, ValueError, "slow is seconds above 0, or None, not 0"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Logger(**options)
