"""Who works on what: each due job goes to one claimer, in order, and never more than were asked for."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from uuid import UUID

import pytest

from server.domain.jobs import Lease
from server.domain.operations import Message
from server.domain.pushes import Presentation, Priority
from server.domain.templates import ContentSource
from server.store.jobs import Jobs
from server.store.statements import Statements
from tests.integration.store.sending import LEASE, Sending, all_sent

_SQL = Statements("jobs")
_FIRST = UUID(int=0)


async def _many_jobs(sending: Sending, count: int) -> None:
    """Jobs of one batch: as many as a burst of sends makes, without the sends."""
    await sending.accept(1)
    await sending.fetch(
        "insert into jobs (account_id, operation_id, batch_no, lane, due_at)"
        " select account_id, operation_id, 0, 0, due_at from jobs, generate_series(2, $1)",
        count,
    )


async def test_no_claim_takes_more_than_its_limit_however_old_the_statistics(sending: Sending, jobs: Jobs) -> None:
    await sending.fetch("analyze jobs")  # of an empty table: the planner will believe that there is nothing to limit
    await _many_jobs(sending, 200)
    for _ in range(10):  # the plan is cached from the sixth on
        assert len(await jobs.claim(3, 0, LEASE)) == 3
    assert await sending.value("select count(*) from jobs where lease is not null") == 30


async def test_no_plan_makes_a_claim_take_more_than_its_limit(sending: Sending) -> None:
    """Where the planner runs the limited subquery again for each row, as it may with `in (select ... limit)`."""
    await _many_jobs(sending, 200)
    async with sending.database.transaction() as connection:
        for setting in ("hashjoin", "material", "sort", "hashagg"):
            await connection.execute(f"set local enable_{setting} = off")
        assert len(await connection.fetch(_SQL.claim, 3, 0, LEASE, _FIRST, _FIRST)) == 3


async def test_claimers_at_the_same_time_get_different_jobs(sending: Sending, jobs: Jobs) -> None:
    await _many_jobs(sending, 200)
    claims = await asyncio.gather(*(jobs.claim(25, 25, LEASE) for _ in range(10)))
    ids = [job.lease.job_id for claim in claims for job in claim]
    assert len(ids) == len(set(ids)) == 200


async def test_a_claim_does_not_wait_for_jobs_that_another_transaction_holds(sending: Sending, jobs: Jobs) -> None:
    await _many_jobs(sending, 3)
    async with sending.database.transaction() as other:
        await other.execute("select from jobs order by job_id limit 2 for update")
        async with asyncio.timeout(5):
            assert len(await jobs.claim(10, 10, LEASE)) == 1


async def test_the_longest_due_comes_first(sending: Sending, jobs: Jobs) -> None:
    operations = [await sending.accept(1) for _ in range(4)]
    await sending.fetch("update jobs set due_at = now() - (due_at - '2000-01-01')")  # the newest are due longest
    operations.reverse()
    claimed = [(await jobs.claim(1, 0, LEASE))[0].operation_id for _ in operations]
    assert claimed == operations


async def test_small_sends_have_their_own_limit(sending: Sending, jobs: Jobs) -> None:
    bulk, small = await sending.accept(11), await sending.accept(10)
    assert [job.operation_id for job in await jobs.claim(1, 0, LEASE)] == [small]
    assert [(job.operation_id, job.small) for job in await jobs.claim(1, 1, LEASE)] == [(bulk, False)]


async def test_a_send_that_is_not_urgent_does_not_take_the_fast_lane(sending: Sending) -> None:
    message = Message(ContentSource(body="hello"), Presentation(priority=Priority.LOW))
    await sending.accept(1, message=message)
    assert not (await sending.claim_one()).small


@pytest.mark.parametrize("size", [1, 11])
async def test_i12_accounts_take_turns(sending: Sending, jobs: Jobs, size: int) -> None:
    """Whoever queued first, and however much: with one slot each account gets a job in every round."""
    others = [await Sending.start(sending.database) for _ in range(2)]
    accounts = [sending, *others]
    for _ in range(20):
        await sending.accept(size)
    for other in others:
        for _ in range(3):
            await other.accept(size)
    claimed = [(await jobs.claim(1, 1, LEASE))[0].lease.account_id for _ in range(12)]
    for round_of in (claimed[:3], claimed[4:7], claimed[8:11]):
        assert set(round_of) == {each.account for each in accounts}, (
            "every fourth claim came to the end of the accounts"
        )
    assert await sending.value("select count(*) from jobs where lease is null") == 14


async def test_i12_sends_of_about_the_same_time_take_turns(sending: Sending, jobs: Jobs) -> None:
    first = await sending.accept(10_000)
    second = await sending.accept(1_000)
    claimed = [job.operation_id for job in await jobs.claim(0, 4, LEASE)]
    assert sorted(claimed) == sorted([first, second, first, second])


async def test_i12_many_accounts_whose_work_is_not_due_hide_nobody(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    await sending.fetch(
        "insert into jobs (account_id, operation_id, batch_no, lane, due_at)"
        " select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, operation_id, 0, 0,"
        " now() + interval '1 hour' from jobs, generate_series(1, 200) n"
    )
    assert len(await jobs.claim(1, 0, LEASE)) == 1


async def test_i12_turns_go_on_behind_accounts_whose_work_is_not_due(sending: Sending, jobs: Jobs) -> None:
    """However much one account has been waiting for longest, the others' turn comes."""
    await sending.accept(1)
    await sending.fetch(
        "insert into jobs (account_id, operation_id, batch_no, lane, due_at)"
        " select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, operation_id, 0, 0,"
        " now() + interval '1 hour' from jobs, generate_series(1, 50) n"
    )
    await sending.fetch("update jobs set due_at = now() - interval '1 hour' where account_id = $1", sending.account)
    await sending.fetch(
        "insert into jobs (account_id, operation_id, batch_no, lane, due_at)"
        " select account_id, operation_id, 0, 0, now() - interval '1 hour' from jobs, generate_series(1, 100)"
        " where account_id = $1",
        sending.account,
    )
    late = await Sending.start(sending.database)
    await late.accept(1)
    for _ in range(10):
        if late.account in {job.lease.account_id for job in await jobs.claim(1, 0, LEASE)}:
            return
    pytest.fail("the turn of the second account never came")


