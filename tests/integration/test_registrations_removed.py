"""What callers see when they list and delete device registrations, or single devices of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, types_pb2

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_FCM = types_pb2.PROVIDER_FCM
_APN = types_pb2.PROVIDER_APN
_UNKNOWN_USER = "comms_pushnotificationuser_01m815cb4hev1ssrsmmsa7gj7q"
_UNKNOWN = "comms_device_registration_01m815cb4hev1ssrsmmsa7gj7q"


async def _list(caller: Caller, user: str, **fields: Any) -> list[device_registrations_pb2.DeviceRegistration]:
    request = device_registrations_pb2.ListDeviceRegistrationsRequest(user_id=user, **fields)
    return list((await caller.registrations.ListDeviceRegistrations(request)).device_registrations)


async def _delete(
    caller: Caller, name: str, **fields: Any
) -> device_registrations_pb2.DeleteDeviceRegistrationResponse:
    request = device_registrations_pb2.DeleteDeviceRegistrationRequest(device_registration_id=name, **fields)
    return await caller.registrations.DeleteDeviceRegistration(request)


async def test_a_users_registrations_are_listed_as_they_are_fetched(
    with_app: Caller, fcm_content: credentials_pb2.CredentialContent
) -> None:
    await with_app.upload(fcm_content, app_name="other")
    user = (await with_app.register("a")).user_id
    here = await with_app.register("c0", user_id=user, provider=_APN)
    there = await with_app.register("b", user_id=user, app_name="other")
    await with_app.register("someone else's")
    assert await _list(with_app, user) == [there, here]
    assert await _list(with_app, user, app_name="default") == [here]
    assert await _list(with_app, user, app_name="nowhere") == []


async def test_in_page_tokens_both_names_of_a_user_are_the_same(
    with_app: Caller, fcm_content: credentials_pb2.CredentialContent
) -> None:
    await with_app.upload(fcm_content, app_name="other")
    first = await with_app.register("a")
    await with_app.register("b", user_id=first.user_id, app_name="other")
    request = device_registrations_pb2.ListDeviceRegistrationsRequest(user_id=first.user_id, page_size=1)
    token = (await with_app.registrations.ListDeviceRegistrations(request)).pagination.next
    alias = first.user_id.replace("pushnotificationuser", "user")
    assert await _list(with_app, alias, page_token=token) == [first]


async def test_the_list_of_an_unknown_user_is_refused(with_app: Caller, refusal: Refuse) -> None:
    for user in (_UNKNOWN_USER, _UNKNOWN_USER + "0", ""):
        refused = await refusal(_list(with_app, user))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refused.fields) == ["user_id"]


async def test_a_registration_is_deleted_with_its_devices_and_the_user_stays(with_app: Caller, refusal: Refuse) -> None:
    made = await with_app.register("a")
    await with_app.register("b", user_id=made.user_id)
    before = await with_app.user(made.user_id)
    done = await _delete(with_app, made.id)
    assert done.resource_id == made.id
    assert done.resource_location == f"/v1/PushNotifications/DeviceRegistrations/{made.id}"
    assert (await refusal(with_app.registration(made.id))).code is grpc.StatusCode.NOT_FOUND
    after = await with_app.user(made.user_id)
    assert after.updated_at.ToDatetime() > before.updated_at.ToDatetime()
    assert not after.HasField("deleted_at")
    again = await with_app.register("a", user_id=made.user_id)
    assert again.id != made.id
    assert [device.token for device in again.devices] == ["a"]


async def test_one_device_is_deleted_and_the_others_stay(with_app: Caller) -> None:
    user = (await with_app.register("abcd")).user_id
    made = await with_app.register("abcd", user_id=user, provider=_APN)
    await _delete(with_app, made.id, provider=_APN, token="ABCD")
    left = await with_app.registration(made.id)
    assert [(device.provider, device.token) for device in left.devices] == [(_FCM, "abcd")]


async def test_with_the_last_device_the_registration_is_deleted_and_the_user_stays(
    with_app: Caller, refusal: Refuse
) -> None:
    made = await with_app.register("a")
    await _delete(with_app, made.id, provider=_FCM, token="a")
    assert (await refusal(with_app.registration(made.id))).code is grpc.StatusCode.NOT_FOUND
    assert not (await with_app.user(made.user_id)).HasField("deleted_at")


async def test_a_device_that_is_not_in_the_set_is_not_found(with_app: Caller, refusal: Refuse) -> None:
    made, other = await with_app.register("aa"), await with_app.register("bb")
    for provider, token in ((_FCM, "bb"), (_APN, "aa"), (_FCM, "AA"), (_FCM, "c")):
        refused = await refusal(_delete(with_app, made.id, provider=provider, token=token))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert await with_app.registration(made.id) == made
    assert await with_app.registration(other.id) == other


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"provider": _FCM}, {"token": "is required with a provider"}),
        ({"token": "a"}, {"provider": "is required with a token"}),
        ({"provider": 7, "token": "a"}, {"provider": "is unknown"}),
        ({"provider": _APN, "token": "xyz"}, {"token": "must be hexadecimal for APN"}),
    ],
)
async def test_half_a_device_deletes_nothing(
    with_app: Caller, refusal: Refuse, fields: dict[str, object], wrong: dict[str, str]
) -> None:
    made = await with_app.register("a")
    refused = await refusal(_delete(with_app, made.id, **fields))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == wrong
    assert await with_app.registration(made.id) == made


async def test_another_accounts_registration_is_not_deleted(
    with_app: Caller, new_caller: NewCaller, refusal: Refuse
) -> None:
    made = await with_app.register("a")
    stranger = await new_caller()
    for fields in ({}, {"provider": _FCM, "token": "a"}):
        refused = await refusal(_delete(stranger, made.id, **fields))
        unknown = await refusal(_delete(stranger, _UNKNOWN, **fields))
        assert refused.code is grpc.StatusCode.NOT_FOUND
        assert (refused.message, refused.reason) == (unknown.message, unknown.reason)
    assert await with_app.registration(made.id) == made
