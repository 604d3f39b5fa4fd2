"""What callers see of devices that are registered in batches: what one after the other would have come to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, types_pb2, users_pb2

from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_FCM = types_pb2.PROVIDER_FCM
_APN = types_pb2.PROVIDER_APN
_UNKNOWN_USER = "comms_pushnotificationuser_01m815cb4hev1ssrsmmsa7gj7q"
_REPLAYED = ("idempotent-replayed", "true")
_Result = device_registrations_pb2.BatchRegisterDevicesResult
_Device = device_registrations_pb2.RegisterDeviceRequest


def _device(token: str, user: str = "", **fields: Any) -> _Device:
    return _Device(token=token, user_id=user, **{"provider": _FCM, **fields})


def _request(devices: Sequence[_Device], key: str = "") -> device_registrations_pb2.BatchRegisterDevicesRequest:
    return device_registrations_pb2.BatchRegisterDevicesRequest(registrations=devices, request_id=key)


async def _register(caller: Caller, devices: Sequence[_Device], key: str = "") -> list[_Result]:
    return list((await caller.registrations.BatchRegisterDevices(_request(devices, key))).results)


async def _tokens(caller: Caller, name: str) -> list[str]:
    return [device.token for device in (await caller.registration(name)).devices]


async def test_each_device_has_its_result_in_order(with_app: Caller) -> None:
    results = await _register(with_app, [_device("a"), _device("AB", provider=_APN), _device("c")])
    assert [each.resource_location for each in results] == [
        f"/v1/PushNotifications/DeviceRegistrations/{each.resource_id}" for each in results
    ]
    made = [await with_app.registration(each.resource_id) for each in results]
    assert [registration.devices[0].token for registration in made] == ["a", "ab", "c"]
    assert len({registration.user_id for registration in made}) == 3


async def test_a_thousand_devices_of_known_and_new_users_are_registered(with_app: Caller) -> None:
    users = [(await with_app.register(f"first{n}")).user_id for n in range(20)]
    devices = [_device(f"t{n}", users[n // 49] if n < 980 else "") for n in range(1000)]
    results = await _register(with_app, devices)
    assert not any(each.error for each in results)
    assert len({each.resource_id for each in results}) == 40
    assert await _tokens(with_app, results[49].resource_id) == ["first1", *(f"t{n}" for n in range(49, 98))]
    listed = await with_app.users.ListUsers(users_pb2.ListUsersRequest())
    assert len(listed.users) == 40


async def test_a_device_that_can_not_be_registered_keeps_no_other_from_it(with_app: Caller) -> None:
    full = (await with_app.register("0")).user_id
    await _register(with_app, [_device(str(n), full) for n in range(1, 49)])
    gone = (await with_app.register("gone")).user_id
    await with_app.users.DeleteUser(users_pb2.DeleteUserRequest(user_id=gone))
    results = await _register(
        with_app,
        [
            _device("a", _UNKNOWN_USER),
            _device("b", app_name="nowhere"),
            _device("xyz", provider=_APN),
            _device("c", _UNKNOWN_USER + "0"),
            _device("d", gone),
            _device("e", full),
            _device("f", full),
            _device("g"),
        ],
    )
    assert [(each.field, each.error) for each in results] == [
        ("registrations[0].user_id", "there is no such user"),
        ("registrations[1].app_name", "there is no such app"),
        ("registrations[2].token", "must be hexadecimal for APN"),
        ("registrations[3].user_id", "names nothing that exists"),
        ("registrations[4].user_id", "the user was deleted"),
        ("", ""),
        ("registrations[6].token", "the user has 50 devices under this app, the most there can be"),
        ("", ""),
    ]
    assert [bool(each.resource_id) for each in results] == [not each.error for each in results]
    assert [bool(each.resource_location) for each in results] == [not each.error for each in results]
    assert (await _tokens(with_app, results[5].resource_id))[-1] == "e"
    assert await _tokens(with_app, results[7].resource_id) == ["g"]


async def test_an_account_without_an_app_registers_none(api: Caller) -> None:
    assert [each.error for each in await _register(api, [_device("a")])] == ["there is no app"]


async def test_another_accounts_users_are_unknown(
    with_app: Caller, new_caller: NewCaller, fcm_content: credentials_pb2.CredentialContent
) -> None:
    other = await new_caller()
    await other.upload(fcm_content)
    theirs = await other.register("a")
    results = await _register(with_app, [_device("b", theirs.user_id), _device("a")])
    assert [each.error for each in results] == ["there is no such user", ""]
    assert await other.registration(theirs.id) == theirs


@pytest.mark.parametrize(
    ("devices", "field"),
    [
        ([], "registrations"),
        ([_device("a")] * 1001, "registrations"),
        ([_device("a"), _device("")], "registrations[1].token"),
        ([_device("a"), _device("b", "me")], "registrations[1].user_id"),
        ([_device("a"), _device("b", request_id="key")], "registrations[1].request_id"),
    ],
)
async def test_a_malformed_batch_is_refused_as_a_whole(
    with_app: Caller, refusal: Refuse, devices: Sequence[_Device], field: str
) -> None:
    refused = await refusal(_register(with_app, devices))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == [field]
    assert not (await with_app.users.ListUsers(users_pb2.ListUsersRequest())).users


async def test_a_repeated_batch_gets_the_first_answer_with_its_errors(with_app: Caller, refusal: Refuse) -> None:
    request = _request([_device("a"), _device("b", app_name="later"), _device("xyz", provider=_APN)], "key")
    first_call = with_app.registrations.BatchRegisterDevices(request)
    first = await first_call
    await with_app.register("a")  # moves on
    again_call = with_app.registrations.BatchRegisterDevices(request)
    assert await again_call == first
    assert [bool(each.error) for each in first.results] == [False, True, True]
    assert _REPLAYED in list(await again_call.trailing_metadata())
    assert _REPLAYED not in list(await first_call.trailing_metadata())
    assert (await refusal(_register(with_app, [_device("a")], "key"))).reason == "CONFLICT"


async def test_equal_batches_at_once_have_one_effect(with_app: Caller, database: Database) -> None:
    devices = [_device(f"t{n}") for n in range(20)]
    done = await asyncio.gather(*(_register(with_app, devices, "key") for _ in range(10)))
    assert all(each == done[0] for each in done)
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from users") == 20


async def test_a_key_of_a_batch_is_not_one_of_a_single_device(with_app: Caller) -> None:
    single = await with_app.registrations.RegisterDevice(_device("a", request_id="key"))
    (batch,) = await _register(with_app, [_device("b")], "key")
    assert batch.resource_id != single.resource_id


async def test_the_same_device_again_is_refreshed_in_place(with_app: Caller, database: Database) -> None:
    made = await with_app.register("a")
    async with database.connection() as connection:
        await connection.execute("update devices set registered_at = now() - interval '1 day'")
    results = await _register(with_app, [_device("a", made.user_id), _device("a", made.user_id)])
    assert [each.resource_id for each in results] == [made.id, made.id]
    async with database.connection() as connection:
        assert await connection.fetchval("select now() - registered_at < interval '1 minute' from devices")


async def test_a_batch_comes_to_what_one_after_the_other_comes_to(
    new_caller: NewCaller, fcm_content: credentials_pb2.CredentialContent
) -> None:
    """Devices that move to and fro inside the batch, in two apps, with sets that are nearly full."""
    dice = random.Random(7)  # noqa: S311 # the same steps each time
    for _ in range(3):
        one_by_one, at_once = await new_caller(), await new_caller()
        pictures = []
        steps = [(dice.randrange(60), dice.choice([0, 1, 2, 3, None]), dice.random() < 0.1) for _ in range(300)]
        for caller, batched in ((one_by_one, False), (at_once, True)):
            for app in ("default", "other"):
                await caller.upload(fcm_content, app_name=app)
            users = [(await caller.register(f"own{n}")).user_id for n in range(4)]
            await _register(caller, [_device(f"fill{n}", users[0]) for n in range(40)])
            devices = [
                _device(f"t{token}", "" if user is None else users[user], app_name="other" if other else "default")
                for token, user, other in steps
            ]
            errors = await (_register(caller, devices) if batched else _one_by_one(caller, devices))
            pictures.append(([(each.field, each.error) for each in errors], await _picture(caller, users)))
        assert pictures[0] == pictures[1]
        assert any(error for _, error in pictures[0][0])


async def _one_by_one(caller: Caller, devices: Sequence[_Device]) -> list[_Result]:
    results = []
    for index, device in enumerate(devices):
        try:
            done = await caller.registrations.RegisterDevice(device)
            results.append(_Result(resource_id=done.resource_id))
        except grpc.aio.AioRpcError as error:
            field, _, text = (error.details() or "").partition(": ")
            results.append(_Result(error=text, field=f"registrations[{index}].{field}"))
    return results


async def _picture(caller: Caller, users: Sequence[str]) -> tuple[int, list[tuple[int, str, set[str]]]]:
    """How many users there are, and which devices each of the known ones has under each app."""
    sets = []
    for number, user in enumerate(users):
        request = device_registrations_pb2.ListDeviceRegistrationsRequest(user_id=user)
        found = (await caller.registrations.ListDeviceRegistrations(request)).device_registrations
        sets += [(number, each.app_name, {device.token for device in each.devices}) for each in found]
    everyone = (await caller.users.ListUsers(users_pb2.ListUsersRequest(page_size=1000))).users
    return len(everyone), sorted(sets, key=lambda each: each[:2])


async def test_a_set_that_the_batch_empties_is_deleted(with_app: Caller, refusal: Refuse, database: Database) -> None:
    old = await with_app.register("a")
    (result,) = await _register(with_app, [_device("a")])
    assert (await refusal(with_app.registration(old.id))).code is grpc.StatusCode.NOT_FOUND
    assert await _tokens(with_app, result.resource_id) == ["a"]
    await _register(with_app, [_device("b"), _device("b")])  # the first one's user has nothing left either
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from device_registrations") == 2
        assert await connection.fetchval("select count(*) from users") == 4
