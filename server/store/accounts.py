"""Accounts and API keys: made with a random secret of which only the hash is kept."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

import asyncpg

from server.domain.accounts import Identity, IssuedSecret, secret_hash
from server.domain.errors import NotFound
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("accounts")
_SECRET_BYTES = 32


class Accounts:
    """The accounts of this installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str) -> IssuedSecret:
        """Make an account; its token can't be asked for again."""
        secret = secrets.token_hex(_SECRET_BYTES)
        async with self._database.connection() as connection:
            account_id = await connection.fetchval(_SQL.insert, name, secret_hash(secret))
        return IssuedSecret(account_id, secret)

    async def create_key(self, account: UUID, name: str) -> IssuedSecret:
        """Make an API key, with all of the account's rights. Raises ``NotFound`` where there is no such account."""
        secret = secrets.token_hex(_SECRET_BYTES)
        async with self._database.connection() as connection:
            try:
                key_id = await connection.fetchval(_SQL.insert_key, account, name, secret_hash(secret))
            except asyncpg.ForeignKeyViolationError:
                raise NotFound("there is no such account") from None
        return IssuedSecret(key_id, secret)

    async def account_identity(self, account: UUID) -> Identity | None:
        """Return whom the account's token is for."""
        return await self._identity(_SQL.account_identity, account)

    async def account_time(self, account: UUID) -> datetime | None:
        """Return the database's time, or None where there is no such account."""
        async with self._database.connection() as connection:
            now: datetime | None = await connection.fetchval(_SQL.account_time, account)
        return now

    async def key_identity(self, key: UUID) -> Identity | None:
        """Return whom the API key's secret is for."""
        return await self._identity(_SQL.key_identity, key)

    async def _identity(self, statement: str, value: UUID) -> Identity | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statement, value)
        return Identity(row["account_id"], row["secret_hash"]) if row else None


async def lock_account(connection: Connection, account: UUID) -> None:
    """Hold the account's apps and credentials until the transaction ends: who writes them takes this lock first."""
    await connection.execute(_SQL.lock, account)
