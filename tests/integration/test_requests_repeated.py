"""Sends and uploads that carry a request id: one effect, and the first answer whatever has changed since."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from pharos.push.v1 import credentials_pb2, push_notifications_pb2_grpc, types_pb2
from pharos.push.v1 import push_notifications_pb2 as pb

from server.domain.credentials import ContentProblem, CredentialContent, CredentialType, InvalidCredentialContent
from server.providers.credentials.parsing import parse_credential
from server.store import idempotency
from server.store.database import Database
from tests.servers import api_server

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse

_REPLAYED = ("idempotent-replayed", "true")
# What a request with the key `key` does first; `before` has been one like it.
_CLAIM = (
    "insert into idempotency_keys (account_id, method, key, fingerprint)"
    " select account_id, method, 'key', fingerprint from idempotency_keys where key = 'before'"
)
_USER = types_pb2.Recipient(user_id="comms_user_01m815cb4hev1ssrsmmsa7gj7q")
_TOKEN = types_pb2.Recipient(token="t", provider=types_pb2.PROVIDER_FCM)


class _Parser:
    """Ours, until the certificates have expired."""

    expired = False

    def __call__(self, credential_type: CredentialType, content: CredentialContent) -> Any:
        if self.expired:
            raise InvalidCredentialContent([ContentProblem("content.certificate", "has expired")])
        return parse_credential(credential_type, content)


@pytest.fixture
def parser() -> _Parser:
    return _Parser()


@pytest.fixture
async def server_address(database: Database, parser: _Parser) -> AsyncIterator[str]:
    """A server with this parser."""
    server = api_server(database, parser)
    yield f"127.0.0.1:{await server.start()}"
    await server.stop(grace=0)


@pytest.fixture
def sends(with_app: Caller) -> push_notifications_pb2_grpc.PushNotificationServiceStub:
    return push_notifications_pb2_grpc.PushNotificationServiceStub(with_app.channel)


def _send(key: str = "key", **fields: Any) -> pb.SendPushNotificationRequest:
    return pb.SendPushNotificationRequest(**{"to": [_USER], "content": {"body": "Hi"}, "request_id": key, **fields})


async def _execute(database: Database, statement: str) -> None:
    async with database.connection() as connection:
        await connection.execute(statement)


async def _count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        found: int = await connection.fetchval(f"select count(*) from {table}")  # noqa: S608 - our own tables
    return found


@pytest.mark.parametrize(
    "change",
    ["update apps set is_default = false", "delete from credentials", "delete from credentials; delete from apps"],
)
async def test_a_repeated_send_gets_the_first_answer_whatever_has_changed(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub, database: Database, change: str
) -> None:
    first = await sends.SendPushNotification(_send(to=[_TOKEN]))
    await _execute(database, change)
    call = sends.SendPushNotification(_send(to=[_TOKEN]))
    assert await call == first
    assert _REPLAYED in list(await call.trailing_metadata())
    assert await _count(database, "operations") == 1


async def test_a_repeated_upload_gets_the_first_answer_when_the_certificate_has_expired(
    api: Caller, parser: _Parser, fcm_content: credentials_pb2.CredentialContent, refusal: Refuse
) -> None:
    request = credentials_pb2.CreateCredentialRequest(
        credential_type=credentials_pb2.CREDENTIAL_TYPE_FCM, content=fcm_content, request_id="key"
    )
    first = await api.credentials.CreateCredential(request)
    parser.expired = True
    assert await api.credentials.CreateCredential(request) == first
    request.request_id = "other"
    assert (await refusal(api.credentials.CreateCredential(request))).fields == {"content.certificate": "has expired"}


async def test_another_send_with_the_key_is_a_conflict_even_when_it_could_not_be_carried_out(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub, database: Database, refusal: Refuse
) -> None:
    await sends.SendPushNotification(_send())
    await _execute(database, "delete from credentials; delete from apps")
    refused = await refusal(sends.SendPushNotification(_send(badge=0)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "CONFLICT")


async def test_an_equal_send_may_be_written_in_another_way(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub, database: Database
) -> None:
    one = types_pb2.Recipient(user_id=_USER.user_id, variables={"a": "1", "b": "2"})
    first = await sends.SendPushNotification(_send(to=[one]))
    other = types_pb2.Recipient(user_id=_USER.user_id, variables_json=b'{"b": "2", "a": "1"}')
    again = await sends.SendPushNotification(_send(to=[other], priority=pb.PRIORITY_HIGH, sender={}))
    assert again == first
    assert await _count(database, "operations") == 1


@pytest.mark.parametrize("wrong", [{"badge": -1}, {"content": {"body": "{{"}}, {"sender": {"app_name": "nobodys"}}])
async def test_a_refused_send_consumes_no_key(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub,
    database: Database,
    refusal: Refuse,
    wrong: dict[str, Any],
) -> None:
    refused = await refusal(sends.SendPushNotification(_send(**wrong)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert await _count(database, "idempotency_keys") == 0
    assert (await sends.SendPushNotification(_send())).operation_id


async def test_those_who_have_waited_long_enough_are_told_when_to_come_back(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub,
    database: Database,
    refusal: Refuse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "_WAIT_SECONDS", 0.2)
    await sends.SendPushNotification(_send("before"))
    async with database.connection() as connection, connection.transaction():
        await connection.execute(_CLAIM)
        refused = await asyncio.gather(*(refusal(sends.SendPushNotification(_send())) for _ in range(20)))
    assert {(each.code, each.reason) for each in refused} == {(grpc.StatusCode.ABORTED, "CONFLICT")}
    assert all(each.detail(RetryInfo).retry_delay.ToMilliseconds() > 0 for each in refused)


async def test_those_who_wait_for_a_key_leave_connections_to_others(
    sends: push_notifications_pb2_grpc.PushNotificationServiceStub,
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "_WAIT_SECONDS", 30.0)
    await sends.SendPushNotification(_send("before"))
    outside = await Database.open(database_url, size=1, application="pharos-test")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(outside.close)
        connection = await stack.enter_async_context(outside.connection())
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(_CLAIM)
        waiting = [asyncio.ensure_future(sends.SendPushNotification(_send())) for _ in range(50)]
        await _until_one_waits(database)
        async with asyncio.timeout(5):
            for number in range(20):
                await sends.SendPushNotification(_send(f"other-{number}"))
        await transaction.rollback()
        done = await asyncio.gather(*waiting)
    assert len({each.operation_id for each in done}) == 1


async def _until_one_waits(database: Database) -> None:
    async with database.connection() as connection:
        while not await connection.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0)
