"""What is old goes: a day's partitions at once, when every operation accepted on that day has long been final."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

log = structlog.get_logger(__name__)

_SQL = Statements("retention")


class Retention:
    """Keeps operations, notifications and events for ``kept`` after their end; an app's totals as long as the app."""

    def __init__(self, database: Database, kept: timedelta) -> None:
        self._database = database
        self._kept = kept

    async def enforce(self) -> None:
        """Remove what is over. Safe from several processes at once. Raises ``Unavailable``."""
        async with self._database.connection() as connection:
            days = [row["day"] for row in await connection.fetch(_SQL.days, self._kept)]
        for day in days:
            await self._remove(day)
        await self._run(_SQL.delete_feeds, self._kept)
        await self._run(_SQL.forget_totals)

    async def _run(self, statement: str, *arguments: object) -> None:
        await transactions.run_statement(self._database, lambda connection: connection.execute(statement, *arguments))

    async def _remove(self, day: date) -> None:
        first, end = _first_id(day), _first_id(day + timedelta(days=1))
        try:
            async with self._database.transaction() as connection:
                if await connection.fetchval(_SQL.is_over, first, end, self._kept):
                    await _drop(connection, day, first, end)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            log.info("a day is in use and stays until the next time", day=str(day))


async def _drop(connection: Connection, day: date, first: UUID, end: UUID) -> None:
    await connection.execute(_SQL.drop_day, day)
    await connection.execute(_SQL.delete_operations, first, end)
    log.info("removed a day", day=str(day))


def _first_id(day: date) -> UUID:
    """Return the lowest UUIDv7 of a day (UTC)."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << 80)
