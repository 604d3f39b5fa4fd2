"""A worker that is stopped past its leases and goes on: another one has its jobs by then, and it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.run import Run, running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SIZE = scaled(700, 10_000)
_PEOPLE = scaled(100, 2_000)
_ROUNDS = scaled(2, 6)
# Jobs that were taken from a lease that ended, and are under way.
_TAKEN_OVER = "select exists (select from jobs where lost and lease is not null)"


async def _stop_past_the_lease(run: Run) -> None:
    """The only worker. It goes on while another one is at its jobs, and for a while does not know."""
    await run.observer.until_begun()
    run.service.pause_worker(0)
    await run.lose(over=0.0)
    await run.service.start_worker(1)
    await run.observer.until(_TAKEN_OVER)
    run.service.resume_worker(0)
    run.extend_loss(by=run.service.lease + run.service.provider_timeout)


@pytest.mark.timeout(scaled(300, 3600))
async def test_a_stale_worker_changes_nothing(tmp_path: Path, sandbox_keys: Path, database_url: str) -> None:
    crowds = [Crowd(f"stale{number}", _SIZE) for number in range(_ROUNDS)]
    people = People("stale", _PEOPLE)
    service = Service(tmp_path, sandbox_keys, database_url, workers=1, PHAROS_LEASE_SECONDS="2")
    async with running(service, database_url) as run:
        client = await run.new_account()
        await people.register(run, client)
        await run.slow_down(people.put_off())
        await run.send(client, people)
        for crowd in crowds:
            operation = await run.send(client, crowd)
            await _stop_past_the_lease(run)
            await run.observer.until_ended(operation)
            await run.service.stop_worker(1)
        await run.observer.until_ended()

        history = await run.history()
    assert broken(history) == {}
    assert history.outcomes == {who: status for each in (people, *crowds) for who, status in each.outcomes.items()}


@pytest.mark.timeout(scaled(180, 3600))
async def test_a_worker_that_sleeps_through_everything_changes_nothing(
    tmp_path: Path, sandbox_keys: Path, database_url: str
) -> None:
    """Its answers come when all is recorded and told."""
    crowd = Crowd("asleep", _SIZE)
    service = Service(tmp_path, sandbox_keys, database_url, workers=1, PHAROS_LEASE_SECONDS="2")
    async with running(service, database_url) as run:
        client = await run.new_account()
        await run.slow_down()
        operation = await run.send(client, crowd)
        await run.observer.until_begun()
        run.service.pause_worker(0)
        await run.lose(over=0.0)
        await run.service.start_worker(1)
        await run.observer.until_ended(operation)
        before = await run.observer.everything()
        run.service.resume_worker(0)
        await run.service.stop_worker(0)  # what it still has to record, it tries to
        run.extend_loss(by=0.0)

        history = await run.history()
        assert before == await run.observer.everything()
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes


@pytest.mark.timeout(scaled(180, 3600))
async def test_both_workers_stop_at_once(tmp_path: Path, sandbox_keys: Path, database_url: str) -> None:
    """Nobody takes their jobs over: when they go on they may find their leases over, and yet still their own."""
    crowd = Crowd("both", _SIZE)
    service = Service(tmp_path, sandbox_keys, database_url, PHAROS_LEASE_SECONDS="1")
    async with running(service, database_url) as run:
        client = await run.new_account()
        await run.slow_down()
        operation = await run.send(client, crowd)
        await run.observer.until_begun()
        for number in (0, 1):
            run.service.pause_worker(number)
        await run.lose(over=0.0)
        await run.observer.until("select not exists (select from jobs where due_at > now())")
        for number in (0, 1):
            run.service.resume_worker(number)
        await run.observer.until_ended(operation)
        run.extend_loss(by=0.0)

        history = await run.history()
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes
