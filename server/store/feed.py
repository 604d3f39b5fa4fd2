"""Reading the status feed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from server.domain.feed import (
    PAGE_ENTRIES,
    PAGE_RECIPIENTS,
    FeedEntry,
    FeedEvent,
    FeedNotice,
    Place,
    Position,
    RecipientChange,
    Snapshot,
)
from server.domain.operations import Operation, OperationStatus, Recipient, Status
from server.domain.reasons import Reason
from server.store.database import Database
from server.store.jobs import devices_from
from server.store.notices import notice_from
from server.store.numbers import PROVIDER_OF
from server.store.operations import counts_from, operation_from
from server.store.statements import Statements

_SQL = Statements("feed")
_OPERATIONS = Statements("operations")
_STATUSES: Final = {status.value: status for status in Status}
# One that only a newer version knows is left out, as its name can't be told.
_REASONS: Final = {reason.value: reason for reason in Reason}
_FINAL_AT_ONCE: Final = 500  # between two batches of a large snapshot others have their turn


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

    async def read(
        self, account: UUID, after: int, operation: UUID | None = None, *, recipients: int = PAGE_RECIPIENTS
    ) -> list[FeedEntry]:
        """Return the next page of entries behind ``after``, all or one operation's events.

        It ends with the entry that brings it to so many ``recipients``.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.read, account, after, PAGE_ENTRIES, recipients, operation)
        return [_entry(row) for row in rows]

    async def snapshot(
        self, account: UUID, operations: Sequence[UUID], places: Collection[Place] | None
    ) -> Snapshot | None:
        """Return operations, their final recipients and the feed's end, all of one moment.

        Only the recipients at ``places`` are looked at, where it is not None. None where one of the operations does
        not exist.
        """
        found: list[Operation] = []
        final: list[RecipientChange] = []
        async with self._database.snapshot() as connection:
            position = await connection.fetchrow(_SQL.position, account)
            for operation in operations:
                row = await connection.fetchrow(_OPERATIONS.get, account, operation)
                if row is None:
                    return None
                found.append(operation_from(row))
                indexes = None if places is None else [index for each, index in places if each == operation]
                rows = connection.cursor(_SQL.final_recipients, account, operation, indexes, prefetch=_FINAL_AT_ONCE)
                final.extend([_final(row) async for row in rows])
        return Snapshot(Position(position["epoch"], position["last_seq"]), found, final)


def _entry(row: asyncpg.Record) -> FeedEntry:
    if row["kind"] is not None:
        return FeedNotice(row["seq"], row["at"], notice_from(row["kind"], row["body"]))
    operation = Operation(
        row["operation_id"], OperationStatus(row["status"]), counts_from(row), row["created_at"], row["at"]
    )
    return FeedEvent(row["seq"], row["at"], operation, row["app_name"] or "", _changes(row))


def _changes(row: asyncpg.Record) -> list[RecipientChange]:
    seq, at, operation, indexes = row["seq"], row["at"], row["operation_id"], row["indexes"]
    users, devices = _aligned(indexes, row["ended"], row["user_ids"], row["devices"])
    tokens, providers = _aligned(indexes, row["listed"], row["tokens"], row["providers"])
    columns = zip(indexes, row["statuses"], row["reasons"], users, devices, tokens, providers, strict=True)
    return [
        RecipientChange(
            operation,
            index,
            _STATUSES[status],
            _REASONS.get(reason, Reason.NONE),
            at,
            seq,
            Recipient(user, token, PROVIDER_OF.get(provider)),
            devices_from(tried, token),
        )
        for index, status, reason, user, tried, token, provider in columns
    ]


def _aligned(
    wanted: Sequence[int], indexes: Sequence[int] | None, *columns: Sequence[Any] | None
) -> Sequence[Sequence[Any]]:
    """Return the columns with a value for each wanted index; None where retention took it before the event."""
    if indexes == wanted:
        return [column or () for column in columns]
    place = {index: n for n, index in enumerate(indexes or ())}
    places = [place.get(index) for index in wanted]
    return [[None if n is None or column is None else column[n] for n in places] for column in columns]


def _final(row: asyncpg.Record) -> RecipientChange:
    return RecipientChange(
        row["operation_id"],
        row["index"],
        Status(row["status"]),
        Reason(row["reason"]),
        row["decided_at"],
        recipient=Recipient(row["user_id"], row["token"], PROVIDER_OF.get(row["provider"])),
        devices=devices_from(row["devices"], row["token"]),
    )
