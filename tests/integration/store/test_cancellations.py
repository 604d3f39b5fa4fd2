"""Cancel: a recipient is canceled where certainly no provider was called, and never becomes anything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from server.domain.delivery import RecipientState, call_off
from server.domain.errors import Conflict, NotFound
from server.domain.jobs import Flush, Job
from server.domain.operations import OperationStatus, Status
from server.domain.reasons import Reason
from server.domain.requests import RequestKey
from server.store.accounts import Accounts
from server.store.cancellations import Cancellations
from server.store.database import Database
from server.store.jobs import Jobs
from server.store.operations import Operations
from server.store.schedule import Schedule
from tests.integration.store.sending import LEASE, Sending, all_sent, eventually, flush_of, sent, state, users

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def cancellations(database: Database) -> Cancellations:
    return Cancellations(database)


async def _status(sending: Sending, operation: UUID) -> OperationStatus:
    return OperationStatus(await sending.value("select status from operations where operation_id = $1", operation))


async def test_a_scheduled_send_is_canceled_as_a_whole_and_at_once(
    sending: Sending, cancellations: Cancellations
) -> None:
    operation = await sending.accept(1_200, send_at=TOMORROW)
    await cancellations.cancel(sending.account, operation)
    assert await _status(sending, operation) is OperationStatus.CANCELED
    assert set(await sending.statuses(operation)) == {Status.CANCELED}
    assert await sending.value("select count(*) from jobs") == 0
    read = await Operations(sending.database).get(sending.account, operation)
    assert read is not None
    assert (read.counts.canceled, read.counts.waiting) == (1_200, 0)
    largest = await sending.value("select max(cardinality(indexes)) from events")
    assert largest == 500, "one event for each commit, and no larger than those of flushes"
    await sending.audit()


async def test_what_no_worker_has_is_canceled_and_what_one_has_ends_as_it_ends(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(1_000)
    (held,) = await jobs.claim(0, 1, LEASE)
    await cancellations.cancel(sending.account, operation)
    assert await _status(sending, operation) is OperationStatus.PROCESSING
    assert Counter(await sending.statuses(operation)) == {Status.CANCELED: 500}
    await sending.audit()
    first, *rest = held.recipients
    flushed = await jobs.flush(held, flush_of([sent(first)], rest, keep=True, wait=LEASE))
    assert flushed.canceled, "its worker is told"
    await jobs.flush(held, flush_of(sent(index) for index in rest))
    assert await _status(sending, operation) is OperationStatus.CANCELED
    assert Counter(await sending.statuses(operation)) == {Status.CANCELED: 500, Status.SENT: 500}
    await sending.audit()


async def test_a_send_of_which_everything_was_under_way_is_completed(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(3)
    held = await sending.claim_one()
    await cancellations.cancel(sending.account, operation)
    await jobs.flush(held, all_sent(held))
    assert await _status(sending, operation) is OperationStatus.COMPLETED
    with pytest.raises(Conflict, match="complete"):
        await cancellations.cancel(sending.account, operation)
    await sending.audit()


async def test_canceling_again_changes_nothing(sending: Sending, cancellations: Cancellations) -> None:
    operation = await sending.accept(3)
    await cancellations.cancel(sending.account, operation)
    events = await sending.value("select count(*) from events")
    await cancellations.cancel(sending.account, operation)
    assert await sending.value("select count(*) from events") == events
    assert await _status(sending, operation) is OperationStatus.CANCELED


async def test_another_accounts_send_is_not_found(sending: Sending, cancellations: Cancellations) -> None:
    operation = await sending.accept(3)
    other = (await Accounts(sending.database).create("other")).id
    for account, wanted in ((other, operation), (sending.account, uuid4())):
        with pytest.raises(NotFound):
            await cancellations.cancel(account, wanted)
    assert await _status(sending, operation) is OperationStatus.PROCESSING


async def test_a_repeated_request_gets_the_first_ones_answer(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(3)
    key = RequestKey("Cancel", "k", b"f" * 32)
    held = await sending.claim_one()
    first = await cancellations.cancel(sending.account, operation, key)
    await jobs.flush(held, all_sent(held))
    again = await cancellations.cancel(sending.account, operation, key)  # complete by now: a new request is a conflict
    assert (first.replayed, again.replayed, again.value) == (False, True, operation)


async def test_i9_a_claim_after_the_cancel_is_told_not_to_call(sending: Sending, cancellations: Cancellations) -> None:
    """The job that a worker held when the cancel came, and whose lease it lost."""
    operation = await sending.accept(2)
    lost = await sending.claim_one()
    assert not lost.canceled
    await cancellations.cancel(sending.account, operation)
    await sending.make_due()
    again = await sending.claim_one()
    assert (again.canceled, again.lost) == (True, True)
    assert await sending.statuses(operation) == []


async def test_i9_halves_of_a_split_job_are_canceled_too(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(4)
    held = await sending.claim_one()
    await cancellations.cancel(sending.account, operation)
    await jobs.split(held)
    assert [job.canceled for job in await sending.claim()] == [True, True]


async def test_who_was_tried_and_waits_fails_and_who_was_not_is_canceled(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(4)
    held = await sending.claim_one()
    tried, unknown = state(0, None, t0=Status.QUEUED), state(1, None, t1=Status.QUEUED)
    tried.devices[0].reason = Reason.EXPIRED
    unknown.devices[0].reason = Reason.OUTCOME_UNKNOWN
    unreached = state(2, None, t2=Status.QUEUED)
    unreached.devices[0].attempts = 0  # the provider could not be reached
    rest = flush_of(rest=range(4), begun=[tried, unknown, unreached], wait=timedelta(hours=1))
    await jobs.flush(held, rest)
    await cancellations.cancel(sending.account, operation)
    assert await sending.ends(operation) == {
        0: (Status.FAILED, Reason.CANCELED),
        1: (Status.FAILED, Reason.OUTCOME_UNKNOWN),
        2: (Status.CANCELED, Reason.NONE),
        3: (Status.CANCELED, Reason.NONE),
    }
    await sending.audit()


async def test_a_device_that_was_reached_makes_its_recipient_sent(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    user = await sending.user("a", "b")
    operation = await sending.accept(users(user))
    held = await sending.claim_one()
    begun = state(0, user, a=Status.SENT, b=Status.QUEUED)
    await jobs.flush(held, flush_of(rest=[0], begun=[begun], wait=timedelta(hours=1)))
    await cancellations.cancel(sending.account, operation)
    assert await sending.statuses(operation) == [Status.SENT]
    assert await sending.value("select fcm_credential from notifications") == sending.fcm
    assert await _status(sending, operation) is OperationStatus.COMPLETED


async def test_what_a_dead_worker_had_may_have_been_sent(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    """A lease expired, another worker took over and gave the job back: what the first one called is not known."""
    operation = await sending.accept(2)
    await sending.claim_one()
    await sending.make_due()
    second = await sending.claim_one()
    assert second.lost
    await jobs.give_back(second)
    await cancellations.cancel(sending.account, operation)
    assert set((await sending.ends(operation)).values()) == {(Status.FAILED, Reason.OUTCOME_UNKNOWN)}
    await sending.audit()


async def test_what_a_stopping_worker_gives_back_after_the_cancel_was_not_sent(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(2)
    held = await sending.claim_one()
    await cancellations.cancel(sending.account, operation)
    await jobs.give_back(held)
    await cancellations.cancel(sending.account, operation)
    assert set((await sending.ends(operation)).values()) == {(Status.CANCELED, Reason.NONE)}
    await sending.audit()


async def test_a_rest_that_comes_back_after_the_cancel_is_due_at_once(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    operation = await sending.accept(2)
    held = await sending.claim_one()
    await cancellations.cancel(sending.account, operation)
    waiting = state(1, None, t1=Status.QUEUED)
    await jobs.flush(held, flush_of([sent(0)], [1], begun=[waiting], wait=timedelta(hours=1)))
    again = await sending.claim_one()
    assert (again.canceled, again.lost, list(again.recipients)) == (True, False, [1])


async def test_cancel_and_claim_race_for_every_job_and_one_of_them_gets_it(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    """8 workers claim and send while every operation is canceled: nobody is both called and canceled."""
    operations = [await sending.accept(1_500) for _ in range(12)]
    called: set[tuple[UUID, int]] = set()

    async def work() -> None:
        while claimed := await jobs.claim(0, 2, LEASE):
            await jobs.extend([job.lease for job in reversed(claimed)], LEASE)
            for job in claimed:
                await jobs.flush(job, _carry_out(job, called))

    await asyncio.gather(
        *(work() for _ in range(8)), *(_cancel(cancellations, sending, operation) for operation in operations)
    )
    await work()
    canceled = {
        (operation, index)
        for operation in operations
        for index, (status, _) in (await sending.ends(operation)).items()
        if status is Status.CANCELED
    }
    assert not canceled & called
    assert len(canceled) + len(called) == 12 * 1_500
    await sending.audit()


def _carry_out(job: Job, called: set[tuple[UUID, int]]) -> Flush:
    if job.canceled:
        return flush_of(call_off(RecipientState(index, None), lost=job.lost) for index in job.recipients)
    called.update((job.operation_id, index) for index in job.recipients)
    return all_sent(job)


async def _cancel(cancellations: Cancellations, sending: Sending, operation: UUID) -> None:
    with contextlib.suppress(Conflict):  # the workers were faster
        await cancellations.cancel(sending.account, operation)


async def test_a_send_begun_and_canceled_at_one_moment_ends_canceled(
    sending: Sending, cancellations: Cancellations
) -> None:
    for _ in range(10):
        operation = await sending.accept(501, send_at=TOMORROW)
        await sending.make_due()
        await asyncio.gather(Schedule(sending.database).begin_due(), cancellations.cancel(sending.account, operation))
        assert await _status(sending, operation) is OperationStatus.CANCELED
    await sending.audit()


async def test_a_heartbeat_and_a_cancel_do_not_block_each_other(
    sending: Sending, jobs: Jobs, cancellations: Cancellations
) -> None:
    """A worker keeps the leases of many jobs of one send alive while it is canceled; a flush holds one of the jobs."""
    for _ in range(10):
        operation = await sending.accept(5_000)
        claimed = await jobs.claim(0, 100, LEASE)
        last = max(claimed, key=lambda job: job.lease.job_id)
        async with sending.database.transaction() as flush:
            await flush.execute("select from jobs where job_id = $1 for update", last.lease.job_id)
            leases = [job.lease for job in sorted(claimed, key=lambda job: job.lease.job_id, reverse=True)]
            extending = asyncio.ensure_future(jobs.extend(leases, LEASE))
            canceling = asyncio.ensure_future(cancellations.cancel(sending.account, operation))
            await eventually(lambda: _both_wait(sending))
        assert await extending == {job.lease.lease for job in claimed}
        await canceling
        for job in claimed:
            await jobs.flush(job, all_sent(job))
    assert await sending.value("select deadlocks from pg_stat_database where datname = current_database()") == 0
    await sending.audit()


async def _both_wait(sending: Sending) -> bool:
    return bool(await sending.value("select count(distinct pid) = 2 from pg_locks where not granted"))
