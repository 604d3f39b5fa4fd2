"""`pharos work`: several workers, each a process of its own, kept running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from client.processes import ProcessError
from client.supervision import Fleet, Plan, Policy


def cores() -> int:
    """The cores that this process may use: one worker can't use more than one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """What `pharos work` is asked for. ``arguments`` are passed on to each worker."""

    workers: int
    name: str | None = None
    arguments: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """How logs call the workers."""
        base = self.name or f"{platform.node()}:{os.getpid()}"
        return [f"{base}-{number}" for number in range(1, self.workers + 1)]


def _log(name: str, line: str) -> None:
    """A worker's own lines say who it is; those about it do not."""
    sys.stderr.write(f"{name}: {line}\n" if name == "up" else f"{line}\n")
    sys.stderr.flush()


def run(
    options: WorkOptions,
    program: Sequence[str] = (sys.executable, "-m", "server", "work"),
    policy: Policy | None = None,
) -> int:
    """Runs the workers until SIGTERM or SIGINT; the exit code: 0 after a signal, 1 if they could not go on."""
    try:
        asyncio.run(_until_signal(options, program, Fleet(_log, policy or Policy())))
    except (ProcessError, OSError) as error:
        sys.stderr.write(f"pharos work: {error}\n")
        return 1
    return 0


async def _until_signal(options: WorkOptions, program: Sequence[str], fleet: Fleet) -> None:
    """The first signal stops the workers in order, a second one kills what is still there."""
    running = asyncio.create_task(_keep(options, program, fleet))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _keep(options: WorkOptions, program: Sequence[str], fleet: Fleet) -> None:
    try:
        await fleet.start(*(_plan(name, program, options.arguments) for name in options.names))
        sys.stdout.write(f"ready {json.dumps({'workers': options.names})}\n")
        sys.stdout.flush()
        await fleet.keep()
    finally:
        await fleet.stop()


def _plan(name: str, program: Sequence[str], arguments: Sequence[str]) -> Plan:
    return Plan(name, [*program, "--name", name, "--die-with-parent", *arguments], os.environ)
