"""Each system really runs; one that cannot says what is missing; a system of one's own is found in its file."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from benchmarks import histogram
from benchmarks.loads import PATTERNS
from benchmarks.opponents import go, registry
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import Failed, Opponent, Running, Unavailable
from benchmarks.opponents.chained import OursChain
from benchmarks.opponents.extras import OursBoth
from benchmarks.opponents.go import GoOpponent
from benchmarks.opponents.goarpc import GoArpcBest, GoArpcDefault
from benchmarks.opponents.grpc_aio import GrpcAio
from benchmarks.opponents.nbio import Nbio
from benchmarks.opponents.ours import Ours, OursTwo
from benchmarks.opponents.python import PythonOpponent
from benchmarks.opponents.rpyc import Rpyc
from benchmarks.workload import BODIES, Load
from tests.benchmarks.programs import BUILD_PATIENCE, SOME, ready, systems
from tests.tools import require_tool

AT_ONCE = 3
"""Processes of a system that are started at the same time: how fast they are is not looked at here."""


UNTIMED = {"notify", "items", "fan-in"}


def each_once(opponent: Opponent) -> list[Load]:
    """Each body and each pattern that the system claims; streams that are held need a hand, see test_memory.py."""
    names = [("closed", body) for body in opponent.bodies if "closed" in opponent.patterns]
    other = "bytes" if "bytes" in opponent.bodies else min(opponent.bodies)
    names += [(pattern, other) for pattern in opponent.patterns - {"closed", "hold"}]
    short = Load(callers=5, connections=2, seconds=0.1, warmup=0.0, rate=500)
    return [replace(short, pattern=pattern, body=body) for pattern, body in names]


@systems(*registry.ALL)
def test_a_system(kind: type[Opponent], processes: Callable[[], object]) -> None:
    opponent = ready(kind)
    loads = each_once(opponent)
    setups = list({load.setup for load in loads})
    with ThreadPoolExecutor(AT_ONCE) as pool, ExitStack() as stack:
        started = pool.map(lambda setup: Running(opponent, setup), setups)
        servers = {setup: stack.enter_context(server) for setup, server in zip(setups, started, strict=True)}
        results = pool.map(lambda load: servers[load.setup].load(load), loads)
        for load, result in zip(loads, results, strict=True):
            assert opponent.takes(load)
            assert result.errors == 0, load
            assert 0 < result.calls <= result.total, load
            assert result.cpu > 0, load
            latencies = histogram.merged([result.histogram]).get_total_count()
            assert latencies == 0 if load.pattern in UNTIMED else 0 < latencies <= result.total, load


@systems(Ours, GoArpcDefault)
def test_handlers_sleep_side_by_side(kind: type[Opponent], processes: Callable[[], object]) -> None:
    load = Load(body="say", callers=50, seconds=0.2, warmup=0.0, delay=0.02)
    with Running(ready(kind), load.setup) as server:
        result = server.load(load)
    assert result.errors == 0
    assert result.calls > 2 * load.seconds / load.delay  # more than one after the other can be
    # Event loops count milliseconds, and may come one early.
    assert histogram.percentile(histogram.merged([result.histogram]), 0) >= load.delay * 0.9


# What systems say of themselves.


def test_names_and_claims() -> None:
    kinds = registry.ALL
    assert kinds[0] is Ours
    assert set(registry.QUICK) < set(kinds)
    for names in ([kind.name for kind in kinds], [kind.title for kind in kinds]):
        assert len(set(names)) == len(kinds)
    for kind in kinds:
        assert kind.bodies <= set(BODIES)
        assert "bytes" in kind.bodies or kind.patterns == {"extras"}
        assert kind.patterns <= set(PATTERNS)
        assert "closed" in kind.patterns or kind.patterns == {"extras"}
        assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "load", "taken"),
    [
        (Ours, Load(pattern="reverse"), True),
        (Ours, Load(pattern="extras"), True),
        (OursBoth, Load(pattern="extras"), True),
        (OursBoth, Load(), False),
        (OursBoth, Load(pattern="extras", body="json"), False),
        (OursChain, Load(pattern="extras", body="json"), True),
        (OursChain, Load(pattern="extras"), False),
        (GrpcAio, Load(pattern="items"), True),
        (GrpcAio, Load(pattern="fan-in"), False),
        (OursTwo, Load(pattern="reverse"), False),
        (GrpcAio, Load(body="say"), True),
        (GrpcAio, Load(body="json"), False),
        (Bare, Load(size=65_536), True),
        (Bare, Load(size=65_537), False),
        (Bare, Load(delay=0.1), False),
        (Bare, Load(pattern="open", rate=5), True),
        (Bare, Load(pattern="open", rate=5, background=1), False),
        (Nbio, Load(callers=1), True),
        (Nbio, Load(size=1 << 20), False),
        (Nbio, Load(pattern="open", rate=5), False),
        (Rpyc, Load(callers=5000), True),
    ],
)
def test_what_a_system_takes(kind: type[Opponent], load: Load, taken: bool) -> None:
    assert kind().takes(load) is taken


# What is missing.


def test_versions() -> None:
    version = importlib.metadata.version
    assert Ours().prepare() == f"arpc {version('arpc')}, msgspec {version('msgspec')}, uvloop {version('uvloop')}"


@pytest.mark.parametrize("kind", [one for one in registry.ALL if issubclass(one, PythonOpponent)])
def test_a_package_that_is_not_installed(kind: type[PythonOpponent], monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    package = kind.packages[0]
    with pytest.raises(Unavailable, match=f"^{package} is not installed: pip install {package}$"):
        kind().prepare()


MAIN = "package main\n\nfunc main() {}\n"
Module = Callable[[str, str], Opponent]


@pytest.fixture
def go_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Makes the system of a Go module: of what its go.mod says, and of its main.go."""
    monkeypatch.setattr(go, "SOURCES", tmp_path.parent)
    monkeypatch.setattr(go, "BUILD", tmp_path)

    class Written(GoOpponent):
        name = title = folder = tmp_path.name

    def module(mod: str, main: str) -> Opponent:
        (tmp_path / "go.mod").write_text(f"module written\n\n{mod}\n")
        (tmp_path / "main.go").write_text(main)
        return Written()

    return module


