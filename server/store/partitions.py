"""The daily partitions of batches and notifications. There is no default one: they are made ahead."""

from __future__ import annotations

from server.store.database import Database
from server.store.statements import Statements

_SQL = Statements("partitions")
DAYS_AHEAD = 8


class Partitions:
    """Makes what is missing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self) -> None:
        """Make the partitions of the coming days. Safe from several processes at once. Raises ``Unavailable``."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL.make, DAYS_AHEAD)