async def test_a_job_that_can_not_be_read_is_left_to_its_lease(sending: Sending, jobs: Jobs) -> None:
    """As one that a newer version accepted: a worker of that version takes it, and this one goes on with others."""
    unreadable, _ = await sending.accept(1), await sending.accept(1)
    await sending.fetch(
        "update operations set message = replace(message, 'HIGH', 'ABSURD') where operation_id = $1", unreadable
    )
    await sending.fetch("update jobs set picks = 5000")
    (job,) = await jobs.claim(10, 10, LEASE)
    assert job.operation_id != unreadable
    assert await sending.value("select count(*) from jobs where lease is not null") == 2


async def test_i16_work_is_not_due_before_its_time_nor_again_before_its_lease_ends(
    sending: Sending, jobs: Jobs
) -> None:
    await sending.accept(1)
    await sending.fetch("update jobs set due_at = now() + interval '1 hour'")
    assert await sending.claim() == []
    await sending.make_due()
    (first,) = await jobs.claim(1, 0, timedelta(hours=1))
    assert await sending.claim() == []
    await sending.make_due()
    (second,) = await sending.claim()
    assert second.lease.job_id == first.lease.job_id
    assert second.lease.lease != first.lease.lease
    assert (first.picks, second.picks) == (1, 2)


async def test_a_lease_is_extended_only_for_who_holds_it(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    taken = (await sending.claim_one()).lease
    await sending.make_due()
    held = (await sending.claim_one()).lease
    stranger = Lease(held.account_id, held.lease, held.lease)
    assert await jobs.extend([taken, stranger], LEASE) == set()
    assert await jobs.extend([taken, held, stranger], timedelta(hours=1)) == {held.lease}
    assert await sending.value("select due_at > now() + interval '59 minutes' from jobs")


async def test_work_given_back_is_due_at_once_and_was_never_claimed(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(2)
    first = await sending.claim_one()
    await jobs.give_back(first)
    second = await sending.claim_one()
    assert (second.picks, dict(second.recipients)) == (1, dict(first.recipients))


async def test_i6_who_lost_the_lease_gives_nothing_back(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    first = await sending.claim_one()
    await sending.make_due()
    second = await sending.claim_one()
    await jobs.give_back(first)
    assert await sending.claim() == []
    await jobs.flush(second, all_sent(second))


async def test_the_claim_goes_by_the_queues_index_and_sees_one_partition(sending: Sending) -> None:
    await _many_jobs(sending, 20_000)
    await sending.fetch("analyze jobs")
    plan = await _explain(sending, _SQL.claim, 8, 6, LEASE, _FIRST, _FIRST)
    assert re.findall(r"Index(?: Only)? Scan using jobs_(?:account|due)", plan)
    assert "Seq Scan on jobs" not in plan
    assert max(int(rows) for rows in re.findall(r"rows=(\d+)", plan)) <= 100
    assert "notifications" not in plan
    touched = [line for line in plan.splitlines() if " on batches_" in line and "never executed" not in line]
    assert len(touched) == 1


async def test_the_flush_reads_no_partition(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(3)
    job = await sending.claim_one()
    nothing: list[object] = [[], [], [], [], [], [], None, None]
    arguments = (job.lease.account_id, job.lease.job_id, job.lease.lease, job.operation_id, *nothing)
    plan = await _explain(sending, _SQL.flush, *arguments, False, LEASE, [0, 1, 2], None, True, False, None)
    assert " on batches" not in plan
    assert re.findall(r"Scan.* on notifications", plan) == []
    assert "Insert on notifications" in plan
    await jobs.flush(job, all_sent(job))


async def _explain(sending: Sending, statement: str, *arguments: object) -> str:
    """The plan that any parameters get, as it ran; what it did is undone."""
    async with sending.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("set local plan_cache_mode = force_generic_plan")
        rows = await connection.fetch(f"explain (analyze, costs off) {statement}", *arguments)
        await transaction.rollback()
    return "\n".join(row[0] for row in rows)
