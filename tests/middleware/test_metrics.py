"""What is counted, as real parsers read it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, parser, start_http_server
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser

import arpc
from arpc.middleware import Metrics, Target
from tests.tools import eventually, require_tool


def router() -> arpc.Router:
    made = arpc.Router()

    @made.handle("/greet")
    async def greet(name: str) -> str:
        return f"hello {name}"

    @made.handle("/fail")
    async def fail(code: str) -> None:
        raise arpc.RpcError("no", code)

    @made.handle("/break")
    async def broken() -> object:
        return object()

    @made.handle("/wait")
    async def wait() -> None:
        await asyncio.sleep(60)

    @made.stream("/count")
    async def count(stream: arpc.Stream[int, int]) -> None:
        async for number in stream:
            await stream.send(number + 1)

    @made.fallback
    async def anything(body: bytes) -> bytes:
        return body

    return made


class Scrape:
    """The samples of a registry."""

    def __init__(self, registry: CollectorRegistry, text: str | None = None) -> None:
        if text is None:
            text = generate_latest(registry).decode()
        self.families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name and those labels."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def label(self, name: str) -> set[str]:
        """The values of a label."""
        return {sample.labels[name] for sample in self.samples if name in sample.labels}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


@pytest.mark.parametrize("address", ["mem://0", "tcp://127.0.0.1:0"])
async def test_calls_at_both_sides(registry: CollectorRegistry, metrics: Metrics, address: str) -> None:
    serving = arpc.serve(address, router(), middleware=[metrics])
    async with serving as server, arpc.connect(server.address, outgoing=[metrics]) as peer:
        for _ in range(3):
            await peer.call("/greet", "Ann", returns=str)
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail", "not_found")
        with pytest.raises(arpc.RemoteError):
            await peer.call("/break")
        scrape = Scrape(registry)
    for side in "server", "client":
        ok = {"method": "/greet", "kind": "call", "side": side}
        assert scrape("arpc_calls_total", **ok, code="ok") == 3
        assert scrape("arpc_calls_total", method="/fail", side=side, code="not_found") == 1
        assert scrape("arpc_calls_total", method="/fail", side=side, code="ok") == 0
        assert scrape("arpc_calls_total", method="/break", side=side, code="internal") == 1
        assert scrape("arpc_request_bytes_total", **ok) == 3 * len("Ann")
        assert scrape("arpc_response_bytes_total", **ok) == 3 * len("hello Ann")
        assert scrape("arpc_call_duration_seconds_count", **ok) == 3
        assert scrape("arpc_call_duration_seconds_bucket", **ok, le="+Inf") == 3
        assert 0 < scrape("arpc_call_duration_seconds_sum", **ok) < 5
        assert scrape("arpc_calls_in_flight", side=side) == 0
    assert scrape("arpc_connections") == 2  # both ends are in this process
    assert scrape.label("kind") == {"call"}  # what never came has no series


async def test_notifies_streams_and_what_is_under_way(registry: CollectorRegistry, metrics: Metrics) -> None:
    serving = arpc.serve("mem://0", router(), middleware=[metrics])
    async with serving as server, arpc.connect(server.address, outgoing=[metrics]) as peer:
        await peer.notify("/greet", "Ann")
        waiting = asyncio.create_task(peer.call("/wait"))
        async with peer.open_stream("/count", returns=int) as stream:
            await stream.send(1)
            assert await stream.recv() == 2
            await eventually(lambda: Scrape(registry)("arpc_calls_in_flight") == 4)
            scrape = Scrape(registry)
            assert scrape("arpc_streams") == 1
            assert scrape("arpc_calls_in_flight", method="/wait", side="server") == 1
            assert scrape("arpc_calls_in_flight", method="/count", side="client") == 1
            assert scrape.label("kind") == {"notify"}
            await stream.end()
        waiting.cancel()
        await asyncio.wait([waiting])
        await eventually(lambda: Scrape(registry)("arpc_calls_in_flight") == 0)
        scrape = Scrape(registry)
    for side in "server", "client":
        assert scrape("arpc_calls_total", method="/greet", kind="notify", side=side, code="ok") == 1
        assert scrape("arpc_calls_total", method="/count", kind="stream", side=side, code="ok") == 1
        assert scrape("arpc_calls_total", method="/wait", kind="call", side=side, code="cancelled") == 1
    assert scrape("arpc_streams") == 0
    assert not [one for one in scrape.samples if "bytes" in one.name and one.labels.get("kind") == "stream"]


async def test_the_number_of_labels_is_bounded(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, max_methods=2)
    serving = arpc.serve("mem://0", router(), middleware=[metrics])
    async with serving as server, arpc.connect(server.address, outgoing=[metrics]) as peer:
        for number in range(10):
            await peer.call(f"/any/{number}", b"x", returns=bytes)
        async with arpc.connect(server.address, outgoing=[metrics]) as another:
            await another.call("/any/1", b"x", returns=bytes)
        for number in range(100):
            with pytest.raises(arpc.RemoteError):
                await peer.call("/fail", f"code {number}")
        with pytest.raises(arpc.RemoteError):
            await peer.call("/fail", "not_found")
        scrape = Scrape(registry)
    assert scrape("arpc_calls_total", method="(fallback)", side="server") == 11
    assert scrape("arpc_calls_total", method="/any/1", side="client") == 2
    assert scrape("arpc_calls_total", method="(other)", side="client", code="ok") == 8
    assert scrape("arpc_calls_total", method="/fail", side="server", code="(other)") == 36
    assert scrape("arpc_calls_total", method="/fail", side="server", code="not_found") == 1
    assert len(scrape.label("code")) == 67


async def test_buckets_are_cumulative_and_bounds_are_within(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, buckets=(1e-9, 30, 60))
    async with (
        arpc.serve("mem://0", router(), middleware=[metrics]) as server,
        arpc.connect(server.address) as peer,
    ):
        await peer.call("/greet", "Ann", returns=str)
        scrape = Scrape(registry)
    found = [(sample.labels["le"], sample.value) for sample in scrape.samples if sample.name.endswith("seconds_bucket")]
    assert found == [("1e-09", 0), ("30.0", 1), ("60.0", 1), ("+Inf", 1)]


async def test_endpoints_that_are_gone_are_neither_kept_nor_counted(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    async def use() -> None:
        serving = arpc.serve("mem://0", router(), middleware=[metrics])
        async with serving as server, arpc.connect(server.address, router(), middleware=[metrics]) as peer:
            await peer.call("/greet", "Ann", returns=str)
            assert Scrape(registry)("arpc_connections") == 2

    def endpoints() -> int:
        return metrics.total(lambda endpoint: 1)

    await use()
    assert Scrape(registry)("arpc_connections") == 0
    await eventually(lambda: gc.collect() >= 0 and endpoints() == 0)
    assert Scrape(registry)("arpc_calls_total", method="/greet") == 1


async def used(registry: CollectorRegistry, metrics: Metrics) -> None:
    """Something of everything."""
    serving = arpc.serve("mem://0", router(), middleware=[metrics])
    async with serving as server, arpc.connect(server.address, outgoing=[metrics]) as peer:
        await peer.call("/greet", "Ann", returns=str)
        await peer.call('/any "quoted\\\n', b"x", returns=bytes)
        async with peer.open_stream("/count", returns=int) as stream:
            await stream.end()
        await eventually(lambda: Scrape(registry)("arpc_calls_in_flight") == 0)


async def test_the_text_of_openmetrics(registry: CollectorRegistry, metrics: Metrics) -> None:
    await used(registry, metrics)
    text = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]  # it has no types
    families = list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # nor has it
    assert {family.name: family.type for family in families} == {
        "arpc_calls": "counter",
        "arpc_call_duration_seconds": "histogram",
        "arpc_request_bytes": "counter",
        "arpc_response_bytes": "counter",
        "arpc_calls_in_flight": "gauge",
        "arpc_connections": "gauge",
        "arpc_streams": "gauge",
    }
    methods = {sample.labels["method"] for sample in families[0].samples}
    assert methods == {"/greet", "/count", "(fallback)", '/any "quoted\\\n'}


async def test_over_http(registry: CollectorRegistry, metrics: Metrics) -> None:
    await used(registry, metrics)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        text = await asyncio.to_thread(lambda: urlopen(url).read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert Scrape(registry, text)("arpc_calls_total", method="/greet", side="server", code="ok") == 1


async def test_promtool_finds_nothing_to_say(registry: CollectorRegistry, metrics: Metrics) -> None:
    promtool = require_tool("promtool")
    await used(registry, metrics)
    text = generate_latest(registry)
    command = [promtool, "check", "metrics"]
    done = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_one_for_each_registry(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    with pytest.raises(ValueError, match=r"has metrics named arpc_\.\.\. already: share one Metrics"):
        Metrics(registry)
    other = Metrics(registry, namespace="shop")
    metrics.close()
    assert "shop_connections" in Scrape(registry).families
    assert "arpc_connections" not in Scrape(registry).families
    Metrics(registry).close()
    other.close()
    assert not Scrape(registry).families
    with pytest.raises(KeyError):
        other.close()


def test_the_global_registry() -> None:
    metrics = Metrics()
    try:
        assert Scrape(REGISTRY)("arpc_connections") == 0
        assert "arpc_connections" in Scrape(REGISTRY).families
    finally:
        metrics.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"namespace": "a-b"}, "namespace has letters, digits and _, and no digit first, not 'a-b'"),
        ({"namespace": ""}, "namespace has letters"),
        ({"buckets": ()}, r"buckets are seconds above 0, ascending, not \(\)"),
        ({"buckets": (1, 1)}, "buckets are seconds above 0, ascending"),
        ({"buckets": (2, 1)}, "buckets are seconds above 0, ascending"),
        ({"buckets": (0, 1)}, "buckets are seconds above 0, ascending"),
        ({"buckets": (1, float("inf"))}, "buckets are seconds above 0, ascending"),
        ({"max_methods": -1}, "max_methods is a whole number from 0, not -1"),
        ({"max_methods": 1.5}, r"max_methods is a whole number from 0, not 1\.5"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str, registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match=text):
        Metrics(registry, **options)
    Metrics(registry).close()  # nothing was left in the registry


def test_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match="Metrics needs the extra metrics of arpc, or else: pip install"):
        Metrics()


def test_a_chain_of_no_endpoint(registry: CollectorRegistry, metrics: Metrics) -> None:
    async def innermost(ctx: arpc.Context) -> None: ...

    wrapped: Callable[..., Any] = metrics.wrap(innermost, Target("/x", "message", False, bytes))
    assert wrapped is not innermost
    assert Scrape(registry)("arpc_connections") == 0
