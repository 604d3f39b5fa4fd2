"""Workers that stop, die, lose the database or their lease: nothing is lost, and nothing is recorded twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.dispatch import job_run
from server.dispatch.job_run import WIDTH
from server.dispatch.recording import FLUSH_PUSHES
from server.dispatch.worker import Slots
from server.domain.operations import Status
from server.domain.outcomes import Scope, Throttled
from server.domain.reasons import Reason
from server.store.database import Database
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually, users
from tests.unit.dispatch.scripted import Providers

pytestmark = pytest.mark.usefixtures("quick")


async def test_i15_a_worker_asked_to_stop_records_what_it_did_and_gives_the_rest_back(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(1_000)
    providers.open.clear()
    first = workers.start()
    await providers.reached(2 * WIDTH)
    first.worker.stop()
    providers.open.set()
    await first.stop()
    done = len(providers.calls)
    assert len(await sending.ends(operation)) == done == 2 * WIDTH
    left = await sending.fetch("select lease is null and due_at <= now() and picks = 0 as ready from jobs")
    assert [row["ready"] for row in left] == [True, True]
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert len(providers.calls) == len(set(providers.tokens())) == 1_000
    await sending.audit()


async def test_i15_jobs_of_a_worker_stopped_before_their_first_push_were_never_claimed(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    await sending.accept(3)
    async with sending.database.transaction() as other:
        await other.execute("lock table credentials")  # so that the job can't begin
        first = workers.start()
        await eventually(lambda: sending.value("select lease is not null from jobs"))
        first.worker.stop()
    await first.stop()
    assert await sending.value("select lease is null and picks = 0 and due_at <= now() and indexes is null from jobs")
    assert providers.calls == []


async def test_i1_i8_the_work_of_a_dead_worker_is_taken_over_and_repeats_at_most_two_flushes(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(5_000)
    first = workers.start()
    await providers.reached(1_500)
    await first.kill()
    await sending.audit()
    await sending.make_due()
    workers.start()
    await eventually(lambda: sending.completed(operation), 40)
    await sending.audit()
    assert set(await sending.statuses(operation)) == {Status.SENT}
    repeated = len(providers.calls) - 5_000
    assert repeated <= Slots().bulk * 2 * (FLUSH_PUSHES + WIDTH)
    ids: dict[str, set[object]] = {}
    for call in providers.calls:
        ids.setdefault(call.push.token, set()).add(call.push.push_id)
    assert all(len(each) == 1 for each in ids.values())


async def test_i8_a_decided_device_is_not_pushed_again_by_who_takes_over(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    user = await sending.user("done", "open")
    operation = await sending.accept(users(user, user))
    providers.script("open", *[Throttled("429", 0.3, Scope.DEVICE)] * 2)
    first = workers.start()
    await eventually(lambda: sending.value("select progress is not null from jobs"))
    await first.kill()
    await sending.make_due()
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert len(providers.of("done")) == 2  # once for each of the two recipients
    assert len(providers.of("open")) == 4


async def test_i6_a_worker_whose_lease_was_taken_stops_its_job_and_records_nothing(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(500)
    providers.open.clear()
    first = workers.start(lease=timedelta(seconds=0.3))
    await providers.reached(WIDTH)
    assert providers.under_way == WIDTH
    await sending.fetch("update jobs set lease = gen_random_uuid(), due_at = now() + interval '1 hour'")

    async def stopped() -> bool:
        return providers.under_way == 0

    await eventually(stopped)
    assert await sending.ends(operation) == {}
    providers.open.set()
    await sending.make_due()
    await eventually(lambda: sending.completed(operation))
    assert not first.task.done()
    await sending.audit()


async def test_a_long_job_keeps_its_lease(sending: Sending, providers: Providers, workers: Workers) -> None:
    await sending.accept(1)
    providers.open.clear()
    workers.start(lease=timedelta(seconds=0.3))
    await providers.reached(1)
    first = await sending.value("select due_at from jobs")
    await eventually(lambda: sending.value("select due_at > $1::timestamptz + interval '0.5 seconds' from jobs", first))
    assert await sending.claim() == []
    assert len(providers.calls) == 1


async def test_i8_an_unreachable_database_is_waited_out_and_nothing_is_sent_or_recorded_twice(
    sending: Sending, providers: Providers, workers: Workers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_run, "WIDTH", 64)  # so that many flushes are needed
    own = await Database.open(database_url, application="pharos-cut-off")
    operation = await sending.accept(3_000)
    providers.open.clear()
    first = workers.start(database=own)
    await providers.reached(Slots().bulk * 64)  # as many as there may be
    providers.open.set()
    for _ in range(4):
        await _cut_off_in_a_flush(sending)
    await eventually(lambda: sending.completed(operation), 40)
    await first.stop()
    await own.close()
    assert len(providers.calls) == 3_000
    assert set((await sending.ends(operation)).values()) == {(Status.SENT, Reason.NONE)}
    await sending.audit()


async def _cut_off_in_a_flush(sending: Sending) -> None:
    """End all sessions of the worker while one of them has begun to write and waits for the counts."""
    async with sending.database.transaction() as other:
        await other.execute("select from operations for update")
        await eventually(lambda: sending.value("select exists (select from pg_locks where not granted)"))
        await other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pharos-cut-off'"
        )
