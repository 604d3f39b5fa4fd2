from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.store.database import Database
from server.store.feed import Feed
from tests.integration.store.sending import Sending
from tests.integration.watch.processes import Process, running


@pytest.fixture
async def sending(database: Database) -> Sending:
    """An account that can send."""
    return await Sending.start(database)


@pytest.fixture
async def process(database: Database) -> AsyncIterator[Process]:
    """What of an API process has to do with the feed, running."""
    async with running(database.dsn, Feed(database)) as process:
        yield process


@pytest.fixture
async def another_process(database: Database) -> AsyncIterator[Process]:
    async with running(database.dsn, Feed(database)) as process:
        yield process
