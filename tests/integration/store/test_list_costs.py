"""What a page of a list may cost: so many queries, by indexes, and nothing for sends in return."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest

from server.domain.notifications import NotificationFilter, Place
from server.domain.operations import OperationFilter, OperationStatus, Status
from server.domain.pushes import Provider
from server.store.database import Connection, Database
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from server.store.statements import Statements
from tests.integration.store.listing import all_operation_pages, all_pages
from tests.integration.store.sending import Sending, all_sent, flush_of, sent

MOST_QUERIES = 20
_NEWEST, _OLDEST = UUID(int=(1 << 128) - 1), UUID(int=0)
_USER = UUID(int=7)


class Watched(Database):
    """Notes every query."""

    queries: list[str]

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with super().connection() as connection:
            with connection.query_logger(lambda record: self.queries.append(record.query)):
                yield connection


@pytest.fixture
async def crowded(sending: Sending) -> Sending:
    """6,000 small sends that wait, 14,100 newer ones that are done, two large ones; as many small ones of a stranger.

    All to FCM tokens but the oldest hundred and each hundredth that is done, which are to user 7; each fortieth failed.
    """
    stranger = await Sending.start(sending.database)
    for account in (stranger.account, sending.account):
        await sending.fetch(_SENDS, account)
    for _ in range(2):
        await sending.accept(10_000)
    for job in await sending.claim():
        await Jobs(sending.database).flush(job, all_sent(job))
    await sending.fetch("analyze")
    return sending


async def test_a_page_takes_a_bounded_number_of_queries(crowded: Sending) -> None:
    for wanted in (
        NotificationFilter(),
        NotificationFilter(status=Status.SENT),
        NotificationFilter(status=Status.FAILED),
        NotificationFilter(status=Status.QUEUED),
        NotificationFilter(provider=Provider.APN),
        NotificationFilter(tags={"kind": "none"}),
        NotificationFilter(user=_USER),
    ):
        for size in (1, 1_000):
            found, queries = await _page(crowded, size, wanted)
            assert found == size or wanted != NotificationFilter()
            assert 2 <= queries <= MOST_QUERIES, wanted


async def _page(sending: Sending, size: int, wanted: NotificationFilter) -> tuple[int, int]:
    """Return how many notifications the first page has, and how many queries it took."""
    watched = await Watched.open(sending.database.dsn, size=1)
    watched.queries = []
    found, _ = await Notifications(watched).page(sending.account, Place(), size, wanted)
    await watched.close()
    return len(found), sum("account_id" in query for query in watched.queries)


async def test_a_filter_that_nothing_meets_ends_soon_in_an_account_of_small_sends(crowded: Sending) -> None:
    for wanted in (NotificationFilter(status=Status.CANCELED), NotificationFilter(tags={"kind": "none"})):
        assert await all_pages(crowded, 50, wanted) == [[]]
    assert len(await all_pages(crowded, 50, NotificationFilter(provider=Provider.APN))) <= 4  # short ones
    assert await all_operation_pages(crowded, 50, OperationFilter(OperationStatus.CANCELED)) == [[]]


async def test_what_is_queued_is_found_at_once_behind_any_number_of_finished_sends(crowded: Sending) -> None:
    waiting = await crowded.fetch(
        "select operation_id from jobs where account_id = $1 order by operation_id desc limit 50", crowded.account
    )
    notifications, operations = Notifications(crowded.database), Operations(crowded.database)
    wanted = NotificationFilter(status=Status.QUEUED)
    found, _ = await notifications.page(crowded.account, Place(), 50, wanted)
    assert [each.operation_id for each in found] == [row["operation_id"] for row in waiting]
    only = OperationFilter(OperationStatus.PROCESSING)
    sends, _ = await operations.page(crowded.account, _NEWEST, 50, only)
    assert [each.operation_id for each in sends] == [row["operation_id"] for row in waiting]


async def test_lists_read_large_tables_by_their_keys_and_only_what_they_list(crowded: Sending) -> None:
    sends = await crowded.fetch(
        "select operation_id from operations where account_id = $1 order by operation_id desc limit 50", crowded.account
    )
    ids = [row["operation_id"] for row in sends]
    large = await crowded.fetch("select relname from pg_class where relkind = 'r' and reltuples > 1000")
    assert len(large) >= 3
    for mode in ("force_custom_plan", "force_generic_plan"):
        for statement, arguments, most in _statements(ids):
            nodes = list(_nodes(await _plan(crowded, mode, statement, crowded.account, *arguments)))
            scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
            assert scanned.isdisjoint(row["relname"] for row in large), statement
            read = [node["Actual Rows"] * node["Actual Loops"] for node in nodes if "Index Name" in node]
            assert 0 < max(read) <= most, statement


def _statements(ids: list[UUID]) -> Iterator[tuple[str, tuple[object, ...], int]]:
    """Each hot statement, what it is asked, and the most rows that it may read from one index."""
    windows, places, notifications = Statements("windows"), Statements("places"), Statements("notifications")
    # A page of 51 may read some more: PostgreSQL 15 does.
    zeros, ones, of_send = [0] * 50, [1] * 50, (None, None, None)
    yield windows.newest, (_NEWEST, _OLDEST, 100_000, 51, *of_send, 5, None), 20_102  # nothing meets it
    yield windows.newest, (_NEWEST, _OLDEST, 100_000, 51, *of_send, 3, None), 60
    yield windows.newest_unfinished, (_NEWEST, _OLDEST, 100_000, 51, *of_send, 2), 60
    yield places.in_sends, (ids, zeros, ones, 3, 2, 51), 50
    yield places.failed_in_sends, (ids, zeros, ones, 2, 51), 50
    yield places.final_of_user, (_USER, _NEWEST, 0, _OLDEST, 20_000, 51, None, None, *of_send), 142
    yield places.waiting_of_user, (_USER, _NEWEST, 0, _OLDEST, 20_000, 51, None, *of_send), 6_000
    yield notifications.at_places, (ids, zeros), 50


async def test_flushes_update_operations_in_place(database_url: str) -> None:
    """No index has a column that they change (HOT): else each would write to every index of the table."""
    database = await Database.open(database_url, size=1)  # one session: its counts are what was counted
    sending = await Sending.start(database)
    await sending.accept(3)
    job = await sending.claim_one()
    for index in range(2):
        await Jobs(database).flush(job, flush_of([sent(index)], range(index + 1, 3), keep=True))
    await Jobs(database).flush(job, flush_of([sent(2)]))
    await sending.fetch("select pg_stat_force_next_flush()")
    (counted,) = await sending.fetch(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'operations'"
    )
    await database.close()
    assert tuple(counted) == (3, 3)


async def _plan(sending: Sending, mode: str, statement: str, *arguments: object) -> dict[str, Any]:
    """Run a prepared statement as the driver would and return its plan."""
    async with sending.database.transaction() as connection:
        await connection.execute(f"set local plan_cache_mode = {mode}")
        await connection.execute(f"prepare explained as {statement}")
        literals = [await connection.fetchval("select quote_nullable($1::text)", _text(value)) for value in arguments]
        try:
            explained = await connection.fetchval(
                f"explain (analyze, format json) execute explained ({', '.join(literals)})"
            )
        finally:
            await connection.execute("deallocate explained")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def _text(value: object) -> str | None:
    if isinstance(value, list):
        return f"{{{','.join(map(str, value))}}}"
    return None if value is None else str(value)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


_SENDS = """
with made as materialized (
  select n, (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 30000 + n), 12, '0') || '7000'
             || '8000' || substr(replace($1::uuid::text, '-', ''), 25, 8) || '0000')::uuid as operation_id,
         n <= 6000 as waits, n > 6000 and n % 40 = 10 as fails,
         case when n <= 100 or (n > 6000 and n % 100 = 0) then lpad('7', 32, '0')::uuid end as user_id
  from generate_series(1, 20100) n),
sends as (
  insert into operations (account_id, operation_id, app_id, app_name, message, tags, due_at, deadline, created_at,
                          updated_at, ended_at, status, recipients, sent, failed)
  select $1, operation_id, gen_random_uuid(), 'app', '{"presentation": {}}', '{"kind": "news"}', now(), now(), now(),
         now(), case when not waits then now() end, case when waits then 2 else 3 end, 1,
         case when waits or fails then 0 else 1 end, case when fails then 1 else 0 end from made),
parts as (
  insert into batches
  select $1, operation_id, 0, 0, array[user_id], array[case when user_id is null then 't' end],
         array[case when user_id is null then 1 end], array[null] from made),
work as (
  insert into jobs (account_id, operation_id, batch_no, lane, due_at)
  select $1, operation_id, 0, 0, now() + interval '1 hour' from made where waits)
insert into notifications (account_id, operation_id, index, status, reason, user_id, providers, devices)
select $1, operation_id, 0, case when fails then 4 else 3 end, 0, user_id, 1, '[]' from made where not waits
"""
