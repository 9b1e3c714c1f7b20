"""MessagePack by the msgpack package: the same format as msgspec's, its hooks, and claims that cost nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgpack
import msgspec
import pytest

from arpc_codecs import MsgpackCodec, MsgpackPackageCodec

codec = MsgpackPackageCodec()


class Box(msgspec.Struct):
    value: Any


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


VALUES: list[Any] = [
    None,
    [1, -(2**63), 2**64 - 1, 2.5, True, "é" * 300, b"\x00\xff"],
    {"a": {1: "x", b"k": 2.5}},
    datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC),
    {"rows": list(range(70_000))},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:30])
def test_both_codecs_agree(value: Any) -> None:
    other = MsgpackCodec()
    assert codec.encode(value) == other.encode(value)
    assert codec.decode(other.encode(value)) == value
    assert other.decode(codec.encode(value)) == value


def test_without_hooks_extensions_are_the_packages_own() -> None:
    value = msgpack.ExtType(5, b"a")
    assert codec.encode(value) == bytes.fromhex("d40561")
    assert codec.decode(bytes.fromhex("d40561")) == value


def point_to_extension(value: Any) -> Any:
    if isinstance(value, Point):
        return msgpack.ExtType(1, value.x.to_bytes(2))
    raise TypeError(f"no extension for {type(value).__name__}")


def point_of_extension(code: int, data: bytes) -> Any:
    return ("point", int.from_bytes(data)) if code == 1 else msgpack.ExtType(code, data)


def test_hooks() -> None:
    hooked = MsgpackPackageCodec(default=point_to_extension, ext_hook=point_of_extension)
    body = hooked.encode({"at": Point(3), "box": Box(1)})
    assert hooked.decode(body) == {"at": ("point", 3), "box": {"value": 1}}
    with pytest.raises(TypeError, match="no extension for object"):
        hooked.encode([object()])
    with pytest.raises(TypeError, match="no extension for Box"):
        hooked.encode(Box(Point(3)))  # as a whole


def test_hooks_are_functions() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="default is a function, not 5"):
        MsgpackPackageCodec(default=wrong)
    with pytest.raises(TypeError, match="ext_hook is a function, not 5"):
        MsgpackPackageCodec(ext_hook=wrong)


BROKEN = {
    "empty": "",
    "no such code": "c1",
    "trailing": "01 01",
    "list cut off": "92 01",
    "not UTF-8": "a1 ff",
    "list as a key": "81 91 01 01",
    "map as a key": "81 80 01",
    "timestamp out of range": "c7 0c ff ffffffff ffffffffffffffff",
    "bytes of 4 GiB": "c6 ffffffff",
    "list of 4 Gi items": "dd ffffffff",
}


@pytest.mark.parametrize("hex", BROKEN.values(), ids=BROKEN)
def test_broken(hex: str) -> None:
    body = bytes.fromhex(hex)
    for decode in (codec.decode, codec.decoder(Any), codec.decoder(Box)):
        with pytest.raises(ValueError):
            decode(body)


@pytest.mark.parametrize("levels", [600, 100_000])
def test_too_deep(levels: int) -> None:
    """For the package, and for the walk before it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    try:
        with pytest.raises(ValueError, match="nested too deeply"):
            codec.decode(b"\x91" * 2 * levels + b"\x01")
    finally:
        sys.setrecursionlimit(limit)


NESTED_CLAIMS = """
import resource
from arpc_codecs import MsgpackPackageCodec

decode = MsgpackPackageCodec().decode
body = b"\\xdd\\x00\\x0f\\x00\\x00" * 300 + bytes(1_000_000)  # 300 lists, each in the one before, of 983,040 items
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(body)
except ValueError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_nested_claims_cost_no_memory() -> None:
    done = subprocess.run([sys.executable, "-c", NESTED_CLAIMS], capture_output=True, text=True, timeout=30, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 32 << 20


def test_without_msgpack_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)  # as the import system marks what is not there
    with pytest.raises(ImportError, match=r"needs the extra msgpack of arpc"):
        MsgpackPackageCodec()
