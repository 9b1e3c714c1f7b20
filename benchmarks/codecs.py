"""What each codec takes for the same bodies, in one process: the figures by which the default of a format is chosen.

python -m benchmarks codecs
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from arpc.codecs import get_codec
from benchmarks.codec_bodies import Body, bodies
from benchmarks.cpu import Elsewhere
from benchmarks.inprocess import Work, interleaved, introduction, parse, versions_of, write
from benchmarks.report.grids import NOTHING, Rows, piped, significant, times

REFERENCE: Final = "json"
STEPS: Final = ("encode plain", "encode typed", "decode plain", "decode typed")
PLAIN: Final = ("json", "msgpack", "msgpack-package", "cbor")
"""Codecs that take all bodies as they are."""
BARE: Final = "msgpack, bare"
"""The msgpack package by itself, without what the codec does for safety and for types."""
PACKAGES: Final = ("msgspec", "orjson", "msgpack", "cbor2", "protobuf", "numpy")


def works(body: Body) -> dict[str, tuple[int, dict[str, Work]]]:
    """By codec: the bytes of the body, and what is measured with it, by step. Raises ValueError for a wrong answer."""
    found = {name: _plain(name, body) for name in PLAIN}
    found[BARE] = _bare(body)
    found["protobuf"] = _typed("protobuf", body.message, type(body.message))
    if body.array is not None:
        from numpy import float64
        from numpy.typing import NDArray

        found["raw, numpy"] = _typed("raw", body.array, NDArray[float64])
    return found


def _plain(name: str, body: Body) -> tuple[int, dict[str, Work]]:
    """Of a codec that knows plain values."""
    codec = get_codec(name)
    size, steps = _typed(name, body.typed, body.type)
    data = bytes(codec.encode(body.plain))
    if codec.decode(data) != body.plain:
        raise ValueError(f"{name} does not give {body.name} back")
    return size, {
        "encode plain": lambda: codec.encode(body.plain),
        "decode plain": lambda: codec.decode(data),
        **steps,
    }


def _typed(name: str, value: Any, type: Any) -> tuple[int, dict[str, Work]]:
    codec = get_codec(name)
    decode = codec.decoder(type)
    data = bytes(codec.encode(value))
    if bytes(codec.encode(decode(data))) != data:
        raise ValueError(f"{name} does not give a {type} back")
    return len(data), {"encode typed": lambda: codec.encode(value), "decode typed": lambda: decode(data)}


def _bare(body: Body) -> tuple[int, dict[str, Work]]:
    """Of the msgpack package."""
    import msgpack

    data: Any = msgpack.packb(body.plain)
    return len(data), {
        "encode plain": lambda: msgpack.packb(body.plain),
        "decode plain": lambda: msgpack.unpackb(data),
    }


def measure(body: Body, rounds: int, slice: float) -> dict[str, Any]:
    """The record of one body: what each step of each codec takes, in seconds."""
    every = works(body)
    turns = {(name, step): work for name, (_, steps) in every.items() for step, work in steps.items()}
    seconds = interleaved(turns, rounds, slice)
    return {
        "body": body.name,
        "title": body.title,
        "codecs": {
            name: {"bytes": size, **{step: seconds[name, step] for step in STEPS if step in steps}}
            for name, (size, steps) in every.items()
        },
    }


def markdown(data: dict[str, Any]) -> str:
    """The report of a result file."""
    parts = introduction("Codecs", data, f"in brackets the ratio to {REFERENCE}")
    for record in data["bodies"]:
        parts += [f"## {record['title'][0].upper()}{record['title'][1:]}", piped(_table(record["codecs"]))]
    return "\n\n".join(parts) + "\n"


def _table(codecs: dict[str, dict[str, float]]) -> Rows:
    base = codecs[REFERENCE]
    rows = [["codec", "bytes", *STEPS]]
    for name, one in codecs.items():
        cells = [
            f"{significant(one[step] * 1e6)} ({times(one[step] / base[step])})" if step in one else NOTHING
            for step in STEPS
        ]
        rows.append([name, f"{one['bytes']:,}", *cells])
    return rows


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks codecs`: 1 where a codec is not installed."""
    options = parse("codecs", __doc__, argv)
    try:
        every = bodies()
        versions = versions_of(PACKAGES)
        began, elsewhere = monotonic(), Elsewhere(0)
        records = [measure(body, options.repeat, options.slice) for body in every]
    except ImportError as error:
        print(f"{error}: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    share = elsewhere.seconds() / (monotonic() - began)
    write("codecs", argv, options, {"versions": versions, "elsewhere": share, "bodies": records}, markdown)
    return 0
