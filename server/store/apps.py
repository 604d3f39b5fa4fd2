"""Apps: the namespaces of credentials and registrations."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from server.domain.apps import App, DefaultCredential
from server.store.database import Database
from server.store.numbers import CREDENTIAL_TYPE_OF
from server.store.statements import Statements

_SQL = Statements("apps")


class Apps:
    """The apps of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: UUID, name: str) -> App | None:
        """Return the app, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, name)
        return _app(row) if row else None


def _app(row: asyncpg.Record) -> App:
    defaults = [DefaultCredential(CREDENTIAL_TYPE_OF[number], credential) for number, credential in row["defaults"]]
    return App(row["app_id"], row["name"], row["is_default"], defaults, row["created_at"], row["updated_at"])
