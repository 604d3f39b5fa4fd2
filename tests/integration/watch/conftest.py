from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.store.database import Database
from server.store.feed import Feed
from server.store.hints import Hints
from server.watch.stream import StatusStreams
from server.watch.tailer import Tailer
from tests.integration.store.sending import Sending
from tests.integration.watch.processes import Process


@pytest.fixture
async def sending(database: Database) -> Sending:
    """An account that can send."""
    return await Sending.start(database)


@pytest.fixture
async def process(database: Database) -> AsyncIterator[Process]:
    """What of an API process has to do with the feed, running."""
    async with _running(database) as process:
        yield process


@pytest.fixture
async def another_process(database: Database) -> AsyncIterator[Process]:
    async with _running(database) as process:
        yield process


@asynccontextmanager
async def _running(database: Database) -> AsyncIterator[Process]:
    hints = Hints(database.dsn)
    tailer = Tailer(Feed(database), hints.feeds, hints)
    tasks = [asyncio.ensure_future(hints.run()), asyncio.ensure_future(tailer.run())]
    yield Process(hints, StatusStreams(Feed(database), tailer, lambda item: item))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
