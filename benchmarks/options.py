"""The suite's options, and the plan that they ask for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cases, memory
from benchmarks.opponents import registry
from benchmarks.opponents.base import Opponent, Unavailable
from benchmarks.results import FOLDER
from benchmarks.suite import Plan

OTHERS = ("idle", "idle-streams", "after-load", "imports")
"""Cases besides those that are calls."""
FEWEST = 100
"""Connections below which it makes no sense to measure what one of many costs."""


def planned(options: argparse.Namespace, opponents: Sequence[Opponent], left_out: dict[str, str]) -> Plan:
    """The plan that the options ask for; what cannot be measured on this machine is named in `left_out`."""
    many = memory.allowed_connections(cases.MANY)
    wanted = dict.fromkeys(options.cases)
    if many < FEWEST:
        for name in wanted.keys() & {"busy", "idle"}:
            left_out[name] = "needs thousands of file descriptors: raise the hard limit (ulimit -Hn)"
            del wanted[name]
    if not memory.AVAILABLE:
        for name in wanted.keys() & {"idle", "idle-streams", "after-load"}:
            left_out[name] = "needs /proc (Linux)"
            del wanted[name]
    if options.pinned:
        for one in opponents:
            if one.processes > 1:
                left_out[one.name] = "its server's processes would share the one core that --pinned gives to a server"
        opponents = [one for one in opponents if one.processes == 1]
    known = cases.cases(options.callers, options.delays, many)
    calls = [cases.timed(known[name], options.seconds, options.warmup) for name in wanted if name in known]
    sizes: list[memory.Memory] = []
    if "idle" in wanted:
        sizes += [memory.Idle(many), memory.Idle(many, client="arpc"), memory.Idle(4 * many, processes=4)]
    if "idle-streams" in wanted:
        sizes.append(memory.IdleStreams(cases.STREAMS))
    if "after-load" in wanted:
        sizes.append(memory.AfterLoad())
    return Plan(
        opponents=opponents,
        cases=calls,
        memory=sizes,
        imports="imports" in wanted,
        rounds=options.rounds,
        seed=options.seed,
        pinned=options.pinned,
        output=options.output,
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options, checked; `--quick` only changes what the others are when they are not given."""
    known = {kind.name: kind for kind in registry.ALL}
    every = [*cases.cases(), *OTHERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Every system against every other, in turn, on this machine; docs/benchmarks.md explains it.",
        epilog="Also: python -m benchmarks compare A B, python -m benchmarks report FILE, codecs, layers.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="bytes and JSON with 1, 100 and 1000 callers, ours, bare and Go arpc")
    add("--opponents", nargs="+", metavar="NAME", choices=known, help=f"systems: {', '.join(known)}")
    add("--add", action="append", metavar="FILE", default=[], help="measure the systems of this Python file, too")
    add("--cases", nargs="+", metavar="NAME", choices=every, help=f"what to measure: {', '.join(every)}")
    add("--callers", nargs="+", type=_positive, metavar="N", help="callers of bytes, say, json (1 100 500 ... 5000)")
    add("--delays", nargs="+", type=_seconds, metavar="S", help="seconds that Hello.Say sleeps (0 0.01 0.03)")
    add("--duration", type=_seconds, dest="seconds", default=1.0, help="seconds measured in each round (1.0)")
    add("--warmup", type=_seconds, default=0.3, help="seconds before them that do not count (0.3)")
    add("--repeat", type=_positive, dest="rounds", default=3, help="rounds; medians are taken over these (3)")
    add("--seed", type=int, default=1, help="of the order in which the systems take turns (1)")
    add("--pinned", action="store_true", help="one core for the server, one for the client, GOMAXPROCS=1")
    add("--output", type=Path, help="the JSON file; report and plots go beside it (benchmarks/results/last/*.json)")
    options = parser.parse_args(argv)
    quick = options.quick
    names = options.opponents or [one.name for one in (registry.QUICK if quick else registry.ALL)]
    kinds = [known[name] for name in dict.fromkeys(names)]
    try:
        kinds += [kind for path in options.add for kind in registry.from_file(path)]
    except Unavailable as error:
        parser.error(str(error))
    options.kinds = kinds
    if len({kind.name for kind in kinds}) < len(kinds):
        parser.error("an added system has the name of another: " + ", ".join(kind.name for kind in kinds))
    options.cases = options.cases or (["bytes", "json"] if quick else every)
    options.callers = options.callers or ((1, 100, 1000) if quick else cases.CALLERS)
    options.delays = options.delays or ((0.0,) if quick else cases.DELAYS)
    if options.seconds <= 0:
        parser.error("--duration must be above 0")
    if options.pinned and not hasattr(os, "sched_setaffinity"):
        parser.error("--pinned needs Linux")
    options.output = (options.output or FOLDER / "last" / ("quick.json" if quick else "full.json")).resolve()
    if options.output.suffix != ".json":
        parser.error(f"--output is the name of a .json file, not {options.output.name}")
    nearest = next(folder for folder in options.output.parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        parser.error(f"--output: {nearest} cannot be written to")
    return options


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to 3600")
    return value
