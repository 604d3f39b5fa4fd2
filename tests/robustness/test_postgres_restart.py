"""PostgreSQL is stopped in the middle of sends, in order and by a crash, and comes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.localpg import LocalPostgres
from server.store.database import Database
from server.store.migrations import migrate
from tests.acceptance.processes import Process
from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.run import running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SIZE = scaled(800, 10_000)
_DATABASE = "pharos"


class Restartable:
    """A PostgreSQL that keeps its promises: other tests' one may forget in a crash what it has committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = LocalPostgres(folder)
        self._server.start()
        self._server.ensure_database(_DATABASE)
        self.url = self._server.dsn(_DATABASE)

    async def restart(self, number: signal.Signals) -> None:
        """SIGINT: sessions are ended in order. SIGQUIT: at once, and the start recovers from the log."""
        pid = int((self._folder / "cluster/postmaster.pid").read_text().split(maxsplit=1)[0])
        postmaster = Process.of(pid)
        postmaster.send(number)
        await asyncio.to_thread(postmaster.wait, 60.0)
        await asyncio.to_thread(self._server.start)

    def close(self) -> None:
        self._server.stop()


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Restartable]:
    postgres = Restartable(tmp_path / "postgres")
    database = await Database.open(postgres.url, size=1)
    await migrate(database)
    await database.close()
    yield postgres
    postgres.close()


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
