"""CPU time, of processes and of the whole machine: tells whether other programs ran while something was measured."""

from __future__ import annotations

import os
import resource
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def of_machine() -> float | None:
    """CPU seconds that everything here has used since the start; None where /proc does not tell (not Linux)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) * TICK  # stolen is what the host gave to others


def of_tree(pid: int) -> float:
    """CPU seconds that a running process and its children have used; 0 where /proc does not tell."""
    return sum(map(_of_process, tree(pid)))


def tree(pid: int) -> list[int]:
    """A process and all under it that run."""
    try:
        children = [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except OSError:
        children = []
    return [pid, *(one for child in children for one in tree(child))]


def _of_process(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK


def of_self() -> float:
    """CPU seconds that this process and its children that have ended have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Elsewhere:
    """Measures, from its making on, what programs other than this one, its children and one more process use."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._machine = of_machine()
        self._mine = of_self() + of_tree(pid)

    def seconds(self) -> float:
        """CPU seconds that the others have used so far; 0 where that cannot be told."""
        machine = of_machine()
        if machine is None or self._machine is None:
            return 0.0
        return max(0.0, machine - self._machine - (of_self() + of_tree(self._pid) - self._mine))
