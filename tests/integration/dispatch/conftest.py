from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.dispatch import lanes, worker
from server.domain import retry
from server.store.database import Database
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending
from tests.unit.dispatch.scripted import Providers


@pytest.fixture
async def sending(database: Database) -> Sending:
    """An account that can send."""
    return await Sending.start(database)


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
async def workers(database: Database, providers: Providers) -> AsyncIterator[Workers]:
    """Workers on the test's database and providers, stopped after the test."""
    async with asyncio.TaskGroup() as group:
        running = Workers(group, database, providers)
        yield running
        await running.kill_all()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff, rests and polls of hundredths of seconds."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(lanes, "REFUSED_REST", 0.2)
    monkeypatch.setattr(lanes, "FIRST_REST", 0.2)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)
