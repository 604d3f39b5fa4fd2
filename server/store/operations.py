"""Accepting sends, and reading operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from server.domain.operations import (
    BATCH_SIZE,
    SMALL_SEND,
    Counts,
    Message,
    NewOperation,
    Operation,
    OperationFilter,
    OperationStatus,
    Recipient,
    SenderCredential,
)
from server.domain.pushes import Priority
from server.domain.requests import Done, RequestKey
from server.domain.retry import lifetime
from server.store import idempotency, windows
from server.store.database import Connection, Database
from server.store.numbers import CREDENTIAL_TYPE_OF, PROVIDERS
from server.store.statements import Statements
from server.store.windows import Window

_SQL = Statements("operations")

_SMALL, _BULK = 0, 1  # lanes of jobs

encode_message = msgspec.json.Encoder().encode
decode_message = msgspec.json.Decoder(Message).decode


class Operations:
    """Sends as a whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def app(self, account: UUID, name: str | None) -> tuple[UUID, str] | None:
        """Return the id and name of the named app, or of the default one; None where there is none."""
        async with self._database.connection() as connection:
            if name is None:
                row = await connection.fetchrow(_SQL.default_app, account)
            else:
                row = await connection.fetchrow(_SQL.named_app, account, name)
        return (row["app_id"], row["name"]) if row else None

    async def sender_credentials(
        self, account: UUID, named: Sequence[UUID], app: UUID | None
    ) -> list[SenderCredential]:
        """Return the named credentials that exist and the default ones of the app."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.sender_credentials, account, named, app)
        return [
            SenderCredential(
                row["credential_id"], row["app_id"], row["app_name"], CREDENTIAL_TYPE_OF[row["credential_type"]]
            )
            for row in rows
        ]

    async def accept(self, account: UUID, new: NewOperation, key: RequestKey | None = None) -> Done[UUID]:
        """Write the operation, its batches, its jobs and its first event, all or nothing, and return its id.

        Raises ``Conflict`` where ``key`` was used for another request.
        """
        return await idempotency.run(self._database, account, key, lambda connection: _insert(connection, account, new))

    async def repeated(self, account: UUID, key: RequestKey) -> Done[UUID] | None:
        """Return the operation of an earlier equal request, None when there was none. Raises ``Conflict``."""
        return await idempotency.repeated(self._database, account, key)

    async def now(self) -> datetime:
        """Return the time of the clock that decides when a send is due."""
        async with self._database.connection() as connection:
            time: datetime = await connection.fetchval(_SQL.now)
        return time

    async def get(self, account: UUID, operation_id: UUID) -> Operation | None:
        """Return the operation, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, operation_id)
        return operation_from(row) if row else None

    async def page(
        self, account: UUID, begin: UUID, limit: int, wanted: OperationFilter
    ) -> tuple[list[Operation], UUID | None]:
        """Return up to ``limit`` operations from ``begin`` on, newest first, and where the next page begins.

        A page may be shorter with more behind it: what a rare filter costs to meet is bounded.
        """
        lowest, highest = windows.ids_accepted_in(wanted.accepted)
        window = Window(account, min(begin, highest), lowest, wanted.accepted, {}, wanted.status)
        async with self._database.connection() as connection:
            view = await windows.look(connection, window, windows.MOST_OPERATIONS, limit + 1)
        found, following = [operation_from(row) for row in view.operations[:limit]], view.following
        if len(view.operations) > limit:
            following = view.operations[limit]["operation_id"]
        return found, following


async def _insert(connection: Connection, account: UUID, new: NewOperation) -> UUID:
    batches = list(_batches(new.recipients))
    operation_id: UUID = await connection.fetchval(
        _SQL.insert_operation,
        account,
        new.app_id,
        new.app_name,
        new.fcm_credential,
        new.apn_credential,
        encode_message(new.message).decode(),
        msgspec.json.encode(new.tags).decode(),
        new.ttl,
        lifetime(new.ttl),
        len(new.recipients),
        _lane(new),
        len(batches),
        new.send_at,
    )
    await connection.executemany(
        _SQL.insert_batch, [(account, operation_id, number, *columns) for number, columns in enumerate(batches)]
    )
    # Last, because it locks the account's feed until the commit.
    await connection.execute(_SQL.insert_accepted_event, account, operation_id)
    return operation_id


def _lane(new: NewOperation) -> int:
    urgent = new.message.presentation.priority is Priority.HIGH
    return _SMALL if urgent and len(new.recipients) <= SMALL_SEND else _BULK


def operation_from(row: asyncpg.Record) -> Operation:
    """Return the operation in a row that has its columns."""
    return Operation(
        row["operation_id"], OperationStatus(row["status"]), counts_from(row), row["created_at"], row["updated_at"]
    )


def counts_from(row: asyncpg.Record) -> Counts:
    """Return the counts in a row of operations or events."""
    return Counts(row["recipients"], row["unaddressable"], row["sent"], row["failed"], row["canceled"])


def _batches(recipients: Sequence[Recipient]) -> Iterable[tuple[object, ...]]:
    for first in range(0, len(recipients), BATCH_SIZE):
        part = recipients[first : first + BATCH_SIZE]
        yield (
            first,
            [recipient.user_id for recipient in part],
            [recipient.token for recipient in part],
            [PROVIDERS[recipient.provider] if recipient.provider else None for recipient in part],
            [recipient.variables for recipient in part],
        )
