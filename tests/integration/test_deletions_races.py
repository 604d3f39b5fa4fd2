"""Deletions that come at the same time as registrations end as if one had come after the other, and never deadlock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, types_pb2, users_pb2

from server.domain import ids
from server.domain.ids import Kind
from server.store.database import Connection, Database

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse

_Content = credentials_pb2.CredentialContent
_Device = device_registrations_pb2.RegisterDeviceRequest
_Batch = device_registrations_pb2.BatchRegisterDevicesRequest


@pytest.fixture(autouse=True)
async def no_deadlock(database_url: str) -> AsyncIterator[None]:
    """A deadlock is resolved after a second, by repeating one of the two: nobody would see it, but for its count.

    Sessions hand their counts in when they end. So this fixture comes before the one that opens them.
    """
    yield
    connection = await asyncpg.connect(database_url, timeout=10)
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    async with asyncio.timeout(10):
        while await connection.fetchval(others):
            pass
    count = await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    await connection.close()
    assert count == 0


def _device(token: str, user: str = "", **fields: Any) -> _Device:
    return _Device(token=token, user_id=user, provider=types_pb2.PROVIDER_FCM, **fields)


async def _delete_user(caller: Caller, user: str) -> Any:
    return await caller.users.DeleteUser(users_pb2.DeleteUserRequest(user_id=user))


async def _delete_credential(caller: Caller, name: str) -> Any:
    return await caller.credentials.DeleteCredential(credentials_pb2.DeleteCredentialRequest(credential_id=name))


async def _delete_registration(caller: Caller, name: str, **device: Any) -> Any:
    request = device_registrations_pb2.DeleteDeviceRegistrationRequest(device_registration_id=name, **device)
    return await caller.registrations.DeleteDeviceRegistration(request)


async def _all(calls: Sequence[Awaitable[Any]], *allowed: grpc.StatusCode) -> list[grpc.aio.AioRpcError]:
    """Make the calls at once, in any order; return the failures, which have to be among those allowed."""
    mixed = list(calls)
    random.shuffle(mixed)
    done = await asyncio.gather(*mixed, return_exceptions=True)
    failed = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, grpc.aio.AioRpcError) and each.code() in allowed for each in failed), failed
    return failed


async def _until_blocked(connection: Connection) -> None:
    """Return when another session waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval("select count(*) from pg_locks where not granted"):
            await connection.execute("select pg_stat_clear_snapshot()")


async def _lock_people(connection: Connection) -> None:
    """As a registration does that is about to give a user a device."""
    await connection.execute("select from users for no key update")


async def _give_once_blocked(connection: Connection, name: str) -> None:
    """Give the device ``new`` to the set when another session waits for its user."""
    await _until_blocked(connection)
    await connection.execute(
        "insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)"
        " select account_id, app_id, 1, sha256('new'), 'new', registration_id, user_id"
        " from device_registrations where registration_id = $1",
        ids.decode(Kind.DEVICE_REGISTRATION, name),
    )


