"""A process's life: run until a signal or a dead task, say when it is up, stop in grace."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. A second signal ends the process at once."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if event.is_set():
            os._exit(128 + number)
        event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return event


def ready(facts: Mapping[str, object]) -> None:
    """Print the one line that says the process is up."""
    sys.stdout.write(f"ready {json.dumps(dict(facts))}\n")
    sys.stdout.flush()


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent process ends, however it ends. Linux only; elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before we asked
        raise SystemExit(1)
