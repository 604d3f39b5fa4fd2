"""Transactions that are all open at once, and of which the one with the highest number is always committed next.

Where numbers are given out under a lock that is held until the commit there is only one with a number at any time, and
the others wait. Where they are not, all have one, and are committed in the reverse order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from server.domain.jobs import Flush, Job
from server.store.database import Connection, Database
from server.store.jobs import record
from tests.integration.store.sending import eventually
from tests.status_stream.writers import Witnesses, ends_of

_WAITING = "select pid from pg_stat_activity where pid = any($1) and wait_event_type = 'Lock'"


@dataclass
class _Open:
    """A writer's transaction: it records, and is left open."""

    job: Job
    flush: Flush
    connection: Connection
    recording: asyncio.Task[object] = field(init=False)

    def begin(self) -> None:
        self.recording = asyncio.create_task(record(self.connection, self.job, self.flush))

    @property
    def pid(self) -> int:
        number: int = self.connection.get_server_pid()
        return number

    @property
    def has_number(self) -> bool:
        return self.recording.done()


async def commit_crosswise(
    database: Database, jobs: Sequence[Job], witnesses: Witnesses, committed: Callable[[], Awaitable[None]]
) -> list[Job]:
    """Records each job whole, a writer each, and returns them in the order in which they were committed.

    ``committed`` is awaited after each commit: it returns when readers have looked.
    """
    order: list[Job] = []
    async with AsyncExitStack() as stack:
        opened: list[_Open] = []
        for job in jobs:
            connection = await stack.enter_async_context(database.connection())
            opened.append(_Open(job, ends_of(job, sorted(job.recipients)), connection))
            await connection.execute("begin")
            opened[-1].begin()
            await eventually(lambda: _settled(database, opened))
        while opened:
            await eventually(lambda: _settled(database, opened))
            done = [each for each in opened if each.has_number]
            if done:
                opened.remove(done[-1])
                await _commit(done[-1], witnesses)
                order.append(done[-1].job)
                await committed()
    return order


async def _settled(database: Database, opened: Sequence[_Open]) -> bool:
    """Whether each has its number or waits for a lock."""
    waiting = [each.pid for each in opened if not each.has_number]
    async with database.connection() as connection:
        blocked = await connection.fetch(_WAITING, waiting)
    return len(blocked) == len(waiting)


async def _commit(done: _Open, witnesses: Witnesses) -> None:
    await done.recording  # raises what went wrong
    witnesses.committing(done.job, done.flush)
    await done.connection.execute("commit")
    witnesses.committed(done.job, done.flush)
