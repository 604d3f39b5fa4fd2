"""Registrations that come at the same time end as if they had come one after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest
from pharos.push.v1 import device_registrations_pb2, types_pb2

from server.domain import ids
from server.domain.ids import Kind
from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse

_JOBS = Statements("jobs")


def _request(token: str, user: str = "", **fields: Any) -> device_registrations_pb2.RegisterDeviceRequest:
    return device_registrations_pb2.RegisterDeviceRequest(
        token=token, provider=types_pb2.PROVIDER_FCM, user_id=user, **fields
    )


async def _counts(database: Database) -> tuple[int, int, int]:
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "select (select count(*) from users), (select count(*) from device_registrations),"
            " (select count(*) from devices)"
        )
    return tuple(row)


async def _until_blocked(connection: Connection) -> None:
    """Return when another session waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval("select count(*) from pg_locks where not granted"):
            await connection.execute("select pg_stat_clear_snapshot()")


async def test_one_token_registered_50_times_at_once_for_one_user(with_app: Caller, database: Database) -> None:
    user = (await with_app.register("first")).user_id
    done = await asyncio.gather(*(with_app.registrations.RegisterDevice(_request("a", user)) for _ in range(50)))
    assert len({each.resource_id for each in done}) == 1
    assert await _counts(database) == (1, 1, 2)


async def test_one_token_registered_50_times_at_once_for_new_users(with_app: Caller, database: Database) -> None:
    done = await asyncio.gather(*(with_app.registrations.RegisterDevice(_request("a")) for _ in range(50)))
    assert len({each.resource_id for each in done}) == 50
    assert await _counts(database) == (50, 1, 1)


async def test_one_token_registered_at_once_for_two_users_ends_with_one(with_app: Caller, database: Database) -> None:
    users = [(await with_app.register(token)).user_id for token in ("first", "second")]
    await asyncio.gather(
        *(with_app.registrations.RegisterDevice(_request("a", user)) for _ in range(10) for user in users)
    )
    assert await _counts(database) == (2, 2, 3)


async def test_devices_of_one_user_registered_at_once_share_one_set(with_app: Caller, database: Database) -> None:
    user = (await with_app.register("0")).user_id
    await asyncio.gather(*(with_app.registrations.RegisterDevice(_request(str(n), user)) for n in range(1, 30)))
    assert await _counts(database) == (1, 1, 30)


async def test_only_50_of_60_devices_registered_at_once_get_in(with_app: Caller, database: Database) -> None:
    user = (await with_app.register("0")).user_id
    done = await asyncio.gather(
        *(with_app.registrations.RegisterDevice(_request(str(n), user)) for n in range(1, 61)), return_exceptions=True
    )
    refused = [each for each in done if isinstance(each, grpc.aio.AioRpcError)]
    assert len(refused) == 11
    assert {each.code() for each in refused} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert await _counts(database) == (1, 1, 50)


async def test_a_user_who_is_deleted_meanwhile_gets_no_device(
    with_app: Caller, refusal: Refuse, database: Database
) -> None:
    user = (await with_app.register("a")).user_id
    await with_app.register("a")  # moves to a new user
    async with database.connection() as deleting, deleting.transaction():
        await deleting.execute("update users set deleted_at = now() where user_id = $1", ids.decode(Kind.USER, user))
        joining = asyncio.ensure_future(with_app.registrations.RegisterDevice(_request("b", user)))
        async with database.connection() as observer:
            await _until_blocked(observer)
    assert (await refusal(joining)).fields == {"user_id": "the user was deleted"}
    assert await _counts(database) == (2, 1, 1)


async def test_tokens_that_cross_between_users_do_not_deadlock(
    with_app: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [(await with_app.register(f"own{n}")).user_id for n in range(3)]
    tokens = [f"t{n}" for n in range(6)]
    for token, user in zip(tokens, users * 2, strict=True):
        await with_app.register(token, user_id=user)
    monkeypatch.setattr(transactions, "_TRIES", 1)  # a deadlock would be retried and not be seen
    for shift in range(1, 8):
        requests = [_request(token, users[(n + shift) % 3]) for n, token in enumerate(tokens)]
        await asyncio.gather(*map(with_app.registrations.RegisterDevice, requests))
    assert await _counts(database) == (3, 3, 9)


async def test_a_set_whose_last_device_dies_while_another_joins_keeps_the_new_one(
    with_app: Caller, database: Database
) -> None:
    first = await with_app.register("dead")
    async with database.connection() as worker, worker.transaction():
        row = await worker.fetchrow("delete from devices returning account_id, registration_id")
        found: tuple[UUID, list[UUID]] = (row["account_id"], [row["registration_id"]])
        await worker.execute(_JOBS.lock_registrations, *found)
        joining = asyncio.ensure_future(with_app.registrations.RegisterDevice(_request("new", first.user_id)))
        async with database.connection() as observer:
            await _until_blocked(observer)
        await worker.execute(_JOBS.remove_empty_registrations, *found)
    joined = await with_app.registration((await joining).resource_id)
    assert [device.token for device in joined.devices] == ["new"]
    assert joined.user_id == first.user_id


async def test_a_set_whose_devices_die_and_move_at_once_is_deleted(
    with_app: Caller, refusal: Refuse, database: Database
) -> None:
    old = await with_app.register("moves")
    await with_app.register("dies", user_id=old.user_id)
    async with database.connection() as worker, worker.transaction():
        row = await worker.fetchrow("delete from devices where token = 'dies' returning account_id, registration_id")
        found: tuple[UUID, list[UUID]] = (row["account_id"], [row["registration_id"]])
        await worker.execute(_JOBS.lock_registrations, *found)
        moving = asyncio.ensure_future(with_app.registrations.RegisterDevice(_request("moves")))
        async with database.connection() as observer:
            await _until_blocked(observer)
        await worker.execute(_JOBS.remove_empty_registrations, *found)
    await moving
    assert (await refusal(with_app.registration(old.id))).code is grpc.StatusCode.NOT_FOUND
