"""A registration that carries a request id has one effect, however often it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from pharos.push.v1 import device_registrations_pb2, types_pb2

from server.store import idempotency
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_REPLAYED = ("idempotent-replayed", "true")


def _request(token: str = "a", key: str = "key") -> device_registrations_pb2.RegisterDeviceRequest:
    return device_registrations_pb2.RegisterDeviceRequest(token=token, provider=types_pb2.PROVIDER_FCM, request_id=key)


async def test_a_repeated_request_gets_the_first_answer(with_app: Caller) -> None:
    first_call = with_app.registrations.RegisterDevice(_request())
    first = await first_call
    again_call = with_app.registrations.RegisterDevice(_request())
    assert await again_call == first
    assert _REPLAYED in list(await again_call.trailing_metadata())
    assert _REPLAYED not in list(await first_call.trailing_metadata())


async def test_the_same_key_with_another_request_is_a_conflict(with_app: Caller, refusal: Refuse) -> None:
    first = await with_app.registrations.RegisterDevice(_request("a"))
    refused = await refusal(with_app.registrations.RegisterDevice(_request("b")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "CONFLICT")
    assert [device.token for device in (await with_app.registration(first.resource_id)).devices] == ["a"]


async def test_equal_requests_at_once_have_one_effect(with_app: Caller, database: Database) -> None:
    done = await asyncio.gather(*(with_app.registrations.RegisterDevice(_request()) for _ in range(30)))
    assert len({each.resource_id for each in done}) == 1
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from users") == 1


async def test_a_refused_request_consumes_no_key(api: Caller, refusal: Refuse, fcm_content: object) -> None:
    refused = await refusal(api.registrations.RegisterDevice(_request()))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    await api.upload(fcm_content)
    assert (await api.registrations.RegisterDevice(_request("b"))).resource_id


async def test_a_key_is_the_accounts_own(with_app: Caller, new_caller: NewCaller, fcm_content: object) -> None:
    other = await new_caller()
    await other.upload(fcm_content)
    mine = await with_app.registrations.RegisterDevice(_request())
    theirs = await other.registrations.RegisterDevice(_request("b"))
    assert mine.resource_id != theirs.resource_id


async def test_after_a_day_the_key_is_free(with_app: Caller, database: Database) -> None:
    first = await with_app.registrations.RegisterDevice(_request())
    async with database.connection() as connection:
        await connection.execute("update idempotency_keys set created_at = now() - interval '24 hours 1 second'")
    second = await with_app.registrations.RegisterDevice(_request())
    assert second.resource_id != first.resource_id
    assert await with_app.registrations.RegisterDevice(_request()) == second


async def test_one_that_outlasts_the_wait_is_a_conflict_to_be_retried(
    with_app: Caller, refusal: Refuse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_WAIT_SECONDS", 0.2)
    await with_app.registrations.RegisterDevice(_request(key="before"))
    async with database.connection() as connection, connection.transaction():
        await connection.execute(
            "insert into idempotency_keys (account_id, method, key, fingerprint)"
            " select account_id, method, 'key', fingerprint from idempotency_keys"
        )
        refused = await refusal(with_app.registrations.RegisterDevice(_request()))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "CONFLICT")
    assert refused.detail(RetryInfo).retry_delay.ToMilliseconds() > 0
