"""The service's database as it is: what is in hand now, and at the end everything that a history needs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from server.domain import ids
from server.domain.ids import Kind
from server.domain.operations import OperationStatus, Status
from server.domain.reasons import Reason
from server.store.jobs import devices_tried
from tests.robustness.history import Counts, Event, Operation, Row, Who
from tests.robustness.scale import scaled

_PAUSE = 0.02  # between two looks at another process's state
_PATIENCE = scaled(90, 3_000)

_LEASED = """
select j.operation_id, j.progress, coalesce(j.indexes, array(
         select generate_series(b.first_index, b.first_index + cardinality(b.tokens) - 1))) as todo
from jobs j join batches b using (account_id, operation_id, batch_no) where j.lease is not null"""
_ORPHANS = """
select name, count(*) from (
  select 'batches' as name, operation_id from batches union all select 'jobs', operation_id from jobs
  union all select 'events', operation_id from events union all select 'notifications', operation_id from notifications
) as parts
where not exists (select from operations o where o.operation_id = parts.operation_id) group by name"""
_DAILY = """
select account_id, sum(sent)::integer as sent, sum(failed)::integer as failed, sum(canceled)::integer as canceled,
       sum(unaddressable)::integer as unaddressable
from app_days group by account_id"""
_FINAL = """
select (select count(*) from notifications) >= $1::float
       and (exists (select from jobs where lease is not null) or not exists (select from jobs))"""
# A batch under a lease some of whose recipients are recorded already.
_BEGUN = "select exists (select from jobs where lease is not null and indexes is not null and picks = 0)"


class InHand(NamedTuple):
    """What workers have under their leases: recipients without an end, devices of them that are decided, and jobs."""

    recipients: frozenset[Who]
    decided: frozenset[str]
    jobs: int


class Observer:
    """Reads past the service, each time over a connection of its own: the server may have been restarted."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def value(self, question: str, *arguments: object) -> Any:
        async with self._connection() as connection:
            return await connection.fetchval(question, *arguments)

    async def until(self, question: str, *arguments: object) -> None:
        """Waits until the database answers true. Raises TimeoutError."""
        async with asyncio.timeout(_PATIENCE), self._connection() as connection:
            while not await connection.fetchval(question, *arguments):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(_PAUSE)

    async def until_final(self, recipients: float) -> None:
        """Waits until so many are, and workers have others in hand."""
        await self.until(_FINAL, recipients)

    async def until_begun(self) -> None:
        """Waits for a flush in the middle of a batch."""
        await self.until(_BEGUN)

    async def until_ended(self, *operations: UUID) -> None:
        """Waits for the end of these operations, or of all."""
        await self.until(
            "select not exists (select from operations where ended_at is null"
            " and (operation_id = any($1::uuid[]) or cardinality($1::uuid[]) = 0))",
            list(operations),
        )

    async def in_hand(self) -> InHand:
        async with self._connection() as connection:
            rows = await connection.fetch(_LEASED)
        whos = frozenset(Who(row["operation_id"], index) for row in rows for index in row["todo"])
        decided = (
            device.token
            for row in rows
            for index in row["todo"]
            for device in devices_tried(row["progress"], index)
            if device.decided
        )
        return InHand(whos, frozenset(decided), len(rows))

    async def owners(self, tokens: Iterable[str]) -> dict[str, str]:
        """The user of each registered device."""
        async with self._connection() as connection:
            rows = await connection.fetch("select token, user_id from devices where token = any($1)", list(tokens))
        return {row["token"]: ids.encode(Kind.USER, row["user_id"]) for row in rows}

    async def everything(self) -> dict[str, Any]:
        """The database's fields of a history."""
        async with self._connection() as connection:
            addresses = _addresses(await connection.fetch("select * from batches"))
            rows = await connection.fetch("select * from notifications")
            operations = await connection.fetch("select * from operations")
            return {
                "operations": {row["operation_id"]: _operation(row, addresses) for row in operations},
                "rows": [_row(row, addresses) for row in rows],
                "events": [_event(row) for row in await connection.fetch("select * from events")],
                "notices": [tuple(row) for row in await connection.fetch("select account_id, seq from notices")],
                "jobs": [row["operation_id"] for row in await connection.fetch("select operation_id from jobs")],
                "orphans": [f"{name} without an operation: {n}" for name, n in await connection.fetch(_ORPHANS)],
                "daily": {row["account_id"]: _counts(row) for row in await connection.fetch(_DAILY)},
                "registered": {row["token"] for row in await connection.fetch("select token from devices")},
            }

    async def now(self) -> datetime:
        """The database's time."""
        time: datetime = await self.value("select clock_timestamp()")
        return time

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._url, timeout=30, command_timeout=60)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)


def _addresses(batches: Iterable[asyncpg.Record]) -> Mapping[UUID, dict[int, str]]:
    found: dict[UUID, dict[int, str]] = defaultdict(dict)
    for row in batches:
        for place, (user, token) in enumerate(zip(row["user_ids"], row["tokens"], strict=True)):
            address = token if user is None else ids.encode(Kind.USER, user)
            found[row["operation_id"]][row["first_index"] + place] = address
    return found


def _operation(row: asyncpg.Record, addresses: Mapping[UUID, dict[int, str]]) -> Operation:
    return Operation(
        id=row["operation_id"],
        account=row["account_id"],
        status=OperationStatus(row["status"]).name,
        recipients=row["recipients"],
        counts=_counts(row),
        created_at=row["created_at"],
        due_at=row["due_at"],
        deadline=row["deadline"],
        ended_at=row["ended_at"],
        addresses=addresses.get(row["operation_id"], {}),
    )


def _row(row: asyncpg.Record, addresses: Mapping[UUID, dict[int, str]]) -> Row:
    who = Who(row["operation_id"], row["index"])
    own = addresses.get(who.operation, {}).get(who.index, "")
    attempts: Counter[str] = Counter()
    for device in json.loads(row["devices"]):
        attempts[device[1] or own] += device[4]
    return Row(who, Status(row["status"]).name, Reason(row["reason"]).name, attempts)


def _event(row: asyncpg.Record) -> Event:
    changes = [(index, Status(status).name) for index, status in zip(row["indexes"], row["statuses"], strict=True)]
    status = OperationStatus(row["status"]).name
    return Event(row["account_id"], row["seq"], row["at"], row["operation_id"], status, _counts(row), changes)


def _counts(row: asyncpg.Record) -> Counts:
    return Counts(row["sent"], row["failed"], row["canceled"], row["unaddressable"])
