"""The public names, what the wheel holds, and what an import costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import arpc
import arpc.codecs

ROOT = Path(__file__).parent.parent

FACE = frozenset(
    "Router Context Peer Client Server serve connect current run rpc"
    " ArpcError CallTimeout ConnectionClosed ConnectError ConnectTimeout RemoteError MethodNotFound RpcError Overstock"
    " StreamReset ProtocolError LocalProtocolError RemoteProtocolError CodecError EncodeError DecodeError"
    " LimitExceeded AddressError RegistrationError LoopError".split()
)

STANDARD_BASES = {
    "ArpcError": Exception,
    "CallTimeout": TimeoutError,
    "ConnectionClosed": ConnectionError,
    "ConnectError": ConnectionError,
    "ConnectTimeout": TimeoutError,
    "LimitExceeded": ValueError,
    "AddressError": ValueError,
    "RegistrationError": TypeError,
    "LoopError": RuntimeError,
}


@pytest.mark.parametrize("name", sorted(FACE))
def test_a_public_name(name: str) -> None:
    assert name in arpc.__all__
    assert getattr(arpc, name) is not None


def test_all_says_the_truth() -> None:
    assert len(arpc.__all__) == len(set(arpc.__all__))
    assert [name for name in arpc.__all__ if not hasattr(arpc, name)] == []
    assert set(arpc.__all__) <= set(dir(arpc))


def test_every_error_is_an_arpc_error() -> None:
    public = [getattr(arpc, name) for name in arpc.__all__]
    errors = [value for value in public if isinstance(value, type) and issubclass(value, BaseException)]
    assert [error for error in errors if not issubclass(error, arpc.ArpcError)] == []


@pytest.mark.parametrize(("name", "base"), STANDARD_BASES.items())
def test_an_error_is_also_of_the_standard_kind(name: str, base: type[Exception]) -> None:
    assert issubclass(getattr(arpc, name), base)


def test_a_client_is_a_peer() -> None:
    assert issubclass(arpc.Client, arpc.Peer)


def test_an_unknown_name_is_no_attribute() -> None:
    for module in arpc, arpc.codecs:
        with pytest.raises(AttributeError, match="Missing"):
            module.Missing  # noqa: B018


@pytest.mark.parametrize("name", sorted({*arpc.codecs.__all__} - {"get_codec"}))
def test_a_codec_is_handed_on(name: str) -> None:
    assert issubclass(getattr(arpc.codecs, name), arpc.codecs.Codec)


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.parametrize("package", ["arpc", "arpc_codecs", "arpc_middleware"])
def test_the_wheel_holds(package: str, wheel_names: list[str]) -> None:
    assert f"{package}/__init__.py" in wheel_names
    assert f"{package}/py.typed" in wheel_names


def test_the_wheel_holds_nothing_else(wheel_names: list[str]) -> None:
    top = {name.partition("/")[0] for name in wheel_names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"arpc", "arpc_codecs", "arpc_middleware"}


def import_seconds(statement: str, cache: Path) -> float:
    """With the bytecode that an installed package has, whatever the environment says about writing it."""
    code = f"from time import perf_counter as now; start = now(); {statement}; print(now() - start)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def test_import_costs_at_most_twice_the_event_loops(tmp_path: Path) -> None:
    """Measured in turn, so that whatever else the machine does meets both alike; the first round only fills caches."""
    statements = "import asyncio\ntry: import uvloop\nexcept ImportError: pass"
    loops = f"exec({statements!r})"
    rounds = [(import_seconds(loops, tmp_path), import_seconds("import arpc", tmp_path)) for _ in range(10)][1:]
    base, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    assert ours <= 2 * base, f"import arpc took {ours * 1e3:.1f} ms, asyncio and uvloop {base * 1e3:.1f} ms"
