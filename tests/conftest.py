"""What tests share: a PostgreSQL, a fresh database for each test, and our gRPC server on it with an account to call as.

The PostgreSQL is the tests' own, of the programs in the folder that PHAROS_TEST_POSTGRES_BIN names, or the one that
DATABASE_URL names.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from pharos.push.v1 import (
    apps_pb2,
    apps_pb2_grpc,
    credentials_pb2,
    credentials_pb2_grpc,
    device_registrations_pb2,
    device_registrations_pb2_grpc,
    types_pb2,
    users_pb2,
    users_pb2_grpc,
    webhooks_pb2_grpc,
)

from server.domain import ids
from server.domain.ids import Kind
from server.localpg import LocalPostgres
from server.localpg.binaries import OVERRIDE
from server.providers.credentials.parsing import parse_credential
from server.store.accounts import Accounts
from server.store.database import Database
from server.store.migrations import migrate
from tests.parallel import pytest_collection_finish as pytest_collection_finish  # noqa: PLC0414 - a hook
from tests.parallel import pytest_collection_modifyitems as pytest_collection_modifyitems  # noqa: PLC0414 - a hook
from tests.parallel import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler  # noqa: PLC0414 - a hook
from tests.servers import api_server

# Nothing of a test database has to survive a power cut.
_CARELESS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database whose owner may create others, on a server of this worker's own: tests look at locks,
    which are those of all its databases.
    """
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            if folder := os.environ.get("PHAROS_TEST_POSTGRES_BIN"):
                patch.setenv(OVERRIDE, folder)
            server = stack.enter_context(LocalPostgres(tmp_path_factory.mktemp("postgres")))
        _run(_make_careless(server.dsn()))
        yield server.dsn()


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"pharos_template_{secrets.token_hex(4)}"
    _run(_make_template(postgres_url, name))
    yield name
    _run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture
