"""Operations, their recipients and the feed are kept for a while after their end, and then go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.store import retention
from server.store.accounts import Accounts
from server.store.database import Database
from server.store.feed import Feed
from server.store.retention import Retention

WEEK = timedelta(days=7)


@pytest.fixture
async def account(database: Database) -> UUID:
    return (await Accounts(database).create("old")).id


async def test_a_day_goes_when_all_of_it_ended_long_ago(database: Database, account: UUID) -> None:
    old = await _operation(database, account, accepted_days_ago=9, ended_days_ago=9)
    await Retention(database, WEEK).enforce()
    assert await _kept(database, old) == {"operations": 0, "partitions": 0, "events": 0}


@pytest.mark.parametrize("ended_days_ago", [None, 6])
async def test_a_day_stays_while_one_of_its_operations_runs_or_ended_lately(
    database: Database, account: UUID, ended_days_ago: int | None
) -> None:
    await _operation(database, account, accepted_days_ago=9, ended_days_ago=9, seq=1)
    late = await _operation(database, account, accepted_days_ago=9, ended_days_ago=ended_days_ago, seq=2)
    await Retention(database, WEEK).enforce()
    assert (await _kept(database, late))["operations"] == 1
    assert (await _kept(database, late))["partitions"] == 2


async def test_a_feed_keeps_everything_behind_its_first_recent_event(database: Database, account: UUID) -> None:
    """An event's time is taken before its number: two may be the other way round."""
    for seq, days in ((1, 9), (2, 6), (3, 8), (4, 0)):
        await _event(database, account, UUID(int=seq), seq, days)
    await Retention(database, WEEK).enforce()
    async with database.connection() as connection:
        assert [row["seq"] for row in await connection.fetch("select seq from events order by seq")] == [2, 3, 4]


async def test_notices_and_events_of_a_feed_go_together(database: Database, account: UUID) -> None:
    other = (await Accounts(database).create("of notices alone")).id
    for seq, days in ((1, 9), (3, 6), (5, 8)):
        await _event(database, account, UUID(int=seq), seq, days)
    for whose, seq, days in ((account, 2, 9), (account, 4, 8), (account, 6, 0), (other, 1, 9), (other, 2, 8)):
        await _notice(database, whose, seq, days)
    assert await Feed(database).oldest(account) == 1
    await Retention(database, WEEK).enforce()
    assert [entry.seq for entry in await Feed(database).read(account, 0)] == [3, 4, 5, 6]
    assert (await Feed(database).oldest(account), await Feed(database).oldest(other)) == (3, None)


async def test_an_apps_totals_outlive_its_operations_and_go_with_the_app(database: Database, account: UUID) -> None:
    old = await _operation(database, account, accepted_days_ago=9, ended_days_ago=9)
    async with database.connection() as connection:
        app = await connection.fetchval(
            "insert into apps (account_id, name, is_default) values ($1, 'shop', true) returning app_id", account
        )
        for each in (app, UUID(int=1)):  # the second is of an app that was deleted
            await connection.execute(
                "insert into app_days (account_id, app_id, day, sent) values ($1, $2, current_date - 9, 5)",
                account,
                each,
            )
    await Retention(database, WEEK).enforce()
    assert (await _kept(database, old))["operations"] == 0
    async with database.connection() as connection:
        kept = await connection.fetch("select app_id, sent from app_days")
    assert [tuple(row) for row in kept] == [(app, 5)]


async def test_much_goes_piece_by_piece(database: Database, account: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PIECE", 2)
    for seq in range(1, 8):
        await _operation(database, account, accepted_days_ago=9, ended_days_ago=9, seq=seq)
    await _notice(database, account, 8, 9)
    await _event(database, account, UUID(int=9), 9, 0)
    await Retention(database, WEEK).enforce()
    async with database.connection() as connection:
        left = await connection.fetchrow(
            "select (select count(*) from operations), (select count(*) from events), (select count(*) from notices)"
        )
    assert tuple(left) == (0, 1, 0)


async def test_two_processes_at_once_do_no_harm(database: Database, account: UUID) -> None:
    old = await _operation(database, account, accepted_days_ago=9, ended_days_ago=9)
    await asyncio.gather(*(Retention(database, WEEK).enforce() for _ in range(4)))
    assert (await _kept(database, old))["operations"] == 0


async def _operation(
    database: Database, account: UUID, *, accepted_days_ago: int, ended_days_ago: int | None, seq: int = 1
) -> UUID:
    accepted = datetime.now(UTC) - timedelta(days=accepted_days_ago)
    operation = UUID(int=(int(accepted.timestamp() * 1000) << 80) | seq << 14)
    async with database.connection() as connection:
        for parent in ("batches", "notifications"):
            await connection.execute(_partition(parent, accepted))
        await connection.execute(_OPERATION, account, operation, accepted, ended_days_ago)
        await connection.execute(
            "insert into batches values ($1, $2, 0, 0, '{null}', '{token}', '{1}', '{null}')", account, operation
        )
    await _event(database, account, operation, seq, accepted_days_ago)
    return operation


async def _event(database: Database, account: UUID, operation: UUID, seq: int, days_ago: int) -> None:
    async with database.connection() as connection:
        await connection.execute(_EVENT, account, seq, operation, days_ago)


async def _notice(database: Database, account: UUID, seq: int, days_ago: int) -> None:
    async with database.connection() as connection:
        await connection.execute(_NOTICE, account, seq, days_ago)


async def _kept(database: Database, operation: UUID) -> dict[str, int]:
    day = f"{datetime.fromtimestamp((operation.int >> 80) / 1000, UTC):%Y%m%d}"
    async with database.connection() as connection:
        return {
            "operations": await connection.fetchval(
                "select count(*) from operations where operation_id = $1", operation
            ),
            "partitions": await connection.fetchval(
                "select count(*) from pg_class where relname in ('batches_' || $1, 'notifications_' || $1)", day
            ),
            "events": await connection.fetchval("select count(*) from events where operation_id = $1", operation),
        }


def _partition(parent: str, accepted: datetime) -> str:
    start = datetime(accepted.year, accepted.month, accepted.day, tzinfo=UTC)
    first, end = (UUID(int=int((start + timedelta(days=n)).timestamp() * 1000) << 80) for n in (0, 1))
    name = f"{parent}_{accepted:%Y%m%d}"
    return f"create table if not exists {name} partition of {parent} for values from ('{first}') to ('{end}')"


_OPERATION = """
insert into operations (account_id, operation_id, app_id, app_name, message, tags, due_at, deadline, created_at,
                        updated_at, ended_at, status, recipients, sent)
values ($1, $2, gen_random_uuid(), 'app', '{}', '{}', $3, $3, $3, $3, now() - make_interval(days => $4), 3, 1, 1)
"""
_EVENT = """
insert into events (account_id, seq, operation_id, at, indexes, statuses, reasons, status, recipients, unaddressable,
                    sent, failed, canceled, created_at)
values ($1, $2, $3, now() - make_interval(days => $4), '{}', '', '', 3, 1, 0, 1, 0, 0, now())
"""
_NOTICE = """
insert into notices (account_id, seq, at, kind, body)
values ($1, $2, now() - make_interval(days => $3), 2,
        '{"operation_id": "01890a5dac96774bbcceb30209980000", "credential_id": "01890a5dac96774bbcceb30209980001",
          "code": "BadDeviceToken", "devices": 7}')
"""
