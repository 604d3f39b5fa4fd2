"""Server processes of an owner that is gone. Only for the holder of the folder's lock: whoever still runs is an orphan.

Reads /proc, so on other systems nothing is found and PostgreSQL's own check of its pid file is what remains.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_POLL_SECONDS = 0.02


def recorded_pid(cluster: Path) -> int | None:
    """The server's process id as its pid file has it, which may be long dead or another program's by now."""
    try:
        return int((cluster / "postmaster.pid").read_text().split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):
        return None


def server_processes(cluster: Path) -> list[int]:
    """The server and its children: every postgres that has the cluster as its working directory."""
    return [int(process.name) for process in _processes() if _serves(process, cluster)]


def end_leftovers(cluster: Path, deadline: float) -> None:
    """Have them end and wait for it. Raises TimeoutError when one still runs at ``deadline`` (time.monotonic)."""
    while pids := server_processes(cluster):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of an earlier server still use {cluster}")
        server = recorded_pid(cluster)
        for pid in pids:
            _ask_to_end(pid, server, server_lives=server in pids)
        time.sleep(_POLL_SECONDS)


def _ask_to_end(pid: int, server: int | None, *, server_lives: bool) -> None:
    """A server that lives ends its children itself; children without one get what it would have sent them."""
    with suppress(ProcessLookupError):
        if pid == server:
            os.kill(pid, signal.SIGINT)
        elif not server_lives:
            os.kill(pid, signal.SIGQUIT)


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def _serves(process: Path, cluster: Path) -> bool:
    try:
        return (process / "cwd").readlink() == cluster and (process / "exe").readlink().name.startswith("postgres")
    except OSError:  # ended meanwhile, a zombie, or not ours to see
        return False