async def database_url(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """The address of a fresh database with the current schema, dropped after the test whoever is connected."""
    name = f"pharos_test_{secrets.token_hex(8)}"
    await _execute(postgres_url, f"create database {name} template {template_database}")
    yield _with_database(postgres_url, name)
    await _execute(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh database, opened."""
    opened = await Database.open(database_url, application="pharos-test")
    yield opened
    await opened.close()


@dataclass(frozen=True)
class Caller:
    """An account of the running server, and stubs that call as it."""

    account_id: UUID
    token: str
    channel: grpc.aio.Channel

    @property
    def users(self) -> users_pb2_grpc.UserServiceStub:
        return users_pb2_grpc.UserServiceStub(self.channel)

    @property
    def registrations(self) -> device_registrations_pb2_grpc.DeviceRegistrationServiceStub:
        return device_registrations_pb2_grpc.DeviceRegistrationServiceStub(self.channel)

    @property
    def credentials(self) -> credentials_pb2_grpc.CredentialServiceStub:
        return credentials_pb2_grpc.CredentialServiceStub(self.channel)

    @property
    def apps(self) -> apps_pb2_grpc.AppServiceStub:
        return apps_pb2_grpc.AppServiceStub(self.channel)

    @property
    def webhooks(self) -> webhooks_pb2_grpc.WebhookServiceStub:
        return webhooks_pb2_grpc.WebhookServiceStub(self.channel)

    async def register(self, token: str, **fields: Any) -> device_registrations_pb2.DeviceRegistration:
        """Register a device, of FCM where ``provider`` is not given, and fetch the registration that it is in."""
        request = device_registrations_pb2.RegisterDeviceRequest(
            token=token, **{"provider": types_pb2.PROVIDER_FCM, **fields}
        )
        done = await self.registrations.RegisterDevice(request)
        return await self.registration(done.resource_id)

    async def registration(self, name: str) -> device_registrations_pb2.DeviceRegistration:
        request = device_registrations_pb2.GetDeviceRegistrationRequest(device_registration_id=name)
        return (await self.registrations.GetDeviceRegistration(request)).device_registration

    async def upload(self, content: credentials_pb2.CredentialContent, **fields: Any) -> credentials_pb2.Credential:
        """Create a credential, of FCM where ``credential_type`` is not given, and fetch it."""
        request = credentials_pb2.CreateCredentialRequest(
            content=content, **{"credential_type": credentials_pb2.CREDENTIAL_TYPE_FCM, **fields}
        )
        done = await self.credentials.CreateCredential(request)
        return await self.credential(done.resource_id)

    async def credential(self, name: str) -> credentials_pb2.Credential:
        request = credentials_pb2.GetCredentialRequest(credential_id=name)
        return (await self.credentials.GetCredential(request)).credential

    async def app(self, name: str) -> apps_pb2.App:
        return (await self.apps.GetApp(apps_pb2.GetAppRequest(app_name=name))).app

    async def user(self, name: str) -> users_pb2.User:
        return (await self.users.GetUser(users_pb2.GetUserRequest(user_id=name))).user


@dataclass(frozen=True)
class Refusal:
    """What a caller learns from a failed call."""

    code: grpc.StatusCode
    message: str
    status: Status

    @property
    def reason(self) -> str:
        info = self.detail(error_details_pb2.ErrorInfo)
        assert info.domain == "push.pharos"
        return info.reason

    @property
    def fields(self) -> dict[str, str]:
        """Each wrong field with what is wrong with it."""
        violations = self.detail(error_details_pb2.BadRequest).field_violations
        return {violation.field: violation.description for violation in violations}

    def detail(self, kind: type[Message]) -> Any:
        found = kind()
        assert any(packed.Unpack(found) for packed in self.status.details), f"no {kind.__name__} in {self.status}"
        return found


Refuse: TypeAlias = Callable[[Awaitable[Any]], Awaitable[Refusal]]
NewCaller: TypeAlias = Callable[[], Awaitable[Caller]]


_parse = functools.cache(
    parse_credential
)  # an RSA key takes tens of milliseconds to check, and most tests have the same


class _AsAccount(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, user: str, password: str) -> None:
        self._header = basic(user, password)

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        metadata = client_call_details.metadata or grpc.aio.Metadata()
        metadata.add("authorization", self._header)
        return await continuation(client_call_details._replace(metadata=metadata), request)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
async def server_address(database: Database) -> AsyncIterator[str]:
    """Our server on a free port of this machine."""
    server = api_server(database, _parse)
    yield f"127.0.0.1:{await server.start()}"
    await server.stop(grace=0)


@pytest.fixture
async def new_caller(server_address: str, database: Database) -> AsyncIterator[NewCaller]:
    """Make another account to call as."""
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> Caller:
            account = await Accounts(database).create("test")
            signer = _AsAccount(ids.encode(Kind.ACCOUNT, account.id), account.secret)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server_address, interceptors=[signer]))
            return Caller(account.id, account.secret, channel)

        yield make


@pytest.fixture
async def api(new_caller: NewCaller) -> Caller:
    """A new account of the running server."""
    return await new_caller()


@pytest.fixture
async def with_app(api: Caller, fcm_content: credentials_pb2.CredentialContent) -> Caller:
    """The account with an app named ``default``."""
    await api.upload(fcm_content)
    return api


@pytest.fixture
async def anonymous(server_address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the server that sends no credentials."""
    async with grpc.aio.insecure_channel(server_address) as channel:
        yield channel


@pytest.fixture
def refusal() -> Refuse:
    """Await a call that has to fail."""

    async def refused(call: Awaitable[Any]) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = caught.value
        return Refusal(error.code(), error.details() or "", rpc_status.from_call(error) or Status())

    return refused


@pytest.fixture(scope="session")
def fcm_content() -> credentials_pb2.CredentialContent:
    """A usable service account."""
    document = {
        "type": "service_account",
        "project_id": "demo",
        "client_email": "push@demo.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": _pem(rsa.generate_private_key(65537, 2048)),
    }
    return credentials_pb2.CredentialContent(private_key=base64.b64encode(json.dumps(document).encode()).decode())


@pytest.fixture(scope="session")
def apn_content() -> credentials_pb2.CredentialContent:
    """A usable .p8 key."""
    key = base64.b64encode(_pem(ec.generate_private_key(ec.SECP256R1())).encode()).decode()
    return credentials_pb2.CredentialContent(
        private_key=key, key_id="ABCDE12345", team_id="TEAM123456", topic="com.example.app"
    )


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


async def _make_careless(url: str) -> None:
    for setting in _CARELESS:
        await _execute(url, f"alter system set {setting}")
    await _execute(url, "select pg_reload_conf()")


async def _make_template(url: str, name: str) -> None:
    await _execute(url, f"create database {name}")
    database = await Database.open(_with_database(url, name), size=1)
    await migrate(database)
    await database.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10, command_timeout=60)
    try:
        await connection.execute(statement)
    finally:
        await connection.close(timeout=10)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Like asyncio.run, which would take away the loop that pytest-asyncio has set (3.11)."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work)
