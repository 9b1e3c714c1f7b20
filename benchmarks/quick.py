"""Bytes echo and typed JSON, ours against the bare uvloop loop and Go arpc, in under two minutes.

    python -m benchmarks.quick [--rounds 3] [--seconds 1.0] [--only NAME ...] [--save]

The systems run in turn, each server in a process of its own that stays, each load client in a fresh one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import report
from benchmarks.opponents.bare import Bare
from benchmarks.opponents.base import ROOT, Failed, Opponent, Unavailable
from benchmarks.opponents.goarpc import GoArpcBest, GoArpcDefault
from benchmarks.opponents.ours import Ours
from benchmarks.workload import SIZES, Load

OPPONENTS = (Ours, Bare, GoArpcDefault, GoArpcBest)
CASES = {
    "bytes": f"bytes echo, {SIZES['bytes']} bytes",
    "json": f"typed JSON, {SIZES['json']}-byte note",
}
CALLERS = (1, 100, 1000)
REFERENCES = {"go-default": "x Go default", "go-best": "x Go best", "bare": "x bare"}
CONNECTIONS = 10
WARMUP = 0.3
QUIET = 0.15
"""Cores that other programs may use in any round before the result is called into question."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code: 1 after any error or wrong answer."""
    options = parse(argv)
    began = time.monotonic()
    machine = report.machine()
    print(report.heading(machine))
    failures: list[str] = []
    versions: dict[str, str] = {}
    tables: list[tuple[Load, list[report.Series]]] = []
    with ExitStack() as running:
        opponents = []
        for kind in OPPONENTS:
            opponent = kind()
            if not options.systems or opponent.name in options.systems:
                try:
                    versions[opponent.name] = opponent.prepare()
                    opponents.append(running.enter_context(opponent))
                    print(f"  {opponent.title}: {versions[opponent.name]}")
                except Unavailable as reason:
                    print(f"  left out: {opponent.title}: {reason}")
                except Failed as failure:
                    failures.append(str(failure))
        for case in options.cases or CASES:
            takers = [opponent for opponent in opponents if case in opponent.cases]
            for callers in (options.callers or CALLERS) if takers else ():
                load = Load(case, callers, CONNECTIONS, options.seconds, WARMUP)
                series = in_turn(takers, load, options.rounds, failures)
                tables.append((load, series))
                heading = f"{CASES[case]}; {callers} caller{'s' * (callers > 1)}, {CONNECTIONS} connections"
                print("\n" + report.table(heading, series, REFERENCES), flush=True)

    wrong = sum(one.errors for _, series in tables for one in series)
    print(f"\nMedians of {options.rounds} rounds of {options.seconds} s; {time.monotonic() - began:.0f} s in all.")
    busy = max((one.elsewhere for _, series in tables for one in series), default=0.0)
    if busy > QUIET:
        print(f"Other programs used up to {busy:.1f} of {machine['cores']} cores meanwhile: do not trust these ratios.")
    for text in failures:
        print(f"FAILED: {text}")
    if options.save:
        settings = {"rounds": options.rounds, "seconds": options.seconds, "warmup": WARMUP, "connections": CONNECTIONS}
        cases = [report.record(load.case, load.callers, series) for load, series in tables]
        results = {"machine": machine, "versions": versions, "settings": settings, "failures": failures, "cases": cases}
        print(f"Saved to {report.save('quick', results).relative_to(ROOT)}.")
    return 1 if wrong or failures or not opponents else 0


def in_turn(opponents: Sequence[Opponent], load: Load, rounds: int, failures: list[str]) -> list[report.Series]:
    """Measure A B C D A B C D ..., so that a slow moment of the machine meets all of them.

    A system that fails is not run again under this load.
    """
    series = [report.Series(opponent) for opponent in opponents]
    running = list(series)
    for _ in range(rounds):
        for one in tuple(running):
            try:
                one.results.append(one.opponent.load(load))
            except Failed as failure:
                failures.append(str(failure))
                running.remove(one)
    return series


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; what `--only` names is sorted into `systems`, `cases` and `callers`, each empty for all."""
    systems = [kind.name for kind in OPPONENTS]
    names = [*systems, *CASES, *map(str, CALLERS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over these (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (default: 1.0)")
    parser.add_argument("--only", nargs="+", choices=names, default=[], help="systems, cases and numbers of callers")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/quick.json")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1 and --seconds above 0")
    options.systems = [name for name in options.only if name in systems]
    options.cases = [name for name in options.only if name in CASES]
    options.callers = [int(name) for name in options.only if name.isdigit()]
    return options


if __name__ == "__main__":
    sys.exit(main())
