"""I19 while sends are accepted, carried out and removed: a list misses nothing and repeats nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.domain.delivery import End
from server.domain.notifications import NotificationFilter, Place
from server.domain.operations import OperationFilter, Status
from server.store.database import Database
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from server.store.retention import Retention
from tests.integration.store.sending import Sending, failed, flush_of, sent, tokens, users

_SIZES = (1_100, *[1] * 400, 501, *[7] * 400, 199)  # 5,000


@contextlib.asynccontextmanager
async def _traffic(sending: Sending, flushed: asyncio.Event) -> AsyncIterator[None]:
    """Others accept small sends and carry out all there is, part by part, as long as the list is read."""

    async def accept() -> None:
        while True:
            await sending.accept(3)

    async def carry_out() -> None:
        jobs = Jobs(sending.database)
        while True:
            for job in await jobs.claim(3, 1, timedelta(minutes=1)):
                ends = [_end(index, recipient.user_id) for index, recipient in job.recipients.items()]
                first, rest = [[end for end in ends if (end.index % 3 > 0) == now] for now in (True, False)]
                await jobs.flush(
                    job, flush_of(first, [end.index for end in rest], keep=True, wait=timedelta(minutes=1))
                )
                if rest:
                    await jobs.flush(job, flush_of(rest))
                flushed.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for work in (accept, accept, carry_out, carry_out)]
        yield
        for task in tasks:
            task.cancel()


def _end(index: int, user: UUID | None) -> End:
    return failed(index) if index % 2 and user is None else sent(index, user=user)


@pytest.fixture
async def busy(database_url: str) -> AsyncIterator[Sending]:
    database = await Database.open(database_url, size=6)
    yield await Sending.start(database)
    await database.close()


@pytest.mark.parametrize("wanted", [NotificationFilter(), NotificationFilter(tags={"kind": "old"})])
async def test_i19_each_of_5_000_notifications_is_listed_once_while_sends_go_on(
    busy: Sending, wanted: NotificationFilter
) -> None:
    present = await _accept_all(busy)
    seen: list[tuple[UUID, int]] = []
    statuses: Counter[Status] = Counter()
    flushed = asyncio.Event()
    async with _traffic(busy, flushed):
        place: Place | None = Place()
        while place is not None:
            flushed.clear()
            await asyncio.wait_for(flushed.wait(), 20)
            found, place = await Notifications(busy.database).page(busy.account, place, 100, wanted)
            seen.extend((each.operation_id, each.index) for each in found)
            statuses.update(each.status for each in found)
    counted = Counter(seen)
    assert set(counted.values()) == {1}
    assert [each for each in seen if each in present] == sorted(present, key=lambda each: (-each[0].int, each[1]))
    assert {Status.QUEUED, Status.SENT, Status.FAILED} <= set(statuses)


async def test_i19_each_operation_is_listed_once_while_sends_go_on(busy: Sending) -> None:
    present = {operation for operation, _ in await _accept_all(busy)}
    seen: list[UUID] = []
    flushed = asyncio.Event()
    async with _traffic(busy, flushed):
        begin: UUID | None = UUID(int=(1 << 128) - 1)
        while begin is not None:
            flushed.clear()
            await asyncio.wait_for(flushed.wait(), 20)
            found, begin = await Operations(busy.database).page(busy.account, begin, 20, OperationFilter())
            seen.extend(each.operation_id for each in found)
    assert seen == sorted(set(seen), reverse=True)
    assert present <= set(seen)


async def test_i19_a_user_finds_each_of_their_notifications_once_while_sends_go_on(busy: Sending) -> None:
    user = await busy.user("u")
    present = set()
    for size in (1_100, *[1] * 100):
        operation = await busy.accept([*tokens(size // 2), *users(user), *tokens(size - size // 2 - 1)])
        present.add((operation, size // 2))
    seen: list[tuple[UUID, int]] = []
    flushed = asyncio.Event()
    async with _traffic(busy, flushed):
        place: Place | None = Place()
        while place is not None:
            flushed.clear()
            await asyncio.wait_for(flushed.wait(), 20)
            found, place = await Notifications(busy.database).page(
                busy.account, place, 4, NotificationFilter(user=user)
            )
            seen.extend((each.operation_id, each.index) for each in found)
    assert seen == sorted(present, key=lambda each: (-each[0].int, each[1]))


async def test_i19_a_day_removed_while_it_is_listed_takes_nothing_else_along(busy: Sending) -> None:
    present = await _accept_all(busy)
    await _make_old_sends(busy, 20)
    notifications, wanted = Notifications(busy.database), NotificationFilter()
    seen: list[tuple[UUID, int]] = []
    place: Place | None = Place()
    while place is not None:
        found, place = await notifications.page(busy.account, place, 835, wanted)
        seen.extend((each.operation_id, each.index) for each in found)
        if len(seen) == 6 * 835:  # 10 of the old ones, and the next page begins with another
            await Retention(busy.database, timedelta(days=7)).enforce()
    assert len(seen) == len(set(seen)) == 6 * 835
    assert present <= set(seen)
    assert await busy.value("select count(*) from operations where status = 3") == 0


async def _accept_all(sending: Sending) -> set[tuple[UUID, int]]:
    accepted = set()
    for size in _SIZES:
        operation = await sending.accept(size, tags={"kind": "old"})
        accepted |= {(operation, index) for index in range(size)}
    assert len(accepted) == 5_000
    return accepted


async def _make_old_sends(sending: Sending, count: int) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=9)
    first, end = (f"{int((day + timedelta(days=n)).timestamp() * 1000):012x}" + "0" * 20 for n in (0, 1))
    for parent in ("batches", "notifications"):
        await sending.fetch(
            f"create table {parent}_{day:%Y%m%d} partition of {parent} for values from ('{first}') to ('{end}')"
        )
    await sending.fetch(_OLD_SENDS, sending.account, first[:12], day, count)


_OLD_SENDS = """
with made as materialized (
  select ($2::text || '7000' || '8000' || lpad(n::text, 8, '0') || '0000')::uuid as operation_id
  from generate_series(1, $4::integer) n),
sends as (
  insert into operations (account_id, operation_id, app_id, app_name, message, tags, due_at, deadline, created_at,
                          updated_at, ended_at, status, recipients, sent)
  select $1, operation_id, gen_random_uuid(), 'app', '{"presentation": {}}', '{}', $3, $3, $3, $3, $3, 3, 1, 1
  from made),
parts as (
  insert into batches
  select $1, operation_id, 0, 0, array[null]::uuid[], array['t'], array[1], array[null] from made)
insert into notifications (account_id, operation_id, index, status, reason, providers, devices)
select $1, operation_id, 0, 3, 0, 1, '[]' from made
"""
