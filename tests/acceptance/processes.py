"""What runs below a process, as /proc tells it (Linux)."""

from __future__ import annotations

import os
import select
import signal
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self


class Process(NamedTuple):
    """One process for good: a number is given out again, a number with its start time is not."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises ProcessLookupError where there is none."""
        found = _stat(pid)
        if found is None:
            raise ProcessLookupError(pid)
        return cls(pid, found.started)

    @property
    def command(self) -> list[str]:
        """Its command line; empty once it has ended."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]
        except OSError:
            return []

    @property
    def runs(self) -> bool:
        found = _stat(self.pid)
        return found is not None and found.state != "Z" and found.started == self.started

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.runs:
                os.kill(self.pid, number)

    def wait(self, within: float) -> None:
        """Returns once it has ended. Raises TimeoutError after `within` seconds."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.runs and not select.select([descriptor], [], [], within)[0]:
                raise TimeoutError(f"{self.pid} still runs: {self.command}")
        finally:
            os.close(descriptor)


class _Stat(NamedTuple):
    state: str
    parent: int
    started: str


def below(pid: int) -> list[Process]:
    """The process's children, their children, and so on; parents before children."""
    children: dict[int, list[Process]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        if (found := _stat(int(entry.name))) is not None:
            children[found.parent].append(Process(int(entry.name), found.started))
    family = list(children[pid])
    for process in family:  # grows while it is walked
        family.extend(children[process.pid])
    return family


def still_running(processes: Iterable[Process]) -> list[tuple[int, list[str]]]:
    """Those that have not ended, with their command lines."""
    return [(process.pid, process.command) for process in processes if process.runs]


def _stat(pid: int) -> _Stat | None:
    """See proc(5). The command's name stands in brackets and may hold anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(fields[0], int(fields[1]), fields[19])