async def test_a_deleted_user_has_no_device_whatever_was_registered_meanwhile(
    with_app: Caller, database: Database
) -> None:
    register, batch = with_app.registrations.RegisterDevice, with_app.registrations.BatchRegisterDevices
    for turn in range(8):
        goes, stays = [(await with_app.register(f"{turn}{name}")).user_id for name in ("goes", "stays")]
        moving = [f"{turn}m{n}" for n in range(8)]
        await batch(_Batch(registrations=[_device(token, (goes, stays)[n % 2]) for n, token in enumerate(moving)]))
        crossing = [(goes, stays)[(n + 1) % 2] for n in range(len(moving))]
        await _all(
            [
                _delete_user(with_app, goes),
                *(register(_device(token, user)) for token, user in zip(moving, crossing, strict=True)),
                *(register(_device(f"{turn}n{n}", goes)) for n in range(4)),
                batch(_Batch(registrations=[_device(token, goes) for token in reversed(moving)])),
            ],
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert (await with_app.user(goes)).HasField("deleted_at")
    async with database.connection() as connection:
        left = await connection.fetchval(
            "select count(*) from users left join devices using (account_id, user_id)"
            " left join device_registrations r using (account_id, user_id)"
            " where deleted_at is not null and (token is not null or r.registration_id is not null)"
        )
    assert left == 0


async def test_deletions_get_through_a_burst_of_registrations(with_app: Caller) -> None:
    for turn in range(6):
        made = await with_app.register(f"{turn}a")
        failed = await _all(
            [
                *(with_app.registrations.RegisterDevice(_device(f"{turn}t{n}", made.user_id)) for n in range(60)),
                _delete_user(with_app, made.user_id),
                _delete_registration(with_app, made.id),
            ],
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
        )
        assert all(each.details() != "there is no such user" for each in failed)
        assert (await with_app.user(made.user_id)).HasField("deleted_at")


async def test_a_user_deleted_many_times_at_once_is_deleted_once(with_app: Caller) -> None:
    user = (await with_app.register("a")).user_id
    failed = await _all([_delete_user(with_app, user) for _ in range(10)], grpc.StatusCode.NOT_FOUND)
    assert len(failed) == 9


async def test_a_device_that_joins_while_its_user_is_deleted_goes_too(with_app: Caller, database: Database) -> None:
    made = await with_app.register("a")
    async with database.transaction() as joining:
        await _lock_people(joining)
        deleting = asyncio.ensure_future(_delete_user(with_app, made.user_id))
        await _give_once_blocked(joining, made.id)
    await deleting
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from devices") == 0


async def test_a_set_that_another_device_joins_outlives_the_removal_of_its_last_one(
    with_app: Caller, database: Database
) -> None:
    made = await with_app.register("a")
    async with database.transaction() as joining:
        await _lock_people(joining)
        removing = asyncio.ensure_future(_delete_registration(with_app, made.id, provider=1, token="a"))
        await _give_once_blocked(joining, made.id)
    await removing
    assert [device.token for device in (await with_app.registration(made.id)).devices] == ["new"]


async def test_a_set_is_deleted_with_the_device_that_joins_meanwhile(
    with_app: Caller, refusal: Refuse, database: Database
) -> None:
    made = await with_app.register("a")
    async with database.transaction() as joining:
        await _lock_people(joining)
        deleting = asyncio.ensure_future(_delete_registration(with_app, made.id))
        await _give_once_blocked(joining, made.id)
    await deleting
    assert (await refusal(with_app.registration(made.id))).code is grpc.StatusCode.NOT_FOUND


async def test_a_deleted_app_leaves_no_device_whatever_was_registered_meanwhile(
    api: Caller, fcm_content: _Content, database: Database
) -> None:
    await api.upload(fcm_content, app_name="stays")
    register, batch = api.registrations.RegisterDevice, api.registrations.BatchRegisterDevices
    for _ in range(6):
        last = await api.upload(fcm_content, app_name="goes")
        sets = [await api.register(f"s{n}", app_name="goes") for n in range(6)]
        both = [_device(f"b{n}", app_name=app) for n in range(10) for app in ("goes", "stays")]
        await _all(
            [
                _delete_credential(api, last.id),
                *(register(_device(f"s{n}", sets[(n + 1) % 6].user_id, app_name="goes")) for n in range(6)),
                *(_delete_user(api, each.user_id) for each in sets[:2]),
                *(_delete_registration(api, each.id) for each in sets[2:4]),
                *(_delete_registration(api, each.id, provider=1, token=f"s{n}") for n, each in enumerate(sets)),
                batch(_Batch(registrations=both)),
            ],
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
        )
    async with database.connection() as connection:
        assert [row["name"] for row in await connection.fetch("select name from apps")] == ["stays"]
        rows = await connection.fetch("select distinct name from device_registrations left join apps using (app_id)")
        assert [row["name"] for row in rows] == ["stays"]
        assert (
            await connection.fetchval("select count(*) from devices where app_id not in (select app_id from apps)") == 0
        )


async def test_who_waited_for_the_default_app_gets_the_one_that_took_its_place(
    api: Caller, fcm_content: _Content, database: Database
) -> None:
    for name in ("old", "new"):
        await api.upload(fcm_content, app_name=name)
    async with database.connection() as observer, database.transaction() as deleting:
        await deleting.execute("delete from apps where name = 'old'")
        await deleting.execute("update apps set is_default = true")
        single = asyncio.ensure_future(api.register("a"))
        request = _Batch(registrations=[_device("b")])
        batch = asyncio.ensure_future(api.registrations.BatchRegisterDevices(request))
        async with asyncio.timeout(10):
            while await observer.fetchval("select count(*) from pg_locks where not granted") < 2:
                pass
    (result,) = (await batch).results
    assert (await single).app_name == (await api.registration(result.resource_id)).app_name == "new"


async def test_batches_at_once_with_the_same_devices_in_any_order(with_app: Caller, database: Database) -> None:
    users = [(await with_app.register(f"own{n}")).user_id for n in range(3)]
    tokens = [f"t{n}" for n in range(40)]

    def shuffled(user: str) -> _Batch:
        return _Batch(registrations=[_device(token, user) for token in random.sample(tokens, len(tokens))])

    for _ in range(3):
        await _all([with_app.registrations.BatchRegisterDevices(shuffled(user)) for user in [*users, ""] * 3])
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from devices where token like 't%'") == 40
        assert (
            await connection.fetchval(
                "select count(*) from devices d join device_registrations r using (account_id, registration_id)"
                " where d.user_id <> r.user_id"
            )
            == 0
        )
        assert (
            await connection.fetchval(
                "select count(*) from device_registrations r"
                " where not exists (select from devices d where d.registration_id = r.registration_id)"
            )
            == 0
        )


async def test_batches_at_once_with_the_same_new_devices_in_opposite_orders(
    with_app: Caller, database: Database
) -> None:
    for turn in range(4):
        tokens = [f"{turn}t{n}" for n in range(500)]
        batches = [_Batch(registrations=map(_device, order)) for order in (tokens, tokens[::-1])]
        await _all([with_app.registrations.BatchRegisterDevices(batch) for batch in batches * 3])
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from devices") == 2000
