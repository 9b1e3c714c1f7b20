"""What each codec takes for the same bodies, in one process: the figures by which the default of a format is chosen.

python -m benchmarks codecs
"""

from __future__ import annotations

import argparse
import importlib.metadata
import random
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any, Final

from arpc.codecs import get_codec
from benchmarks.codec_bodies import Body, bodies
from benchmarks.cpu import Elsewhere
from benchmarks.report.grids import NOTHING, Rows, piped, significant, times
from benchmarks.report.notes import QUIET
from benchmarks.results import FOLDER, machine, save

REFERENCE: Final = "json"
STEPS: Final = ("encode plain", "encode typed", "decode plain", "decode typed")
PLAIN: Final = ("json", "msgpack", "msgpack-package", "cbor")
"""Codecs that take all bodies as they are."""
BARE: Final = "msgpack, bare"
"""The msgpack package by itself, without what the codec does for safety and for types."""
PACKAGES: Final = ("msgspec", "orjson", "msgpack", "cbor2", "protobuf", "numpy")
ROUNDS: Final = 31
SLICE: Final = 0.005
"""Seconds of one codec at one step, before it is another's turn."""

Work = Callable[[], object]


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


def measure(body: Body, rounds: int, slice: float = SLICE) -> dict[str, Any]:
    """The record of one body: medians over rounds in which the codecs take turns, in an order of chance; in seconds."""
    every = works(body)
    turns = [(name, step, work) for name, (_, steps) in every.items() for step, work in steps.items()]
    seconds: dict[tuple[str, str], list[float]] = {(name, step): [] for name, step, _ in turns}
    repeats = {(name, step): max(1, round(slice / _seconds(work, 3))) for name, step, work in turns}
    order = random.Random(1)
    for _ in range(rounds):
        order.shuffle(turns)
        for name, step, work in turns:
            seconds[name, step].append(_seconds(work, repeats[name, step]))
    return {
        "body": body.name,
        "title": body.title,
        "codecs": {
            name: {"bytes": size, **{step: median(seconds[name, step]) for step in STEPS if step in steps}}
            for name, (size, steps) in every.items()
        },
    }


def _seconds(work: Work, times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        work()
    return (perf_counter() - began) / times


def markdown(data: dict[str, Any]) -> str:
    """The report of a result file."""
    where = "{cores} cores, {processor}, {system}, {python}".format_map(data["machine"])
    parts = [
        "# Codecs",
        f"Made {data['made']} by `{data['command']}`, on {where}; "
        + ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        + f". Medians of {data['rounds']} interleaved rounds, in microseconds; in brackets the ratio to {REFERENCE}.",
    ]
    if data["elsewhere"] > QUIET:
        parts.append(f"**Other programs used {data['elsewhere']:.1f} cores meanwhile: do not trust these figures.**")
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks codecs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=ROUNDS, help=f"rounds; medians are taken over these ({ROUNDS})")
    parser.add_argument("--slice", type=float, default=SLICE, help=f"seconds of each in each round ({SLICE})")
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "last" / "codecs.json", help="the JSON file; the report goes beside it"
    )
    options = parser.parse_args(argv)
    if options.repeat < 1 or options.slice < 0:
        parser.error("--repeat is a number above 0, --slice one of seconds")
    if options.output.suffix != ".json":
        parser.error(f"--output is the name of a .json file, not {options.output.name}")
    try:
        every = bodies()
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        began, elsewhere = monotonic(), Elsewhere(0)
        records = [measure(body, options.repeat, options.slice) for body in every]
    except ImportError as error:
        print(f"{error}: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    data = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(("python", "-m", "benchmarks", "codecs", *argv)),
        "machine": machine(),
        "versions": versions,
        "rounds": options.repeat,
        "elsewhere": elsewhere.seconds() / (monotonic() - began),
        "bodies": records,
    }
    report = markdown(data)
    save(data, options.output)
    options.output.with_suffix(".md").write_text(report)
    print(report)
    return 0
