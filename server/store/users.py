"""The people whose devices are registered."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from server.domain.errors import NotFound
from server.domain.users import User
from server.store import transactions
from server.store.database import Connection, Database
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

    async def newest(self, account: UUID, first: UUID, limit: int) -> Sequence[User]:
        """Return up to ``limit`` users from the id ``first`` on, newest first, without the deleted ones."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.newest, account, first, limit)
        return [_user(row) for row in rows]

    async def delete(self, account: UUID, user_id: UUID) -> None:
        """Mark the user as deleted and remove all its registrations. Raises ``NotFound``, also for a deleted one."""

        async def work(connection: Connection) -> None:
            await _delete(connection, account, user_id)

        await transactions.run(self._database, work)


async def _delete(connection: Connection, account: UUID, user_id: UUID) -> None:
    await connection.execute(_SQL.lock_devices, account, user_id)
    if not await connection.fetchval(_SQL.lock, account, user_id):
        raise NotFound("there is no such user")
    if not await connection.fetchval(_SQL.lock_late_devices, account, user_id):
        raise transactions.Overtaken
    await connection.execute(_SQL.lock_registrations, account, user_id)
    await connection.execute(_SQL.delete, account, user_id)


def _user(row: asyncpg.Record) -> User:
    return User(row["user_id"], row["created_at"], row["updated_at"], row["deleted_at"])
