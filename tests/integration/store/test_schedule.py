"""Scheduled sends: SCHEDULED until due by the database's clock, and begun once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from server.domain.operations import OperationStatus
from server.store.database import Database
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from server.store.schedule import Schedule
from server.store.statements import Statements
from tests.integration.store.sending import Sending, all_sent

_SQL = Statements("schedule")


@pytest.fixture
def schedule(database: Database) -> Schedule:
    return Schedule(database)


async def _in(sending: Sending, **wait: float) -> dict[str, object]:
    return {"send_at": await Operations(sending.database).now() + timedelta(**wait)}


async def test_i11_a_scheduled_send_waits_and_then_runs_like_any_other(
    sending: Sending, jobs: Jobs, schedule: Schedule
) -> None:
    operation = await sending.accept(600, **await _in(sending, days=35))
    assert await schedule.begin_due() == set()
    assert await sending.claim() == []
    read = await Operations(sending.database).get(sending.account, operation)
    assert read is not None
    assert (read.status, read.counts.waiting) == (OperationStatus.SCHEDULED, 600)
    notification = await Notifications(sending.database).get(sending.account, operation, 0)
    assert notification is not None
    assert notification.status.name == "SCHEDULED"

    await sending.make_due()
    assert await sending.claim() == [], "due, and not begun"
    assert await schedule.begin_due() == {sending.account}
    for job in await sending.claim():
        await jobs.flush(job, all_sent(job))
    assert await sending.completed(operation)
    told = await sending.fetch("select status from events order by seq")
    assert [row["status"] for row in told] == [1, 2, 2, 3]
    await sending.audit()


async def test_the_deadline_counts_from_the_due_time(sending: Sending) -> None:
    operation = await sending.accept(1, ttl=60, **await _in(sending, hours=10))
    life = await sending.value("select deadline - due_at from operations where operation_id = $1", operation)
    assert life == timedelta(seconds=60)


async def test_a_time_that_is_over_means_now(sending: Sending) -> None:
    operation = await sending.accept(1, **await _in(sending, hours=-1))
    assert await sending.value("select status from operations where operation_id = $1", operation) == 2
    assert len(await sending.claim()) == 1


async def test_many_schedulers_begin_a_send_once(sending: Sending, schedule: Schedule) -> None:
    for _ in range(20):
        await sending.accept(501, **await _in(sending, days=1))
    await sending.make_due()
    await asyncio.gather(*(schedule.begin_due() for _ in range(6)))
    assert await sending.value("select count(*) from events where status = 2") == 20
    assert await sending.value("select count(*) from jobs where lane > 1") == 0
    await sending.audit()


async def test_the_next_due_time_is_known(sending: Sending, schedule: Schedule) -> None:
    assert await schedule.next_due() is None
    await sending.accept(1, **await _in(sending, hours=2))
    await sending.accept(1, **await _in(sending, hours=1))
    wait = await schedule.next_due()
    assert wait is not None
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)


async def test_scheduled_sends_take_no_claims_time(sending: Sending) -> None:
    """The scan for due ones goes by the queue's index, however many wait."""
    await sending.fetch(
        "insert into jobs (account_id, operation_id, batch_no, lane, due_at)"
        " select $1, gen_random_uuid(), 0, 2 + n % 2, now() + n * interval '1 minute'"
        " from generate_series(1, 5000) as n",
        sending.account,
    )
    await sending.fetch("update jobs set due_at = now() - interval '1 hour' where due_at < now() + interval '9 hours'")
    await sending.fetch("analyze jobs")
    for statement, arguments in ((_SQL.due, (100,)), (_SQL.next_due, ())):
        plan = "\n".join(row[0] for row in await sending.fetch(f"explain {statement}", *arguments))
        assert plan.count("Index Scan using jobs_due") + plan.count("Index Only Scan using jobs_due") >= 1
        assert "Seq Scan" not in plan
        assert "jobs_operation" not in plan
