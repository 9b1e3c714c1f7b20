"""What has to be said beside figures: what they belong to, and what speaks against trusting them."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.report.grids import times
from benchmarks.report.ratios import RATE, Quantity, ratio
from benchmarks.report.schema import Measurement, Run

QUIET = 0.15
"""Cores that other programs may use in any round before the figures are called into question."""


def published(measurement: Measurement, name: str, reference: str, quantity: Quantity = RATE) -> str:
    """The ratio; with a warning, where one of the two had errors and the figure is not worth much."""
    found = ratio(measurement, quantity, name, reference)
    wrong = sum(measurement.systems[one].errors for one in (name, reference) if one in measurement.systems)
    return times(found.value if found else None) + (f" ({wrong:,} errors)" if wrong and found else "")


def belongings(run: Run, names: Collection[str]) -> str:
    """What figures of these systems belong to."""
    pinned = "one core a process, " if run.settings.get("pinned") else ""
    rounds, seconds = (run.settings.get(key, "?") for key in ("rounds", "seconds"))
    versions = dict.fromkeys(word for name in names for word in run.versions(name))
    return f"Medians of {rounds} interleaved rounds of {seconds} s; {pinned}{run.where}; {', '.join(versions)}."


def doubts(run: Run) -> list[str]:
    """What speaks against trusting this run, each in a sentence."""
    found = [] if run.complete else ["The run was ended before it was complete."]
    measured = [one for measurement in run.calls for one in measurement.systems.values()]
    busy = max((one.elsewhere for one in measured), default=0.0)
    if busy > QUIET:
        cores = run.machine.get("cores", "?")
        found.append(f"Other programs used up to {busy:.1f} of {cores} cores meanwhile: do not trust these figures.")
    for name in run.order(*(one.systems for one in run.calls)):
        wrong = sum(one.systems[name].errors for one in run.calls if name in one.systems)
        if wrong:
            found.append(f"{run.title(name)}: {wrong:,} calls failed or were answered wrongly.")
    if run.failures:
        found.append(f"{len(run.failures):,} measurements failed.")
    return found
