"""Reading the status feed."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from server.domain.feed import FeedEntry, FeedEvent, FeedNotice, Position, RecipientChange, Snapshot
from server.domain.operations import Operation, OperationStatus, Status
from server.domain.reasons import Reason
from server.store.database import Database
from server.store.notices import notice_from
from server.store.operations import counts_from, operation_from
from server.store.statements import Statements

_SQL = Statements("feed")
_OPERATIONS = Statements("operations")


class Feed:
    """The feeds of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def position(self, account: UUID) -> Position:
        """Return the feed's end."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.position, account)
        return Position(row["epoch"], row["last_seq"])

    async def oldest(self, account: UUID) -> int | None:
        """Return the sequence number of the oldest entry kept, None when there is none."""
        async with self._database.connection() as connection:
            seq: int | None = await connection.fetchval(_SQL.oldest, account)
        return seq

    async def read(self, account: UUID, after: int, limit: int, operation: UUID | None = None) -> list[FeedEntry]:
        """Return up to ``limit`` entries behind ``after``: all, or one operation's events."""
        async with self._database.connection() as connection:
            if operation is None:
                rows = await connection.fetch(_SQL.read, account, after, limit)
            else:
                rows = await connection.fetch(_SQL.read_operation, account, operation, after, limit)
        return [_entry(row) for row in rows]

    async def snapshot(self, account: UUID, operation: UUID, index: int | None = None) -> Snapshot | None:
        """Return an operation, its final recipients (or that of ``index``) and the feed's end, all of one moment."""
        async with self._database.snapshot() as connection:
            position = await connection.fetchrow(_SQL.position, account)
            row = await connection.fetchrow(_OPERATIONS.get, account, operation)
            if row is None:
                return None
            final = await connection.fetch(_SQL.final_recipients, account, operation, index)
        return Snapshot(
            Position(position["epoch"], position["last_seq"]),
            operation_from(row),
            [RecipientChange(r["index"], Status(r["status"]), Reason(r["reason"]), r["decided_at"]) for r in final],
        )


def _entry(row: asyncpg.Record) -> FeedEntry:
    if row["kind"] is not None:
        return FeedNotice(row["seq"], row["at"], notice_from(row["kind"], row["body"]))
    operation = Operation(
        row["operation_id"], OperationStatus(row["status"]), counts_from(row), row["created_at"], row["at"]
    )
    return FeedEvent(row["seq"], row["at"], operation, row["indexes"], row["statuses"], row["reasons"])
