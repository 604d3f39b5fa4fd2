"""Cancel and schedule with real workers: who is canceled was never called, and nobody is called early."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from server.dispatch.scheduler import run_schedule
from server.domain.errors import Conflict
from server.domain.operations import OperationStatus, Recipient, Status
from server.domain.outcomes import Scope, Throttled
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store.cancellations import Cancellations
from server.store.operations import Operations
from server.store.schedule import Schedule
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually
from tests.unit.dispatch.scripted import Announcements, Providers

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
async def scheduler(sending: Sending) -> AsyncIterator[Announcements]:
    announcements = Announcements()
    task = asyncio.create_task(run_schedule(Schedule(sending.database), announcements))
    yield announcements
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _over(sending: Sending) -> bool:
    return bool(await sending.value("select bool_and(ended_at is not null) from operations"))


async def test_cancel_stops_what_workers_hold_within_a_flush(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(10_000)
    providers.open.clear()
    workers.start()
    workers.start()
    await providers.reached(500)
    await Cancellations(sending.database).cancel(sending.account, operation)
    providers.open.set()
    await eventually(lambda: _over(sending))
    ends = await sending.ends(operation)
    called = set(providers.tokens())
    assert len(called) == len(providers.calls)
    assert 500 <= len(called) < 10_000
    for index, (status, _) in ends.items():
        assert (status is Status.CANCELED) == (f"t{index}" not in called)
    assert await sending.value("select status from operations") == OperationStatus.CANCELED
    await sending.audit()


async def test_i9_a_recipient_that_waits_for_another_try_gets_none_after_the_cancel(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(2)
    providers.script("t0", Throttled("QUOTA_EXCEEDED", retry_after=3600, scope=Scope.DEVICE))
    providers.script("t1", Throttled("QUOTA_EXCEEDED", retry_after=3600, scope=Scope.DEVICE))
    workers.start()
    await eventually(lambda: sending.value("select lease is null and progress is not null from jobs"))
    await Cancellations(sending.database).cancel(sending.account, operation)
    assert set((await sending.ends(operation)).values()) == {(Status.FAILED, Reason.CANCELED)}
    assert len(providers.calls) == 2
    assert await sending.value("select status from operations") == OperationStatus.COMPLETED
    await sending.audit()


async def test_cancel_races_with_workers_again_and_again(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    for _ in range(3):
        workers.start()
    operations = [await sending.accept(_tokens(number)) for number in range(8)]
    await asyncio.gather(*(_cancel_once_begun(sending, each) for each in operations))
    await eventually(lambda: _over(sending))
    called = set(providers.tokens())
    for number, operation in enumerate(operations):
        ends = await sending.ends(operation)
        canceled = {f"{number}-{index}" for index, (status, _) in ends.items() if status is Status.CANCELED}
        assert not canceled & called
        assert canceled | called >= {f"{number}-{index}" for index in range(700)}
    await sending.audit()


def _tokens(number: int) -> list[Recipient]:
    return [Recipient(token=f"{number}-{index}", provider=Provider.FCM) for index in range(700)]


async def _cancel_once_begun(sending: Sending, operation: UUID) -> None:
    await eventually(lambda: sending.value("select sent > 0 from operations where operation_id = $1", operation))
    with contextlib.suppress(Conflict):  # the workers were faster
        await Cancellations(sending.database).cancel(sending.account, operation)


async def test_i11_nobody_is_called_before_the_due_time(
    sending: Sending, providers: Providers, workers: Workers, scheduler: Announcements
) -> None:
    workers.start()
    due = await Operations(sending.database).now() + timedelta(seconds=1)
    operation = await sending.accept(3, send_at=due)
    await eventually(lambda: sending.completed(operation))
    first = await sending.value("select min(decided_at) from notifications")
    assert due <= first < due + timedelta(seconds=10)
    assert (len(providers.calls), scheduler.jobs, scheduler.feeds) == (3, 1, [sending.account])
    await sending.audit()
