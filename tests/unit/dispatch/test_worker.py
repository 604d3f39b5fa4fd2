"""The worker's loop, with a scripted store: what it asks for, what it keeps alive, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import pytest

from server.dispatch import worker as worker_module
from server.dispatch.job_run import Parts
from server.dispatch.worker import Slots, Worker
from server.domain.errors import Unavailable
from server.domain.jobs import Flush, Job, Lease
from server.domain.operations import OperationStatus, Recipient
from server.domain.outcomes import Outcome
from server.domain.pushes import Provider, Push
from tests.unit.dispatch.scripted import MemoryStore, Providers, job_of, parts_of, tokens


class _Silence:
    """Hints that never come."""

    def subscribe(self, listener: Callable[[], object]) -> None:
        pass


@dataclass
class _Queue(MemoryStore):
    """Hands out jobs once each."""

    due: list[Job] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    lost: set[UUID] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    extended: int = 0

    async def claim(self, small: int, bulk: int, lease: timedelta) -> list[Job]:  # noqa: ARG002 - as the port has it
        self.asked.append((small, bulk))
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        taken = [job for job in self.due if job.small][:small] + [job for job in self.due if not job.small][:bulk]
        self.due = [job for job in self.due if job not in taken]
        return taken

    async def extend(self, leases: Sequence[Lease], lease: timedelta) -> set[UUID]:  # noqa: ARG002 - as the port has it
        self.extended += 1
        return {held.lease for held in leases} - self.lost

    async def flush(self, job: Job, flush: Flush) -> OperationStatus | None:
        assert job.lease.lease not in self.lost
        return await super().flush(job, flush)


@asynccontextmanager
async def _working(parts: Parts, slots: Slots | None = None) -> AsyncIterator[Worker]:
    worker = Worker(parts, _Silence(), slots)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        yield worker
        worker.stop()


async def _until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the state is the worker's own
            await asyncio.sleep(0.001)


async def test_a_slow_bulk_send_leaves_the_small_sends_their_slots() -> None:
    providers = Providers()
    providers.open.clear()
    queue = _Queue(due=[job_of(tokens(1), small=False) for _ in range(3)])
    async with _working(parts_of(queue, providers), Slots(small=2, bulk=2)):
        await providers.reached(2)
        queue.due.append(job_of(tokens(1)))
        await providers.reached(3)
        assert [job.small for job in queue.due] == [False]
        providers.open.set()
        await _until(lambda: sum(not flush.rest for flush in queue.flushes) == 4)


async def test_a_slot_that_gets_free_during_a_claim_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 60.0)
    providers = Providers()
    providers.open.clear()
    queue = _Queue(due=[job_of(tokens(1), small=False), job_of(tokens(1), small=False)])

    async with _working(parts_of(queue, providers), Slots(small=1, bulk=1)) as worker:
        await providers.reached(1)
        held = queue.claim

        async def claim(small: int, bulk: int, lease: timedelta) -> list[Job]:
            if (small, bulk) == (1, 0):  # asked while the bulk slot is taken: let its job end before the answer
                providers.open.set()
                await _until(lambda: len(queue.flushes) == 1)
                await asyncio.sleep(0)
            return await held(small, bulk, lease)

        queue.claim = claim  # type: ignore[method-assign]  # for the claims from now on
        worker._wake.set()  # noqa: SLF001 - asks again, as a hint would
        await _until(lambda: len(queue.flushes) == 2)


async def test_an_unreachable_database_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "AFTER_FAILURE_SECONDS", 0.01)
    queue = _Queue(due=[job_of(tokens(1))], failures=[Unavailable("gone"), Unavailable("gone")])
    async with _working(parts_of(queue, Providers())):
        await _until(lambda: queue.flushes)


async def test_i6_a_job_whose_lease_was_taken_stops() -> None:
    providers = Providers()
    providers.open.clear()
    lost, kept = job_of(tokens(1)), job_of(tokens(1))
    queue = _Queue(due=[lost, kept], lost={lost.lease.lease})
    async with _working(replace(parts_of(queue, providers), lease=timedelta(seconds=0.03))):
        await providers.reached(2)
        await _until(lambda: providers.under_way == 1)
        providers.open.set()
        await _until(lambda: queue.flushes)
    assert queue.extended >= 1
    assert len(queue.flushes) == 1


async def test_a_job_that_fails_costs_no_other_one() -> None:
    class _Broken(Providers):
        async def take(self, push: Push, credential: UUID) -> Outcome:
            if push.token == "bad":
                raise ZeroDivisionError
            return await super().take(push, credential)

    bad = job_of([Recipient(token="bad", provider=Provider.FCM)])
    queue = _Queue(due=[bad, job_of(tokens(1))])
    async with _working(parts_of(queue, _Broken())):
        await _until(lambda: queue.flushes)
    assert [end.devices[0].token for end in queue.ends.values()] == ["t0"]


async def test_cancelled_it_leaves_no_task_behind() -> None:
    providers = Providers()
    providers.open.clear()
    queue = _Queue(due=[job_of(tokens(5))])
    running = asyncio.ensure_future(Worker(parts_of(queue, providers), _Silence()).run())
    await providers.reached(5)
    before = asyncio.all_tasks()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert providers.under_way == 0
    assert asyncio.all_tasks() & before == {asyncio.current_task()}
    assert queue.flushes == []


async def test_i20_an_error_of_the_heartbeat_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = Providers()
    providers.open.clear()
    queue = _Queue(due=[job_of(tokens(1))])

    async def broken(*_: object) -> set[UUID]:
        raise ZeroDivisionError

    monkeypatch.setattr(queue, "extend", broken)
    parts = replace(parts_of(queue, providers), lease=timedelta(seconds=0.03))
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10):
            await Worker(parts, _Silence()).run()
    assert caught.group_contains(ZeroDivisionError)
    assert providers.under_way == 0
