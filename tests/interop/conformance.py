"""What must hold between Python and Go whoever dialled: each class is run over both directions of connecting."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

import arpc
from tests.interop.python_service import LONG_METHOD, Person, PythonService, pattern
from tests.tools import eventually

SIZES = (0, 1, 255, 256, 65535, 65536, 1 << 20, 16 << 20)


@dataclass
class Result:
    """What Go saw in a scenario; ``error`` is empty when it went as Go expects."""

    scenario: str
    value: Any
    error: str
    seconds: float


RunScenario = Callable[[str], Awaitable[Result]]


async def until_held(peer: arpc.Peer, count: int) -> None:
    """Wait until Go holds so many calls of ``/hold``."""
    async with asyncio.timeout(10):
        while await peer.call("/held", returns=int) < count:
            pass


class PythonCallsGo:
    """Fixtures: ``peer`` is connected to Go, ``service`` is what Go may call."""

    async def test_str(self, peer: arpc.Peer) -> None:
        assert await peer.call("/text", "grüß dich ✓", returns=str) == "grüß dich ✓, said Go"

    async def test_bytes(self, peer: arpc.Peer) -> None:
        assert await peer.call("/echo", bytes(range(256)), returns=bytes) == bytes(range(256))

    @pytest.mark.parametrize("method", ["/echo", "/inline/echo", LONG_METHOD], ids=["async", "inline", "127 bytes"])
    async def test_every_kind_of_handler(self, peer: arpc.Peer, method: str) -> None:
        assert await peer.call(method, b"x", returns=bytes) == b"x"

    async def test_none(self, peer: arpc.Peer) -> None:
        assert await peer.call("/size", None, returns=int) == 0
        assert await peer.call("/nil", None, returns=bytes) == b""
        assert await peer.call("/nil", "something") is None

    async def test_json_struct_into_dataclass(self, peer: arpc.Peer) -> None:
        assert await peer.call("/person", Person("Ann", 41), returns=Person) == Person("Ann", 42)
        assert await peer.call("/person", {"name": "Ann", "age": 41}) == {"name": "Ann", "age": 42}

    @pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "✓"]}, [], 0, False, -(2**31)], ids=repr)
    async def test_plain_json_values(self, peer: arpc.Peer, value: Any) -> None:
        assert await peer.call("/any", value) == value

    @pytest.mark.parametrize("size", SIZES)
    async def test_bodies(self, peer: arpc.Peer, size: int) -> None:
        body = pattern(size)
        assert await peer.call("/size", body, returns=int) == size
        assert await peer.call("/make", str(size), returns=bytes) == body
        assert await peer.call("/echo", body, returns=bytes) == body

    async def test_error_text_is_the_one_of_go(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/fail", "grüß dich")
        assert (caught.value.message, caught.value.code) == ("boom: grüß dich", None)
        with pytest.raises(arpc.RemoteError) as caught:
            await peer.call("/fail/empty")
        assert caught.value.message == ""

    async def test_wrong_body_is_refused_by_go(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.RemoteError, match="cannot unmarshal number into Go struct"):
            await peer.call("/person", {"name": 1})

    async def test_answer_of_another_type_is_an_error_here(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.DecodeError):
            await peer.call("/text", "no number", returns=int)
        assert await peer.call("/text", "still there", returns=str) == "still there, said Go"

    async def test_method_not_found(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.MethodNotFound) as caught:
            await peer.call("/no/such/method", "x")
        assert caught.value.message == "method not found"
        await peer.notify("/no/such/method", "x")  # nothing comes back, nothing breaks
        assert await peer.call("/text", "after", returns=str) == "after, said Go"

    async def test_notify_arrives_in_order_and_with_its_flags(self, peer: arpc.Peer) -> None:
        for number in range(100):
            await peer.notify("/note", f"note {number}")
        peer.try_notify("/note", "tried")
        await peer.call("/note", "called")
        notes = await peer.call("/notes")
        assert [note["text"] for note in notes] == [f"note {n}" for n in range(100)] + ["tried", "called"]
        assert {(note["notify"], note["async"]) for note in notes[:-1]} == {(True, True)}
        assert (notes[-1]["notify"], notes[-1]["async"]) == (False, False)

    async def test_go_notifies(self, peer: arpc.Peer, service: PythonService) -> None:
        notes = [f"note {number}" for number in range(20)]
        for note in notes:
            await peer.call("/notify_me", note)
        await eventually(lambda: len(service.bodies("/note", "notify")) == 20)  # an answer may overtake a notify
        assert service.bodies("/note", "notify") == notes

    async def test_ping(self, peer: arpc.Peer) -> None:
        for _ in range(3):
            assert 0 < await peer.ping(timeout=10) < 10

    async def test_timeout_leaves_the_connection_usable(self, peer: arpc.Peer) -> None:
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/slow", "30000", timeout=0.05)
        with pytest.raises(arpc.CallTimeout):
            await peer.call("/hold", timeout=0.05)
        assert await peer.call("/release", returns=int) == 1
        assert peer.stats.frames_dropped == 1  # the late answer of /hold came before that of /release
        assert await peer.call("/slow", "1", returns=str) == "slow"
        assert not peer.closed

    async def test_1000_concurrent_calls(self, peer: arpc.Peer) -> None:
        bodies = [f"call {number}".encode() for number in range(1000)]
        answers = await asyncio.gather(*(peer.call("/echo", body, returns=bytes) for body in bodies))
        assert answers == bodies

    async def test_concurrent_large_bodies(self, peer: arpc.Peer) -> None:
        bodies = [pattern((1 << 20) + number) for number in range(16)]
        answers = await asyncio.gather(*(peer.call("/echo", body, returns=bytes) for body in bodies))
        assert answers == bodies

    async def test_go_calls_back(self, peer: arpc.Peer) -> None:
        assert await peer.call("/whoami", {"a": 20, "b": 22}, returns=int) == 42

    async def test_200_concurrent_callbacks(self, peer: arpc.Peer) -> None:
        calls = (peer.call("/whoami", {"a": number, "b": 1000}, returns=int) for number in range(200))
        assert await asyncio.gather(*calls) == [number + 1000 for number in range(200)]

    async def test_nested_calls(self, peer: arpc.Peer) -> None:
        steps = ["go 5", "py 4", "go 3", "py 2", "go 1", "py 0"]
        assert await peer.call("/countdown", 5, returns=list[str]) == steps
        answers = await asyncio.gather(*(peer.call("/countdown", 5, returns=list[str]) for _ in range(200)))
        assert answers == [steps] * 200


class GoCallsPython:
    """Fixtures: ``run`` runs a scenario in Go, ``service`` is what Go calls."""

    async def value(self, run: RunScenario, name: str) -> Any:
        result = await run(name)
        assert result.error == ""
        return result.value

    async def test_string(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "string") == "grüß dich ✓, said Python"
        assert service.bodies("/text") == ["grüß dich ✓"]

    async def test_bytes(self, run: RunScenario, service: PythonService) -> None:
        assert base64.b64decode(await self.value(run, "bytes")) == pattern(256)
        assert service.bodies("/echo") == [pattern(256)]

    async def test_nil(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "nil") == 0
        assert service.bodies("/nil") == [b""]

    async def test_json(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "json") == {"name": "Ann", "age": 42}
        assert service.bodies("/person") == [Person("Ann", 41)]

    async def test_call_async(self, run: RunScenario, service: PythonService) -> None:
        answer = {"text": "async, said Python", "error": "", "async": True, "method": "/text"}
        assert await self.value(run, "async") == answer
        assert service.bodies("/text") == ["async"]

    async def test_notify(self, run: RunScenario, service: PythonService) -> None:
        notes = [f"note {number}" for number in range(100)]
        assert await self.value(run, "notify") == notes
        assert service.bodies("/note", "notify") == notes

    async def test_notify_not_found(self, run: RunScenario) -> None:
        assert await self.value(run, "notify_not_found") == "grüß dich ✓, said Python"

    @pytest.mark.parametrize(
        ("scenario", "text"),
        [("error", "boom: Go did it"), ("error_empty", ""), ("not_found", "method not found")],
    )
    async def test_error_texts(self, run: RunScenario, scenario: str, text: str) -> None:
        assert await self.value(run, scenario) == text

    async def test_error_of_call_async(self, run: RunScenario) -> None:
        answer = {"text": "boom: async", "error": "boom: async", "async": True, "method": "/fail"}
        assert await self.value(run, "error_async") == answer

    async def test_internal_error_keeps_its_secret(self, run: RunScenario, caplog: pytest.LogCaptureFixture) -> None:
        text = await self.value(run, "internal_error")
        assert text
        assert "secret" not in text
        assert "RuntimeError" not in text
        assert "a secret of the implementation" in caplog.text

    async def test_wrong_body_names_the_field(self, run: RunScenario, service: PythonService) -> None:
        assert "age" in await self.value(run, "wrong_body")
        assert await self.value(run, "broken_body")
        assert service.bodies("/person") == []

    async def test_long_method(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "long_method") == "long"
        assert service.bodies(LONG_METHOD) == [b"long"]

    async def test_every_kind_of_handler(self, run: RunScenario, service: PythonService) -> None:
        methods = ["/echo", "/inline/echo", "/threaded/echo", "/ordered/echo"]
        assert await self.value(run, "handlers") == {method: f"to {method}" for method in methods}
        assert [(seen.method, seen.body) for seen in service.seen] == [(m, f"to {m}".encode()) for m in methods]

    async def test_bodies(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "bodies") == list(SIZES)
        assert service.bodies("/echo") == [pattern(size) for size in SIZES]

    async def test_1000_concurrent_calls(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "concurrent_calls") == 1000
        assert set(service.bodies("/echo")) == {f"call {number}".encode() for number in range(1000)}

    async def test_1000_concurrent_async_calls(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "concurrent_async") == 1000
        assert set(service.bodies("/echo")) == {f"async {number}".encode() for number in range(1000)}

    async def test_concurrent_large_bodies(self, run: RunScenario, service: PythonService) -> None:
        assert await self.value(run, "concurrent_bodies") == 8
        assert {len(body) for body in service.bodies("/echo")} == {(1 << 20) + number for number in range(8)}

    @pytest.mark.parametrize("scenario", ["ping", "keepalive"])
    async def test_pings_are_answered(self, run: RunScenario, scenario: str) -> None:
        pong = b"\0\0\0\0\0\x05" + bytes(10)
        assert await self.value(run, scenario) == [pong.hex()] * 3

    async def test_timeout_of_go(self, run: RunScenario) -> None:
        assert await self.value(run, "timeout") == {"error": "timeout", "released": 1}

    async def test_python_calls_back(self, run: RunScenario) -> None:
        assert await self.value(run, "callback") == 42

    async def test_nested_calls(self, run: RunScenario) -> None:
        assert await self.value(run, "nested") == ["py 6", "go 5", "py 4", "go 3", "py 2", "go 1", "py 0"]

    @pytest.mark.parametrize("scenario", ["concurrent_callbacks", "concurrent_nested"])
    async def test_200_concurrent_callbacks(self, run: RunScenario, scenario: str) -> None:
        assert await self.value(run, scenario) == 200


def result_of(line: dict[str, Any] | str) -> Result:
    """The result from a line of the Go client, or from the answer of ``/scenario``."""
    return Result(**(json.loads(line) if isinstance(line, str) else line))
