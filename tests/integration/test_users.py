"""What callers see of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, users_pb2

from server.domain import ids
from server.domain.ids import Kind
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_UNKNOWN = "comms_pushnotificationuser_01m815cb4hev1ssrsmmsa7gj7q"


async def test_a_user_is_fetched(with_app: Caller) -> None:
    made = await with_app.register("a")
    user = await with_app.user(made.user_id)
    assert user.id == made.user_id
    assert user.created_at.seconds > 0
    assert user.HasField("updated_at")
    assert not user.HasField("deleted_at")


async def test_the_alias_of_a_user_id_names_the_same_user(with_app: Caller) -> None:
    made = await with_app.register("a")
    assert (await with_app.user(made.user_id.replace("pushnotificationuser", "user"))).id == made.user_id


async def test_a_deleted_user_is_still_fetched_and_no_longer_listed(with_app: Caller) -> None:
    stays, goes = (await with_app.register("a")).user_id, (await with_app.register("b")).user_id
    before = await with_app.user(goes)
    done = await with_app.users.DeleteUser(users_pb2.DeleteUserRequest(user_id=goes))
    assert (done.resource_id, done.resource_location) == (goes, f"/v1/PushNotifications/Users/{goes}")
    after = await with_app.user(goes)
    assert after.deleted_at == after.updated_at
    assert after.deleted_at.ToDatetime() > before.updated_at.ToDatetime()
    assert after.created_at == before.created_at
    assert [user.id for user in (await with_app.users.ListUsers(users_pb2.ListUsersRequest())).users] == [stays]


async def test_deleting_a_user_removes_its_devices_under_every_app(
    with_app: Caller, refusal: Refuse, database: Database, fcm_content: credentials_pb2.CredentialContent
) -> None:
    await with_app.upload(fcm_content, app_name="other")
    user, others = (await with_app.register("a")).user_id, await with_app.register("c")
    gone = [await with_app.register("b", user_id=user), await with_app.register("a", user_id=user, app_name="other")]
    await _delete(with_app, user)
    for registration in gone:
        assert (await refusal(with_app.registration(registration.id))).code is grpc.StatusCode.NOT_FOUND
    request = device_registrations_pb2.ListDeviceRegistrationsRequest(user_id=user)
    assert not (await with_app.registrations.ListDeviceRegistrations(request)).device_registrations
    assert await with_app.registration(others.id) == others
    async with database.connection() as connection:
        assert [row["token"] for row in await connection.fetch("select token from devices")] == ["c"]


async def test_a_deleted_user_can_not_be_registered_to_but_its_token_can(with_app: Caller, refusal: Refuse) -> None:
    user = (await with_app.register("a")).user_id
    await _delete(with_app, user)
    refused = await refusal(with_app.register("a", user_id=user))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"user_id": "the user was deleted"}
    assert (await with_app.register("a")).user_id != user


async def test_a_second_delete_is_not_found(with_app: Caller, refusal: Refuse) -> None:
    user = (await with_app.register("a")).user_id
    await _delete(with_app, user.replace("pushnotificationuser", "user"))
    refused = await refusal(_delete(with_app, user))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_another_accounts_user_is_not_deleted(with_app: Caller, new_caller: NewCaller, refusal: Refuse) -> None:
    made = await with_app.register("a")
    stranger = await new_caller()
    refused = await refusal(_delete(stranger, made.user_id))
    unknown = await refusal(_delete(stranger, _UNKNOWN))
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert (refused.message, refused.reason) == (unknown.message, unknown.reason)
    assert not (await with_app.user(made.user_id)).HasField("deleted_at")
    assert await with_app.registration(made.id) == made


async def _delete(caller: Caller, user: str) -> None:
    await caller.users.DeleteUser(users_pb2.DeleteUserRequest(user_id=user))


async def test_another_accounts_user_is_not_found(with_app: Caller, new_caller: NewCaller, refusal: Refuse) -> None:
    made = await with_app.register("a")
    refused = await refusal((await new_caller()).user(made.user_id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize(
    "name",
    [
        ids.encode(Kind.USER, ids.decode(Kind.USER, "comms_user_01m815cb4hev1ssrsmmsa7gj7q")),
        "comms_pushnotificationuser_01m815cb4hev1ssrsmmsa7gj7qaaaaaaaa",  # as long as the documents allow
    ],
)
async def test_an_unknown_user_is_not_found(api: Caller, refusal: Refuse, name: str) -> None:
    assert (await refusal(api.user(name))).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "me", "comms_user_81m815cb4hev1ssrsmmsa7gj7q", "comms_operation_0"])
async def test_a_malformed_id_is_refused(api: Caller, refusal: Refuse, name: str) -> None:
    refused = await refusal(api.user(name))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["user_id"]
