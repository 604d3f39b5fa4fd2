"""One running service for all cases; a new account for each."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from secrets import token_hex

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.domain import ids
from server.domain.ids import Kind
from server.localpg import LocalPostgres
from server.store.accounts import Accounts
from server.store.database import Database
from tests.acceptance.failures import pytest_runtest_makereport as pytest_runtest_makereport  # noqa: PLC0414 - a hook
from tests.acceptance.programs import Up
from tests.acceptance.stack import Stack, credential_contents
from tests.conformance.runner import Run


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Up(tmp_path_factory.mktemp("conformance") / "data", "--sandbox")) as up:
        yield Stack(up, up.variables())


@pytest.fixture
async def accounts(stack: Stack) -> tuple[httpx.BasicAuth, httpx.BasicAuth]:
    """Two new accounts, made where the service keeps them: a process for each would take a second."""
    database = await Database.open(LocalPostgres(stack.up.data_dir / "postgres").dsn("pharos"), size=1)
    try:
        made = [await Accounts(database).create("conformance") for _ in range(2)]
    finally:
        await database.close()
    first, second = (httpx.BasicAuth(ids.encode(Kind.ACCOUNT, account.id), account.secret) for account in made)
    return first, second


@pytest.fixture(params=["v1", "preview"])
async def run(
    stack: Stack, accounts: tuple[httpx.BasicAuth, httpx.BasicAuth], request: pytest.FixtureRequest
) -> AsyncIterator[Run]:
    contents = credential_contents(stack.variables)
    variables = {
        "url": stack.url,
        "suffix": token_hex(8),
        "fcm_key": contents["FCM"]["privateKey"],
        "unknown_fcm_key": _with_another_key(contents["FCM"]["privateKey"]),
        "apn_key": contents["APN"]["privateKey"],
        "apn_certificate": contents["APN"]["certificate"],
        "tomorrow": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    async with stack.rest() as http, stack.sandbox() as sandbox:
        yield Run(http, sandbox, f"/{request.param}", accounts, variables)


@cache
def _with_another_key(service_account: str) -> str:
    """The account with a key that the sandbox does not know, base64 like the account itself."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {**json.loads(base64.b64decode(service_account)), "private_key": key.decode()}
    return base64.b64encode(json.dumps(account).encode()).decode()
