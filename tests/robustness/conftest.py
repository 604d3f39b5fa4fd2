"""A service with two workers for the tests that hurt it. `up` has to bring back whatever they kill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from client.push_client import PushClient
from server.store.database import Database
from server.store.migrations import migrate
from tests.acceptance.failures import pytest_runtest_makereport as pytest_runtest_makereport  # noqa: PLC0414 - a hook
from tests.acceptance.programs import Up
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.robustness.restartable import Restartable
from tests.robustness.settings import SETTINGS


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service as the account of its dev.env sees it, which has the app `default`."""
    with closing(Up(tmp_path_factory.mktemp("robustness") / "data", "--sandbox", "--workers", "2", **SETTINGS)) as up:
        started = Stack(up, up.variables())
        started.upload_credentials("default")
        yield started


@pytest.fixture(scope="session")
def sandbox_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sandboxes keep their keys: making them takes a second."""
    return tmp_path_factory.mktemp("sandbox-keys")


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[PushClient]:
    async with stack.client() as client:
        yield client


@pytest.fixture
async def sandbox(stack: Stack) -> AsyncIterator[SandboxPort]:
    async with stack.sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Restartable]:
    postgres = Restartable(tmp_path / "postgres")
    database = await Database.open(postgres.url, size=1)
    await migrate(database)
    await database.close()
    yield postgres
    postgres.close()
