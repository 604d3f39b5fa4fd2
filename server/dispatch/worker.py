"""The worker's loop: claim what is due, run it, keep its leases alive, stop without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from server.dispatch.job_run import JobRun, Parts
from server.dispatch.ports import JobSignal
from server.domain.errors import Unavailable
from server.domain.jobs import Job, LeaseLost

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0  # the net below hints that get lost, and the grain of retries
AFTER_FAILURE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Slots:
    """Jobs under way at once. Small sends and bulk have their own, so that neither waits for the other."""

    small: int = 64
    bulk: int = 4


class Worker:
    """Run it as one task; ``stop`` lets it end."""

    def __init__(self, parts: Parts, signal: JobSignal, slots: Slots | None = None) -> None:
        self._parts = parts
        self._slots = slots or Slots()
        self._runs: dict[asyncio.Task[None], JobRun] = {}
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()  # new jobs, a free slot, or a stop
        signal.subscribe(self._wake.set)

    def stop(self) -> None:
        """Claim nothing more, finish the pushes under way, record them, give the rest back."""
        self._stopping.set()
        self._wake.set()
        for run in self._runs.values():
            run.stop()

    async def run(self) -> None:
        """Work until ``stop``. An error of this loop itself is raised; a job's error is logged and costs its lease.

        Cancelled, it leaves the jobs under way to their leases.
        """
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._keep_leases())
            await self._claim_until_stopped(group)
            if self._runs:
                await asyncio.wait(self._runs)
            heartbeat.cancel()

    async def _claim_until_stopped(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            try:
                claimed = await self._claim(group)
            except Unavailable:
                log.warning("the database can't be reached; the worker waits for it")
                await self._pause(AFTER_FAILURE_SECONDS)
                continue
            if not claimed:
                await self._wait_for_work()

    async def _claim(self, group: asyncio.TaskGroup) -> int:
        self._wake.clear()  # here, so that what happens during the claim is seen by the wait behind it
        small = self._slots.small - sum(1 for run in self._runs.values() if run.job.small)
        bulk = self._slots.bulk - sum(1 for run in self._runs.values() if not run.job.small)
        if small <= 0 and bulk <= 0:
            return 0
        jobs = await self._parts.store.claim(max(small, 0), max(bulk, 0), self._parts.lease)
        self._start(group, jobs)
        return len(jobs)

    def _start(self, group: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        for job in jobs:
            run = JobRun(job, self._parts)
            if self._stopping.is_set():
                run.stop()
            task = group.create_task(self._contain(run))
            self._runs[task] = run
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._runs[task]
        self._wake.set()

    async def _contain(self, run: JobRun) -> None:
        """One job's failure is its own: its lease ends and it is claimed again."""
        job_id = str(run.job.lease.job_id)
        try:
            await run.run()
        except* LeaseLost:
            log.info("lease lost", job_id=job_id)
        except* Unavailable:
            log.warning("job left to its lease: the database can't be reached", job_id=job_id)
        except* Exception:  # a job that fails again and again is split and ends as poison
            log.exception("job failed", job_id=job_id)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._parts.lease.total_seconds() / 3)
            held = {task: run for task, run in self._runs.items() if not task.done()}
            if not held:
                continue
            try:
                kept = await self._parts.store.extend([run.job.lease for run in held.values()], self._parts.lease)
            except Unavailable:
                continue
            for task, run in held.items():
                if run.job.lease.lease not in kept and not task.done() and task in self._runs:
                    task.cancel()

    async def _wait_for_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
