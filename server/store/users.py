"""The people whose devices are registered."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from server.domain.users import User
from server.store.database import Database
from server.store.statements import Statements

_SQL = Statements("users")


class Users:
    """The users of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: UUID, user_id: UUID) -> User | None:
        """Return the user, also a deleted one, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, user_id)
        return _user(row) if row else None


def _user(row: asyncpg.Record) -> User:
    return User(row["user_id"], row["created_at"], row["updated_at"], row["deleted_at"])
