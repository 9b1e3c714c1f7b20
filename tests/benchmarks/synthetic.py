"""A result file as a run could have written it: small, and made of nothing but a few plain rules."""

from __future__ import annotations

from typing import Any

CALLERS = (1, 100, 500, 1000, 2000, 5000)
TITLES = {
    "ours": "arpc (ours)",
    "ours-asyncio": "arpc on asyncio",
    "ours-2": "arpc, 2 servers",
    "bare": "bare uvloop loop",
    "go-default": "Go arpc, default",
    "go-best": "Go arpc, best",
    "rpcx": "rpcx",
    "grpc-go": "grpc-go",
    "grpc-aio": "grpc.aio",
    "grpclib": "grpclib",
    "pycapnp": "pycapnp",
    "rpyc": "RPyC",
    "aiohttp": "aiohttp",
    "websockets": "websockets",
    "nbio": "nbio (frames)",
}
RATES = {
    "ours": 322_000.0,
    "ours-asyncio": 241_000.0,
    "ours-2": 371_000.0,
    "bare": 446_000.0,
    "go-default": 133_000.0,
    "go-best": 182_000.0,
    "rpcx": 91_000.0,
    "grpc-go": 54_000.0,
    "grpc-aio": 5_100.0,
    "grpclib": 4_300.0,
    "pycapnp": 31_000.0,
    "rpyc": 2_400.0,
    "aiohttp": 9_800.0,
    "websockets": 36_000.0,
}
"""Calls a second of many callers; the other figures follow from them."""
SPEAK: dict[str, tuple[str, ...]] = {
    "json": ("ours", "ours-asyncio", "ours-2", "go-default", "go-best", "aiohttp", "websockets"),
    "say": ("ours", "ours-asyncio", "ours-2", "go-default", "go-best", "rpcx", "grpc-go", "grpc-aio", "grpclib"),
}
SAY = "Hello.Say, protobuf, 581 bytes"
POINTS = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0)
EACH = {"ours": 1_879.0, "bare": 1_320.0, "go-default": 10_450.0, "nbio": 2_310.0}


def measured(rate: float, callers: int) -> dict[str, Any]:
    """One system under one load; three rounds that differ by 3%."""
    middle = callers / rate
    curve = [[point, middle * (0.6 + 0.4 * (100 / (100.01 - point)) ** 0.22)] for point in POINTS]
    at = {f"p{point:g}": seconds for point, seconds in curve}
    rounds = [
        {"rate": rate * factor, "errors": 0, "p50": at["p50"] / factor, "p99": at["p99"] / factor}
        for factor in (0.98, 1.0, 1.01)
    ]
    return {
        "rate": rate,
        "spread": 0.03,
        "errors": 0,
        "elsewhere": 0.01,
        "latency": {"mean": middle, **{key: at[key] for key in ("p50", "p90", "p99", "p99.9")}, "max": curve[-1][1]},
        "client_cpu": 1e6 / rate * 0.9,
        "server_cpu": 1e6 / rate * 0.6,
        "curve": curve,
        "rounds": rounds,
    }


def measurement(case: str, title: str, names: tuple[str, ...], factor: float = 1.0, **load: Any) -> dict[str, Any]:
    """Those systems under that load; `factor` of their rates, fewer with few callers and with handlers that sleep."""
    load = {"pattern": "closed", "body": "bytes", "size": 581, "callers": 100, "connections": 10, **load}
    load = {"seconds": 1.0, "warmup": 0.3, "delay": 0.0, "rate": 0.0, "background": 0.0, **load}
    most = load["callers"] / load["delay"] if load["delay"] else 1e9
    systems = {}
    for number, name in enumerate(names):
        slowed = min(load["callers"] / 22 * (1 + number / 40), 1) * (1 - load["callers"] / (20_000 + number * 2_000))
        systems[name] = measured(min(RATES[name] * slowed * factor, most * 0.97), load["callers"])
    return {"case": case, "title": title, "load": load, "systems": systems}


