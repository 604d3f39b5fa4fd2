"""One `pharos up --sandbox` for all acceptance tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import httpx
import pytest

from client.push_client import PushClient
from tests.acceptance.failures import pytest_runtest_makereport as pytest_runtest_makereport  # noqa: PLC0414 - a hook
from tests.acceptance.programs import Up
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service as the account of its dev.env sees it, which has the app `default`."""
    with closing(Up(tmp_path_factory.mktemp("acceptance") / "data", "--sandbox")) as up:
        started = Stack(up, up.variables())
        started.upload_credentials("default")
        yield started


@pytest.fixture(scope="session")
def test_app(stack: Stack) -> Stack:
    """The same for an account of its own, whose default app is the documents' `test_app`."""
    own = stack.with_new_account()
    own.upload_credentials("test_app")
    return own


@pytest.fixture
async def rest(test_app: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """What `curl -u` of that account sees."""
    async with test_app.rest() as rest:
        yield rest


@pytest.fixture(params=["v1", "preview"])
def version(request: pytest.FixtureRequest) -> str:
    """What follows the host in a URL; answers are the same."""
    return f"/{request.param}"


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[PushClient]:
    async with stack.client() as client:
        yield client


@pytest.fixture
async def sandbox(stack: Stack) -> AsyncIterator[SandboxPort]:
    async with stack.sandbox() as sandbox:
        yield sandbox
