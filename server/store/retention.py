"""What is old goes: a day's partitions at once, when every operation accepted on that day has long been final."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from server.store import transactions
from server.store.database import Database
from server.store.statements import Statements

log = structlog.get_logger(__name__)

_SQL = Statements("retention")

PIECE = 5_000  # rows


class Retention:
    """Keeps operations, notifications and events for ``kept`` after their end; an app's totals as long as the app."""

    def __init__(self, database: Database, kept: timedelta) -> None:
        self._database = database
        self._kept = kept

    async def enforce(self) -> None:
        """Remove what is over. Safe from several processes at once. Raises ``Unavailable``."""
        async with self._database.connection() as connection:
            days = [row["day"] for row in await connection.fetch(_SQL.days, self._kept)]
            accounts = [row["account_id"] for row in await connection.fetch(_SQL.accounts)]
        for day in days:
            await self._remove(day, accounts)
        for account in accounts:
            async with self._database.connection() as connection:
                first_kept = await connection.fetchval(_SQL.first_kept, account, self._kept)
            await self._repeat(_SQL.delete_feed, account, first_kept)
        await self._run(_SQL.forget_totals)

    async def _run(self, statement: str, *arguments: object) -> object:
        """Return what the statement answers, None for no row."""
        return await transactions.run_statement(
            self._database, lambda connection: connection.fetchval(statement, *arguments)
        )

    async def _repeat(self, statement: str, *arguments: object) -> None:
        """Delete piece by piece until nothing is left: no statement takes long, whatever there is to delete."""
        while await self._run(statement, *arguments, PIECE) is not None:
            pass

    async def _remove(self, day: date, accounts: Sequence[UUID]) -> None:
        first, end = _first_id(day), _first_id(day + timedelta(days=1))
        async with self._database.connection() as connection:
            if not await connection.fetchval(_SQL.is_over, first, end, self._kept):
                return
        for account in accounts:
            await self._repeat(_SQL.delete_operations, account, first, end)
        try:  # last and alone: while a partition is dropped nobody can use the others
            await self._run(_SQL.drop_day, day)
        except asyncpg.LockNotAvailableError:
            log.info("a day is in use and stays until the next time", day=str(day))
        else:
            log.info("removed a day", day=str(day))


def _first_id(day: date) -> UUID:
    """Return the lowest UUIDv7 of a day (UTC)."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << 80)
