"""PostgreSQL is stopped in the middle of sends, in order and by a crash, and comes back."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.restartable import Restartable
from tests.robustness.run import running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SIZE = scaled(800, 10_000)


@pytest.mark.timeout(scaled(180, 3600))
async def test_nothing_is_lost_and_nothing_told_or_sent_twice(
    tmp_path: Path, sandbox_keys: Path, postgres: Restartable
) -> None:
    """The leases outlast PostgreSQL's absence: who has work keeps it, and what it knows, until the database is back."""
    crowd, people = Crowd("postgres", _SIZE), People("postgres", _SIZE // 8)
    service = Service(tmp_path, sandbox_keys, postgres.url, PHAROS_LEASE_SECONDS="60")
    async with running(service, postgres.url) as run:
        client = await run.new_account()
        await people.register(run, client)
        await run.slow_down(people.put_off())
        await run.send(client, people)
        await run.send(client, crowd)
        for share, number in ((0.2, signal.SIGINT), (0.6, signal.SIGQUIT)):
            await run.observer.until_final(share * _SIZE)
            await postgres.restart(number)
        await run.observer.until_ended()

        history = await run.history()
        assert not any(program.exited for program in run.service.programs), "who uses the database waits for it"
    assert not history.losses
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes | people.outcomes
