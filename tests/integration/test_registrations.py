"""What callers see of device registrations: whose devices they are, how tokens move, and where the limits lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, types_pb2

from server.domain import ids
from server.domain.ids import Kind
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_APN = types_pb2.PROVIDER_APN
_UNKNOWN_USER = "comms_pushnotificationuser_01m815cb4hev1ssrsmmsa7gj7q"


def _tokens(registration: device_registrations_pb2.DeviceRegistration) -> list[str]:
    return [device.token for device in registration.devices]


async def test_a_device_without_a_user_makes_one(with_app: Caller) -> None:
    made = await with_app.register("a")
    assert made.id.startswith("comms_device_registration_")
    assert made.app_name == "default"
    assert [(device.provider, device.token) for device in made.devices] == [(types_pb2.PROVIDER_FCM, "a")]
    assert not made.tags
    assert (await with_app.user(made.user_id)).id == made.user_id


async def test_a_registration_links_to_its_user_and_app(with_app: Caller) -> None:
    made = await with_app.register("a")
    assert [(link.id, link.name, link.uri) for link in made.related] == [
        (made.user_id, "user", f"/Users/{made.user_id}"),
        ("default", "push_notification_app", "/PushNotifications/Apps/default"),
    ]


async def test_the_answer_says_where_the_registration_is(with_app: Caller) -> None:
    request = device_registrations_pb2.RegisterDeviceRequest(token="a", provider=types_pb2.PROVIDER_FCM)
    done = await with_app.registrations.RegisterDevice(request)
    assert done.resource_location == f"/v1/PushNotifications/DeviceRegistrations/{done.resource_id}"


async def test_a_users_devices_are_one_set_oldest_first(with_app: Caller) -> None:
    first = await with_app.register("a")
    await with_app.register("b", user_id=first.user_id, provider=types_pb2.PROVIDER_FCM)
    last = await with_app.register("c0", user_id=first.user_id, provider=_APN)
    assert last.id == first.id
    assert _tokens(last) == ["a", "b", "c0"]


async def test_the_alias_of_a_user_id_is_the_same_user(with_app: Caller) -> None:
    first = await with_app.register("a")
    alias = first.user_id.replace("pushnotificationuser", "user")
    assert (await with_app.register("b", user_id=alias)).id == first.id


async def test_each_app_has_its_own_set_and_its_own_tokens(
    with_app: Caller, fcm_content: credentials_pb2.CredentialContent
) -> None:
    await with_app.upload(fcm_content, app_name="other")
    here = await with_app.register("a")
    there = await with_app.register("a", user_id=here.user_id, app_name="other")
    assert (there.app_name, there.user_id) == ("other", here.user_id)
    assert there.id != here.id
    assert _tokens(await with_app.registration(here.id)) == ["a"]


async def test_an_account_without_an_app_can_register_nothing(api: Caller, refusal: Refuse) -> None:
    refused = await refusal(api.register("a"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "app_name" in refused.fields


async def test_an_unknown_app_is_refused(with_app: Caller, refusal: Refuse) -> None:
    refused = await refusal(with_app.register("a", app_name="nowhere"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"app_name": "there is no such app"}


async def test_an_unknown_user_is_refused(with_app: Caller, refusal: Refuse) -> None:
    refused = await refusal(with_app.register("a", user_id=_UNKNOWN_USER))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"user_id": "there is no such user"}


async def test_a_user_id_that_can_name_nothing_is_refused(with_app: Caller, refusal: Refuse) -> None:
    refused = await refusal(with_app.register("a", user_id=_UNKNOWN_USER + "0"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["user_id"]


async def test_another_accounts_user_is_unknown(
    with_app: Caller, new_caller: NewCaller, refusal: Refuse, fcm_content: credentials_pb2.CredentialContent
) -> None:
    other = await new_caller()
    await other.upload(fcm_content)
    theirs = await other.register("a")
    refused = await refusal(with_app.register("b", user_id=theirs.user_id))
    assert refused.fields == {"user_id": "there is no such user"}
    assert (await with_app.register("a")).id != theirs.id
    assert _tokens(await other.registration(theirs.id)) == ["a"]


async def test_a_deleted_user_is_refused(with_app: Caller, refusal: Refuse, database: Database) -> None:
    made = await with_app.register("a")
    async with database.connection() as connection:
        user = ids.decode(Kind.USER, made.user_id)
        await connection.execute("update users set deleted_at = now() where user_id = $1", user)
    refused = await refusal(with_app.register("b", user_id=made.user_id))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"user_id": "the user was deleted"}


async def test_the_same_device_again_changes_nothing_but_its_time(with_app: Caller, database: Database) -> None:
    first = await with_app.register("a")
    async with database.connection() as connection:
        await connection.execute("update devices set registered_at = now() - interval '1 day'")
    assert await with_app.register("a", user_id=first.user_id) == first
    async with database.connection() as connection:
        assert await connection.fetchval("select now() - registered_at < interval '1 minute' from devices")


async def test_a_token_moves_to_the_user_who_registers_it(with_app: Caller, refusal: Refuse) -> None:
    old = await with_app.register("a")
    new = await with_app.register("b")
    moved = await with_app.register("a", user_id=new.user_id)
    assert _tokens(moved) == ["b", "a"]
    assert (await refusal(with_app.registration(old.id))).code is grpc.StatusCode.NOT_FOUND
    assert (await with_app.user(old.user_id)).id == old.user_id


async def test_a_set_keeps_its_other_devices_when_one_moves(with_app: Caller) -> None:
    old = await with_app.register("a")
    await with_app.register("b", user_id=old.user_id)
    moved = await with_app.register("a")
    assert moved.user_id != old.user_id
    assert _tokens(await with_app.registration(old.id)) == ["b"]


async def test_without_a_user_the_token_moves_to_a_new_one(with_app: Caller, refusal: Refuse) -> None:
    first = await with_app.register("a")
    second = await with_app.register("a")
    assert second.user_id != first.user_id
    assert _tokens(second) == ["a"]
    assert (await refusal(with_app.registration(first.id))).code is grpc.StatusCode.NOT_FOUND


async def test_users_change_when_their_devices_do(with_app: Caller) -> None:
    old = await with_app.register("a")
    before = await with_app.user(old.user_id)
    await with_app.register("a")
    after = await with_app.user(old.user_id)
    assert after.updated_at.ToDatetime() > before.updated_at.ToDatetime()
    assert after.created_at == before.created_at


async def test_the_51st_device_is_refused_and_changes_nothing(with_app: Caller, refusal: Refuse) -> None:
    user = (await with_app.register("0")).user_id
    for number in range(1, 50):
        full = await with_app.register(str(number), user_id=user)
    elsewhere = await with_app.register("elsewhere")
    for token in ("new", "elsewhere"):
        refused = await refusal(with_app.register(token, user_id=user))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "50" in refused.fields["token"]
    assert await with_app.registration(full.id) == full
    assert await with_app.registration(elsewhere.id) == elsewhere
    assert await with_app.register("49", user_id=user) == full


async def test_apns_tokens_are_kept_in_lower_case(with_app: Caller) -> None:
    made = await with_app.register("ABcd01", provider=_APN)
    assert _tokens(made) == ["abcd01"]
    assert await with_app.register("abCD01", provider=_APN, user_id=made.user_id) == made


async def test_apns_tokens_are_hexadecimal(with_app: Caller, refusal: Refuse) -> None:
    for token in ("xyz", "ab cd", "<abcd>", "\u0661"):
        refused = await refusal(with_app.register(token, provider=_APN))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.fields == {"token": "must be hexadecimal for APN"}


async def test_fcm_tokens_are_kept_as_they_are(with_app: Caller) -> None:
    token = "dE:APA91b_" + "x" * 4086
    assert _tokens(await with_app.register(token)) == [token]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({}, {"token": "is required", "provider": "is required"}),
        ({"token": "a", "provider": 7}, {"provider": "is unknown"}),
        ({"token": "a\0b", "provider": 1}, {"token": "must not contain U+0000"}),
    ],
)
async def test_malformed_requests_name_every_field(
    with_app: Caller, refusal: Refuse, request_: dict[str, object], fields: dict[str, str]
) -> None:
    request = device_registrations_pb2.RegisterDeviceRequest(**request_)
    refused = await refusal(with_app.registrations.RegisterDevice(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == fields


async def test_another_accounts_registration_is_not_found(
    with_app: Caller, new_caller: NewCaller, refusal: Refuse
) -> None:
    made = await with_app.register("a")
    stranger = await new_caller()
    refused = await refusal(stranger.registration(made.id))
    unknown = await refusal(stranger.registration(made.id[:-4] + "0000"))
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert (refused.message, refused.reason) == (unknown.message, unknown.reason) == (refused.message, "NOT_FOUND")
