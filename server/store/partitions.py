"""The daily partitions of batches and notifications. There is no default one: they are made ahead."""

from __future__ import annotations

from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("partitions")
DAYS_AHEAD = 8
_PARENTS = ("batches", "notifications")


class Partitions:
    """Makes what is missing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self) -> None:
        """Make the partitions of the coming days. Safe from several processes at once. Raises ``Unavailable``."""
        for parent in _PARENTS:

            async def work(connection: Connection, parent: str = parent) -> None:
                await connection.execute(_SQL.make, parent, DAYS_AHEAD)

            await transactions.run(self._database, work)
