"""What processes have used, as /proc tells it (Linux): CPU seconds with all their descendants, and peak memory."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # how clock_getcpuclockid(3) names a process's CPU clock: in ns, where stat counts in 10 ms

Roles = Mapping[str, Iterable[int]]
"""A role's name, and the processes that have it, each with everything below it."""


def cpu_seconds(roles: Roles) -> dict[str, float]:
    """CPU seconds so far by role. Descendants that have ended and were waited for are in it."""
    children = _children()
    return {role: sum(_spent(pid) for root in roots for pid in _tree(root, children)) for role, roots in roles.items()}


def peak_mib(roles: Roles) -> dict[str, float]:
    """The highest peak of resident memory (VmHWM) of any single process of each role, in MiB."""
    children = _children()
    return {
        role: max((_status_kib(pid, "VmHWM:") for root in roots for pid in _tree(root, children)), default=0) / 1024
        for role, roots in roles.items()
    }


def resident_mib(pid: int) -> float:
    """The resident memory (VmRSS) of a process now, in MiB."""
    return _status_kib(pid, "VmRSS:") / 1024


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What each role used between two looks. A role that came later began at zero."""
    return {role: seconds - before.get(role, 0.0) for role, seconds in after.items()}


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            children[int(fields[1])].append(int(entry.name))
    return children


def _tree(root: int, children: Mapping[int, list[int]]) -> list[int]:
    family = [root]
    for pid in family:  # grows while it is walked
        family.extend(children.get(pid, ()))
    return family


def _spent(pid: int) -> float:
    """Of the process, all its threads, and of its children that it has waited for."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    try:
        own = time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:  # it has ended just now
        return 0.0
    return own + (int(fields[13]) + int(fields[14])) / _TICKS


def _status_kib(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _stat(pid: int) -> list[str]:
    """The fields from the third on; none when the process is gone. The name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
