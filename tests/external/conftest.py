"""One running service for all outside judges, and an account of its own for each kind of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import httpx
import pytest

from tests.acceptance.failures import pytest_runtest_makereport as pytest_runtest_makereport  # noqa: PLC0414 - a hook
from tests.acceptance.programs import Up
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Up(tmp_path_factory.mktemp("external") / "data", "--sandbox")) as up:
        yield Stack(up, up.variables())


@pytest.fixture(scope="module")
def account(stack: Stack) -> Stack:
    """An account whose default app is the documents' `test_app` and which has their `limonade_app`, too."""
    own = stack.with_new_account()
    own.upload_credentials("test_app")
    own.upload_credentials("limonade_app", "FCM")
    return own


@pytest.fixture
async def rest(account: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with account.rest() as rest:
        yield rest


@pytest.fixture
async def sandbox(stack: Stack) -> AsyncIterator[SandboxPort]:
    async with stack.sandbox() as sandbox:
        yield sandbox
