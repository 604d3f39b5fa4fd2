"""Sends that wait for their time: their jobs are in lanes that no worker claims from, until the operation begins."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("schedule")
_AT_ONCE = 100  # jobs of each kind whose operations are begun before the caller is told


class Schedule:
    """The waiting sends of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_due(self) -> set[UUID]:
        """Begin operations whose time has come, 200 at most, and return their accounts. Raises ``Unavailable``."""
        async with self._database.connection() as connection:
            due = await connection.fetch(_SQL.due, _AT_ONCE)
        return {row["account_id"] for row in due if await self._begin(row["account_id"], row["operation_id"])}

    async def next_due(self) -> timedelta | None:
        """Return how long until the next one's time comes, None where none waits; negative where it has come."""
        async with self._database.connection() as connection:
            wait: timedelta | None = await connection.fetchval(_SQL.next_due)
        return wait

    async def _begin(self, account: UUID, operation_id: UUID) -> bool:
        async def work(connection: Connection) -> bool:
            return bool(await connection.fetchval(_SQL.begin, account, operation_id))

        return await transactions.run(self._database, work)