@pytest.mark.timeout(BUILD_PATIENCE)
def test_a_go_module(go_module: Module, tmp_path: Path) -> None:
    require_tool("go")
    written = go_module("go 1.19", MAIN)
    assert written.prepare().startswith("go1.")
    program, side, *options = written.server_command()
    assert (Path(program).parent, side, options) == (tmp_path, "server", [])
    assert Path(program).exists()
    assert written.client_command() == [program, "client"]


def test_without_go(go_module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"^go is not installed$"):
        go_module("go 1.19", MAIN).prepare()


def test_a_go_that_is_too_old(go_module: Module) -> None:
    require_tool("go")
    with pytest.raises(Unavailable, match=r"^needs Go 1\.999 or newer, here is go1\.\d+"):
        go_module("go 1.999", MAIN).prepare()


@pytest.mark.timeout(BUILD_PATIENCE)
def test_go_that_does_not_compile(go_module: Module) -> None:
    require_tool("go")
    with pytest.raises(Failed, match=r"go build failed:\n(?s:.*)main\.go:3:\d+: undefined: nothing"):
        go_module("go 1.19", "package main\n\nfunc main() { nothing() }\n").prepare()


@systems(GoArpcDefault, GoArpcBest)
def test_versions_in_go(kind: type[Opponent]) -> None:
    assert re.search(r"^arpc v1\.\S+, .*\bgo1\.\S+$", ready(kind).prepare())
    assert kind().server_command()[1:] == ["server", *(["--send-buffer", "65536", "--inline"] * (kind is GoArpcBest))]


# Systems of one's own.

OWN = """
import benchmarks.opponents.base
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.python import PythonOpponent

class Mine(Bare):
    name = "mine"

class Half(PythonOpponent):
    name = "half"

class Other(Mine):
    name = "other"

class Helper:
    pass
"""


def test_the_systems_of_a_file(tmp_path: Path, processes: Callable[[], object]) -> None:
    path = tmp_path / "systems_of_a_file.py"
    path.write_text(OWN)
    mine, other = registry.from_file(str(path))
    assert (mine.name, other.name) == ("mine", "other")
    with Running(other(), SOME.setup) as server:  # other processes find it, too
        assert server.load(SOME).errors == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing.py", "there is no such file"),
        ("nothing", "not the name of a Python file"),
        ("empty.py", "there is no system in it"),
    ],
)
def test_a_file_without_systems(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("from benchmarks.opponents.bare import Bare\n")
    with pytest.raises(Unavailable, match=rf"{name}: {reason}$"):
        registry.from_file(str(tmp_path / name))
