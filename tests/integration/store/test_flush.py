"""What a worker records: once, all of it or nothing, and only while the job is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from server.domain.delivery import DeadDevice, End
from server.domain.errors import Unavailable
from server.domain.jobs import MOST_PICKS, Job, LeaseLost
from server.domain.operations import OperationStatus, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store.database import Connection
from server.store.jobs import Jobs
from server.store.operations import Operations
from tests.integration.store.sending import Sending, all_sent, failed, flush_of, sent, state, users


async def _dump(sending: Sending) -> list[object]:
    """Everything that a flush can change."""
    tables = ("operations", "notifications", "events", "feeds", "jobs", "devices", "device_registrations")
    return [await sending.fetch(f"select * from {table} order by 1, 2") for table in tables]  # noqa: S608 - constants


async def test_a_send_is_completed_by_the_flush_of_its_last_recipient(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(3)
    job = await sending.claim_one()
    part = flush_of([sent(0), failed(2)], rest=[1], keep=True, wait=timedelta(seconds=30))
    assert (await jobs.flush(job, part)).operation is OperationStatus.PROCESSING
    assert not await sending.completed(operation)
    await sending.audit()
    assert (await jobs.flush(job, flush_of([sent(1)]))).operation is OperationStatus.COMPLETED
    read = await Operations(sending.database).get(sending.account, operation)
    assert read is not None
    assert (read.counts.sent, read.counts.failed, read.counts.waiting) == (2, 1, 0)
    assert await sending.value("select count(*) from jobs") == 0
    await sending.audit()


async def test_a_send_to_nobody_reachable_is_completed_too(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(users(await sending.user()))
    job = await sending.claim_one()
    end = End(0, job.recipients[0].user_id, Status.UNADDRESSABLE, Reason.NO_DEVICE)
    assert (await jobs.flush(job, flush_of([end]))).operation is OperationStatus.COMPLETED
    read = await Operations(sending.database).get(sending.account, operation)
    assert read is not None
    assert (read.counts.recipients, read.counts.total, read.counts.unaddressable) == (1, 0, 1)
    await sending.audit()


@pytest.mark.parametrize("keep", [True, False])
async def test_i6_a_stale_lease_changes_nothing(sending: Sending, jobs: Jobs, *, keep: bool) -> None:
    user = await sending.user("dead")
    await sending.accept(users(user, user))
    lost = await sending.claim_one()
    await sending.make_due()
    held = await sending.claim_one()
    before = await _dump(sending)
    dead = [DeadDevice(Provider.FCM, "dead", held.claimed_at)]
    with pytest.raises(LeaseLost):
        await jobs.flush(lost, flush_of([sent(0), failed(1)], dead=dead, keep=keep))
    with pytest.raises(LeaseLost):
        await jobs.flush(lost, flush_of([sent(0)], rest=[1], keep=keep))
    assert await _dump(sending) == before
    await jobs.flush(held, all_sent(held))
    await sending.audit()


async def test_i6_a_finished_job_can_not_be_flushed_again(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    job = await sending.claim_one()
    await jobs.flush(job, all_sent(job))
    before = await _dump(sending)
    with pytest.raises(LeaseLost):
        await jobs.flush(job, flush_of([failed(0)]))
    assert await _dump(sending) == before


async def test_i4_an_end_is_never_replaced_by_another(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(2)
    job = await sending.claim_one()
    await jobs.flush(job, flush_of([sent(0)], rest=[1], keep=True, wait=timedelta(seconds=30)))
    await jobs.flush(job, flush_of([failed(0), sent(1)]))
    assert await sending.statuses(operation) == [Status.SENT, Status.SENT]
    await sending.audit()


async def test_a_flush_repeated_after_an_unknown_commit_counts_once(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(3)
    job = await sending.claim_one()
    part = flush_of([sent(0), failed(1)], rest=[2], keep=True, wait=timedelta(seconds=30))
    await jobs.flush(job, part)  # committed, but the worker never heard of it
    assert (await jobs.flush(job, part)).operation is None
    await sending.audit()
    await jobs.flush(job, flush_of([sent(2)]))
    assert await sending.completed(operation)
    await sending.audit()


async def test_i5_i13_counts_add_up_and_the_feed_has_no_hole_under_8_flushers(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(4_000)
    other = await sending.accept(4_000)
    claimed = await sending.claim()
    assert len(claimed) == 16
    turns = iter(claimed)
    await asyncio.gather(*(_flush_in_parts(jobs, turns) for _ in range(8)))
    assert await sending.completed(operation)
    assert await sending.completed(other)
    await sending.audit()


async def _flush_in_parts(jobs: Jobs, turns: Iterator[Job]) -> None:
    for job in turns:
        indexes = list(job.recipients)
        for first in range(0, len(indexes), 100):
            part, rest = indexes[first : first + 100], indexes[first + 100 :]
            ends = [failed(index) if index % 3 == 0 else sent(index) for index in part]
            await jobs.flush(job, flush_of(ends, rest, keep=bool(rest), wait=timedelta(seconds=30)))


async def test_i13_the_feed_has_the_order_of_the_commits(sending: Sending, jobs: Jobs) -> None:
    """Whoever reads up to a number never finds a smaller one afterwards."""
    await sending.accept(3_000)
    claimed = iter(await sending.claim())
    done = asyncio.Event()

    async def read() -> list[int]:
        seen: list[int] = []
        over = False
        while not over:
            over = done.is_set()
            rows = await sending.fetch("select seq from events where seq > $1 order by seq", seen[-1] if seen else 0)
            seen.extend(row["seq"] for row in rows)
        return seen

    reading = asyncio.ensure_future(read())
    await asyncio.gather(*(_flush_in_parts(jobs, claimed) for _ in range(4)))
    done.set()
    assert await reading == list(range(1, 32))


async def test_i5_two_flushes_of_one_send_wait_for_each_other_and_both_count(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(501)
    first, second = await sending.claim()
    async with sending.database.transaction() as other:
        await other.execute("select from operations where operation_id = $1 for update", operation)
        flushes = [asyncio.ensure_future(jobs.flush(job, all_sent(job))) for job in (first, second)]
        await _until_waiting(other, 2)
    statuses = {flushed.operation for flushed in await asyncio.gather(*flushes)}
    assert statuses == {OperationStatus.PROCESSING, OperationStatus.COMPLETED}
    await sending.audit()


async def _until_waiting(connection: Connection, sessions: int) -> None:
    async with asyncio.timeout(10):
        while await connection.fetchval("select count(distinct pid) from pg_locks where not granted") < sessions:
            await connection.execute("select pg_stat_clear_snapshot()")


async def test_i8_who_takes_over_sees_the_devices_that_were_decided(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a", "b", "c")
    await sending.accept(users(user, user))
    job = await sending.claim_one()
    begun = state(0, user, a=Status.SENT, b=Status.FAILED, c=Status.QUEUED)
    begun.devices[0].message_id = "m"
    begun.devices[2].not_before = job.claimed_at + timedelta(seconds=5)
    await jobs.flush(job, flush_of(rest=[0, 1], begun=[begun], keep=True, wait=timedelta(seconds=30)))
    await sending.make_due()
    taken = await sending.claim_one()
    assert dict(taken.begun) == {0: begun}
    assert list(taken.recipients) == [0, 1]
    assert taken.picks == 1


async def test_i11_the_rest_is_not_due_before_its_wait_is_over(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(2)
    job = await sending.claim_one()
    await jobs.flush(job, flush_of([sent(0)], rest=[1], wait=timedelta(hours=1)))
    assert await sending.claim() == []
    assert await sending.value("select due_at > now() + interval '59 minutes' from jobs")
    await sending.make_due()
    assert list((await sending.claim_one()).recipients) == [1]


async def test_an_end_tells_the_providers_tried_and_the_credentials_used(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(2)
    job = await sending.claim_one()
    other = job.lease.job_id
    untried = End(1, None, Status.FAILED, Reason.POISON)
    await jobs.flush(job, flush_of([sent(0), untried], fcm_credential=sending.fcm, apn_credential=other))
    rows = await sending.fetch("select providers, fcm_credential, apn_credential from notifications order by index")
    assert [tuple(row) for row in rows] == [(1, sending.fcm, None), (0, None, None)]


async def test_a_poison_job_is_halved_down_to_one_recipient(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a", "b")
    await sending.accept(users(*[user] * 5))
    job = await sending.claim_one()
    begun = state(4, user, a=Status.SENT, b=Status.QUEUED)
    await jobs.flush(job, flush_of(rest=range(5), begun=[begun]))
    job = await sending.claim_one()
    await jobs.split(job)
    halves = await sending.claim()
    assert sorted(list(half.recipients) for half in halves) == [[0, 1], [2, 3, 4]]
    assert {half.picks for half in halves} == {MOST_PICKS}  # this claim is their last before they are split too
    assert {index: found for half in halves for index, found in half.begun.items()} == {4: begun}
    with pytest.raises(LeaseLost):
        await jobs.flush(job, all_sent(job))
    for half in halves:
        await jobs.flush(half, all_sent(half))
    await sending.audit()


async def test_a_recipient_split_off_alone_gets_all_tries_again(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(2)
    await jobs.split(await sending.claim_one())
    assert [half.picks for half in await sending.claim()] == [1, 1]


async def test_i6_who_lost_the_lease_splits_nothing(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(4)
    lost = await sending.claim_one()
    await sending.make_due()
    held = await sending.claim_one()
    await jobs.split(lost)
    assert await sending.value("select count(*) from jobs") == 1
    await jobs.flush(held, all_sent(held))


async def test_a_flush_says_that_the_database_is_gone(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    job = await sending.claim_one()
    async with sending.database.transaction() as other:
        await other.execute("select from jobs for update")
        flushing = asyncio.ensure_future(jobs.flush(job, all_sent(job)))
        await _until_waiting(other, 1)
        await other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where wait_event_type = 'Lock' and datname = current_database()"
        )
        with pytest.raises(Unavailable):
            await flushing
    await jobs.flush(job, all_sent(job))
    await sending.audit()


async def test_a_wrong_job_is_not_found(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    job: Job = await sending.claim_one()
    await sending.fetch("delete from jobs")
    with pytest.raises(LeaseLost):
        await jobs.flush(job, all_sent(job))
    assert await sending.value("select count(*) from notifications") == 0
