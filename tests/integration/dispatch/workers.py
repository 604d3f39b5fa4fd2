"""Real workers on a real database: only the providers are scripted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from server.dispatch.health import HealthReports
from server.dispatch.job_run import Parts
from server.dispatch.lanes import Lanes
from server.dispatch.rendering import Renderings
from server.dispatch.worker import Worker
from server.rendering.renderer import Renderer
from server.store.database import Database
from server.store.health import CredentialHealths
from server.store.hints import Signal
from server.store.jobs import Jobs
from tests.unit.dispatch.scripted import Announcements, Providers


@dataclass
class Running:
    """A worker and its task."""

    worker: Worker
    task: asyncio.Task[None]
    reports: asyncio.Task[None]
    announcements: Announcements

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.worker.stop()
        async with asyncio.timeout(20):
            await asyncio.wait([self.task])

    async def kill(self) -> None:
        """End it at once, as far as the database can see: what it holds stays under its lease."""
        self.task.cancel()
        self.reports.cancel()
        await asyncio.wait([self.task, self.reports])


@dataclass
class Workers:
    """Starts workers."""

    group: asyncio.TaskGroup
    database: Database
    providers: Providers
    running: list[Running] = field(default_factory=list)

    def start(self, *, lease: timedelta = timedelta(seconds=30), database: Database | None = None) -> Running:
        announcements = Announcements()
        store = database or self.database
        reports = HealthReports(CredentialHealths(store), announcements)
        parts = Parts(Jobs(store), self.providers, Renderings(Renderer()), Lanes(reports.tell), announcements, lease)
        worker = Worker(parts, Signal())
        started = Running(
            worker, self.group.create_task(worker.run()), self.group.create_task(reports.run()), announcements
        )
        self.running.append(started)
        return started

    async def kill_all(self) -> None:
        for each in self.running:
            await each.kill()
