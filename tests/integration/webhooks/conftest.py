from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.domain import webhooks
from server.store.database import Database
from server.webhooks import deliverer
from tests.integration.store.sending import Sending
from tests.integration.webhooks.deliverers import Deliverers, Owner
from tests.integration.webhooks.receiver import Receiver, receiving


@pytest.fixture
async def sending(database: Database) -> Sending:
    """An account that can send."""
    return await Sending.start(database)


@pytest.fixture
def owner(sending: Sending) -> Owner:
    """The account, as it manages its webhooks."""
    return Owner(sending)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
async def deliverers(database: Database) -> AsyncIterator[Deliverers]:
    """Deliverers on the test's database, stopped after the test."""
    async with asyncio.TaskGroup() as group:
        running = Deliverers(group, database)
        yield running
        await running.kill_all()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries and polls of hundredths of seconds."""
    monkeypatch.setattr(webhooks, "WAITS", tuple(wait / 1000 for wait in webhooks.WAITS[:4]))
    monkeypatch.setattr(webhooks, "_LONGEST_REST", 0.05)
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(deliverer, "NET_SECONDS", 0.02)
