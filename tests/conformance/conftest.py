"""One running service for all cases; a new account for each."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from secrets import token_hex

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.domain import ids
from server.domain.accounts import IssuedSecret
from server.domain.ids import Kind
from server.localpg import LocalPostgres
from server.store.accounts import Accounts
from server.store.database import Database
from tests.acceptance.failures import pytest_runtest_makereport as pytest_runtest_makereport  # noqa: PLC0414 - a hook
from tests.acceptance.programs import Up
from tests.acceptance.stack import Stack, credential_contents
from tests.conformance.runner import Run
from tests.conformance.uploads import uploads


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Up(tmp_path_factory.mktemp("conformance") / "data", "--sandbox")) as up:
        yield Stack(up, up.variables())


@dataclass(frozen=True)
class People:
    """Two accounts and an API key of the first, each as id and secret."""

    account: tuple[str, str]
    other: tuple[str, str]
    api_key: tuple[str, str]


@pytest.fixture
async def people(stack: Stack) -> People:
    """Made where the service keeps them: a process for each would take a second."""
    database = await Database.open(LocalPostgres(stack.up.data_dir / "postgres").dsn("pharos"), size=1)
    try:
        accounts = Accounts(database)
        first, second = [await accounts.create("conformance") for _ in range(2)]
        key = await accounts.create_key(first.id, "conformance")
    finally:
        await database.close()
    return People(_pair(Kind.ACCOUNT, first), _pair(Kind.ACCOUNT, second), _pair(Kind.API_KEY, key))


def _pair(kind: Kind, issued: IssuedSecret) -> tuple[str, str]:
    return ids.encode(kind, issued.id), issued.secret


@pytest.fixture(params=["v1", "preview"])
async def run(stack: Stack, people: People, request: pytest.FixtureRequest) -> AsyncIterator[Run]:
    contents = credential_contents(stack.variables)
    now, day = datetime.now(UTC), timedelta(days=1)
    variables = {
        **uploads(),
        "account": people.account[0],
        "auth_token": people.account[1],
        "api_key": people.api_key[0],
        "api_key_secret": people.api_key[1],
        "url": stack.url,
        "suffix": token_hex(8),
        "fcm_key": contents["FCM"]["privateKey"],
        "unknown_fcm_key": _with_another_key(contents["FCM"]["privateKey"]),
        "apn_key": contents["APN"]["privateKey"],
        "apn_certificate": contents["APN"]["certificate"],
        "tomorrow": (now + day).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "yesterday": (now - day).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    auths = (httpx.BasicAuth(*people.account), httpx.BasicAuth(*people.other))
    async with stack.rest() as http, stack.sandbox() as sandbox:
        yield Run(http, sandbox, f"/{request.param}", auths, variables)


@cache
def _with_another_key(service_account: str) -> str:
    """The account with a key that the sandbox does not know, base64 like the account itself."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {**json.loads(base64.b64decode(service_account)), "private_key": key.decode()}
    return base64.b64encode(json.dumps(account).encode()).decode()
