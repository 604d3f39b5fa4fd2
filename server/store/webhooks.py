"""Webhooks as their owners manage them, and the log of their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from server.domain.errors import Invalid, NotFound, Violation
from server.domain.requests import Done, RequestKey
from server.domain.webhooks import (
    MAX_WEBHOOKS,
    OLD_SECRET_LIFE,
    Delivery,
    DeliveryStatus,
    EventType,
    NewWebhook,
    Webhook,
    WebhookStatus,
    event_id,
)
from server.store import idempotency, transactions
from server.store.accounts import lock_account
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("webhooks")
_PIECE: Final = 5_000  # rows
LOG_KEPT: Final = timedelta(days=3)


class Webhooks:
    """The webhooks of all accounts. What names one that the account does not have raises ``NotFound``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def new_id(self) -> UUID:
        """Return an id for a webhook that is yet to be made: its secret's seal is bound to it."""
        async with self._database.connection() as connection:
            made: UUID = await connection.fetchval(_SQL.new_id)
        return made

    async def create(self, account: UUID, new: NewWebhook, key: RequestKey | None) -> Done[UUID]:
        """Store the webhook and return its id. Raises ``Invalid`` for an 11th, ``Conflict`` as ``idempotency.run``."""

        async def make(connection: Connection) -> UUID:
            await lock_account(connection, account)
            if await connection.fetchval(_SQL.count, account) >= MAX_WEBHOOKS:
                raise Invalid(Violation("url", f"the account has {MAX_WEBHOOKS} webhooks, the most there can be"))
            arguments = (new.url, list(new.event_types), new.description, new.sealed)
            await connection.execute(_SQL.insert, account, new.webhook_id, *arguments)
            return new.webhook_id

        return await idempotency.run(self._database, account, key, make)

    async def get(self, account: UUID, webhook_id: UUID) -> Webhook:
        """Return the webhook."""
        async with self._database.connection() as connection:
            return _webhook(_found(await connection.fetchrow(_SQL.get, account, webhook_id)))

    async def newest(self, account: UUID, first: UUID, limit: int) -> Sequence[Webhook]:
        """Return up to ``limit`` webhooks from the id ``first`` on, newest first."""
        async with self._database.connection() as connection:
            return [_webhook(row) for row in await connection.fetch(_SQL.newest, account, first, limit)]

    async def delete(self, account: UUID, webhook_id: UUID) -> None:
        """Delete the webhook with its log."""
        async with self._database.connection() as connection:
            _found(await connection.fetchrow(_SQL.delete, account, webhook_id))

    async def rotate(self, account: UUID, webhook_id: UUID, sealed: bytes, key: RequestKey | None) -> Done[UUID]:
        """Replace the secret, which stays good beside the new one for a day."""
        return await self._change(account, webhook_id, key, _SQL.rotate, sealed, OLD_SECRET_LIFE)

    async def sealed_secret(self, account: UUID, webhook_id: UUID) -> bytes:
        """Return the secret as it is stored."""
        async with self._database.connection() as connection:
            sealed: bytes = _found(await connection.fetchrow(_SQL.secret, account, webhook_id))["sealed"]
        return sealed

    async def pause(self, account: UUID, webhook_id: UUID, key: RequestKey | None) -> Done[UUID]:
        """Begin no more deliveries."""
        return await self._change(account, webhook_id, key, _SQL.pause)

    async def resume(self, account: UUID, webhook_id: UUID, key: RequestKey | None) -> Done[UUID]:
        """Go on with what is left to deliver."""
        return await self._change(account, webhook_id, key, _SQL.resume)

    async def deliveries(
        self, account: UUID, webhook_id: UUID, status: DeliveryStatus | None, first: UUID, limit: int
    ) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries from the id ``first`` on, newest first."""
        async with self._database.connection() as connection:
            _found(await connection.fetchrow(_SQL.get, account, webhook_id))
            rows = await connection.fetch(_SQL.deliveries, account, webhook_id, first, limit, status)
        return [_delivery(row) for row in rows]

    async def replay(
        self, account: UUID, webhook_id: UUID, deliveries: Sequence[UUID] | None, key: RequestKey | None
    ) -> Done[UUID]:
        """Deliver again: these deliveries, or all that failed where it is None."""

        async def work(connection: Connection) -> UUID:
            _found(await connection.fetchrow(_SQL.lock, account, webhook_id))
            await connection.execute(_SQL.replay, account, webhook_id, deliveries)
            await connection.execute(_SQL.wake, account, webhook_id)
            return webhook_id

        return await idempotency.run(self._database, account, key, work)

    async def expire(self) -> None:
        """Forget deliveries that ended longer ago than the log is kept. Safe from several processes at once."""
        async with self._database.connection() as connection:
            accounts = [row["account_id"] for row in await connection.fetch(_SQL.accounts)]
        for account in accounts:
            while await self._expire(account):
                pass

    async def _expire(self, account: UUID) -> bool:
        async def work(connection: Connection) -> bool:
            return bool(await connection.fetchval(_SQL.expire, account, LOG_KEPT, _PIECE))

        return await transactions.run_statement(self._database, work)

    async def _change(
        self, account: UUID, webhook_id: UUID, key: RequestKey | None, statement: str, *arguments: object
    ) -> Done[UUID]:
        async def work(connection: Connection) -> UUID:
            _found(await connection.fetchrow(_SQL.lock, account, webhook_id))
            await connection.execute(statement, account, webhook_id, *arguments)
            return webhook_id

        return await idempotency.run(self._database, account, key, work)


def _found(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound("there is no such webhook")
    return row


def _webhook(row: asyncpg.Record) -> Webhook:
    return Webhook(
        row["webhook_id"],
        row["url"],
        row["event_types"],
        row["description"],
        WebhookStatus(row["status"]),
        row["failing_since"],
        row["old_until"],
        row["created_at"],
        row["updated_at"],
    )


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        row["delivery_id"],
        event_id(row["epoch"], row["seq"], EventType(row["type"])),
        row["type"],
        row["seq"],
        DeliveryStatus(row["status"]),
        row["attempts"],
        row["last_attempt_at"],
        row["response_status"],
        row["error"],
        row["next_attempt_at"],
        row["created_at"],
    )