def results() -> dict[str, Any]:
    """The whole file, made anew: to be changed at will."""
    everyone, quick = tuple(RATES), ("ours", "bare", "go-default", "go-best")
    calls = [measurement("bytes", "bytes echo, 581 bytes", everyone, callers=callers) for callers in CALLERS]
    calls += [
        measurement("json", "typed JSON, 480-byte note", SPEAK["json"], 0.7, body="json", callers=callers)
        for callers in CALLERS
    ]
    calls += [
        measurement(
            "say", "Hello.Say, protobuf, 581 bytes", SPEAK["say"], 0.4, body="say", callers=callers, delay=delay
        )
        for delay in (0.0, 0.01, 0.03)
        for callers in CALLERS
    ]
    calls += [
        measurement("large", "echo of large bodies", quick, factor, size=size, callers=10)
        for size, factor in ((1 << 20, 0.01), (1 << 24, 0.0005))
    ]
    calls.append(measurement("notify", "one-way notifies", ("ours", "go-default"), 2.0, pattern="notify"))
    for system in calls[-1]["systems"].values():
        system.update(latency={}, curve=[])
    calls += [
        measurement("connect", "connect, call, close", ("ours", "go-default"), 0.02, pattern="connect", callers=50),
        measurement("busy", "1 KiB echo, 19,000 connections", ("ours", "go-best"), 0.3, size=1024, connections=19_000),
        measurement("paced", "paced", ("ours", "go-best"), pattern="open", rate=20_000.0, background=10.0),
        *(items("streams", pattern="items", size=size) for size in (100, 65_536)),
        items("fan-in", pattern="fan-in", size=100, callers=10_000),
        extras(),
        *(chain(callers) for callers in (100, 1000)),
    ]
    return {
        "schema": 1,
        "made": "2026-11-20T15:00:00+00:00",
        "command": "python -m benchmarks",
        "complete": True,
        "machine": {"cores": 2, "processor": "AMD EPYC", "system": "Linux 6.1", "python": "CPython 3.11.7"},
        "settings": {"rounds": 3, "seconds": 1.0, "warmup": 0.3, "seed": 1, "pinned": False},
        "systems": {name: {"title": title, "versions": f"{name} 1.0"} for name, title in TITLES.items()},
        "left_out": {},
        "failures": [],
        "calls": calls,
        "memory": [*(idle(number, number // 19_000) for number in (19_000, 76_000)), after_load(), idle_streams()],
        "imports": {
            "import arpc": {"seconds": 0.05, "ratio": 1.15},
            "import asyncio, uvloop": {"seconds": 0.043, "ratio": 1.0},
        },
    }


def items(case: str, **load: Any) -> dict[str, Any]:
    """Items of streams, of which no latency is known."""
    one = measurement(case, f"{case}: items of streams", ("ours", "go-default", "go-best", "grpc-aio"), 3.0, **load)
    for system in one["systems"].values():
        system.update(latency={}, curve=[])
    return one


def extras() -> dict[str, Any]:
    """Calls of ours that carry more, beside plain ones."""
    one = measurement("extras", "bytes echo with metadata and deadlines", ("ours",), pattern="extras")
    for name, part in {"ours-metadata": 0.8, "ours-deadline": 0.9, "ours-both": 0.75}.items():
        one["systems"][name] = measured(one["systems"]["ours"]["rate"] * part, 100)
    return one


def chain(callers: int) -> dict[str, Any]:
    """Calls of ours through middlewares, beside plain ones."""
    one = measurement("chain", "typed JSON through five middlewares", ("ours",), pattern="extras", callers=callers)
    one["systems"]["ours-chain"] = measured(one["systems"]["ours"]["rate"] * 0.8, callers)
    return one


def idle_streams() -> dict[str, Any]:
    systems = {
        name: {"server_bytes_per_stream": server, "client_bytes_per_stream": client}
        for name, server, client in (("ours", 2_000.0, 600.0), ("go-default", 4_000.0, 1_000.0))
    }
    title = "memory of 10,000 idle streams on 10 connections"
    return {"case": "idle-streams", "title": title, "streams": 10_000, "connections": 10, "systems": systems}


def idle(connections: int, processes: int) -> dict[str, Any]:
    before = 30 << 20
    systems = {
        name: {"bytes_per_connection": each, "before": before, "after": before + each * connections}
        for name, each in EACH.items()
    }
    title = "idle connections"
    return {
        "case": "idle",
        "title": title,
        "connections": connections,
        "processes": processes,
        "client": "raw",
        "systems": systems,
    }


def after_load() -> dict[str, Any]:
    systems = {
        name: {"before": base * 2**20, "peak": peak * 2**20, "after": after * 2**20, "later": later * 2**20}
        for name, base, peak, after, later in (("ours", 29, 61, 38, 36), ("go-default", 12, 140, 131, 74))
    }
    return {"case": "after-load", "title": "memory after load: 1000 callers, then 1 MiB bodies", "systems": systems}


def find(results: dict[str, Any], case: str, **load: Any) -> dict[str, Any]:
    """The measurement of that load."""
    matching = (one for one in results["calls"] if one["case"] == case and one["load"].items() >= load.items())
    found: dict[str, Any] = next(matching)
    return found
