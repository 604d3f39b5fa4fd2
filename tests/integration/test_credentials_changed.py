"""What callers see when credentials are listed, changed and deleted, and what becomes of their apps."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import credentials_pb2

from server.domain import ids
from server.domain.credentials import seal_context
from server.domain.ids import Kind
from server.providers.credentials import secret
from server.providers.sealing import Sealer
from server.store.database import Database
from server.store.health import CredentialHealths

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_FCM = credentials_pb2.CREDENTIAL_TYPE_FCM
_APN = credentials_pb2.CREDENTIAL_TYPE_APN
_UNKNOWN = "comms_credential_01m815cb4hev1ssrsmmsa7gj7q"
_Content = credentials_pb2.CredentialContent


async def _list(caller: Caller, **fields: Any) -> list[credentials_pb2.Credential]:
    return list(
        (await caller.credentials.ListCredentials(credentials_pb2.ListCredentialsRequest(**fields))).credentials
    )


async def _update(caller: Caller, name: str, **fields: Any) -> credentials_pb2.UpdateCredentialResponse:
    request = credentials_pb2.UpdateCredentialRequest(credential_id=name, **fields)
    return await caller.credentials.UpdateCredential(request)


async def _delete(caller: Caller, name: str) -> credentials_pb2.DeleteCredentialResponse:
    return await caller.credentials.DeleteCredential(credentials_pb2.DeleteCredentialRequest(credential_id=name))


def _of_project(content: _Content, project: str) -> _Content:
    document = json.loads(base64.b64decode(content.private_key))
    document["project_id"] = project
    return _Content(private_key=base64.b64encode(json.dumps(document).encode()).decode())


async def test_credentials_are_listed_as_they_are_fetched(
    api: Caller, fcm_content: _Content, apn_content: _Content
) -> None:
    default = await api.upload(fcm_content)
    spare = await api.upload(fcm_content)
    apn = await api.upload(apn_content, credential_type=_APN)
    other = await api.upload(fcm_content, app_name="other")
    assert await _list(api) == [other, apn, spare, default]
    assert await _list(api, app_name="default") == [apn, spare, default]
    assert await _list(api, credential_type=_FCM) == [other, spare, default]
    assert await _list(api, is_default=False) == [spare]
    assert await _list(api, is_default=True, app_name="default", credential_type=_FCM) == [default]
    assert await _list(api, app_name="nowhere") == []


async def test_a_credential_shows_what_its_provider_says_against_it(
    api: Caller, fcm_content: _Content, database: Database
) -> None:
    made = await api.upload(fcm_content)
    assert made.health == credentials_pb2.CredentialHealth(state=credentials_pb2.CREDENTIAL_HEALTH_STATE_OK)
    credential_id = ids.decode(Kind.CREDENTIAL, made.id)
    await CredentialHealths(database).unwell(api.account_id, credential_id, 1, "INVALID_GRANT", None)
    refused = (await api.credential(made.id)).health
    assert refused.state == credentials_pb2.CREDENTIAL_HEALTH_STATE_REJECTED
    assert (refused.reason, refused.HasField("since"), refused.HasField("until")) == ("INVALID_GRANT", True, False)
    assert [each.health for each in await _list(api)] == [refused]
    await _update(api, made.id, content=_of_project(fcm_content, "rotated"))
    assert (await api.credential(made.id)).health == made.health


async def test_a_credential_takes_the_default_of_its_type_over(
    api: Caller, fcm_content: _Content, apn_content: _Content
) -> None:
    old, new = await api.upload(fcm_content), await api.upload(fcm_content)
    apn = await api.upload(apn_content, credential_type=_APN)
    elsewhere = await api.upload(fcm_content, app_name="other")
    app = await api.app("default")
    done = await _update(api, new.id, is_default=True)
    assert (done.resource_id, done.resource_location) == (new.id, f"/v1/PushNotifications/Credentials/{new.id}")
    states = {each.id: each for each in await _list(api)}
    assert [states[each.id].is_default for each in (old, new, apn, elsewhere)] == [False, True, True, True]
    assert states[new.id].updated_at.ToDatetime() > new.updated_at.ToDatetime()
    assert states[apn.id] == apn
    assert (await api.app("default")).updated_at.ToDatetime() > app.updated_at.ToDatetime()


async def test_the_default_is_taken_and_never_given_up(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    default, spare = await api.upload(fcm_content), await api.upload(fcm_content)
    app = await api.app("default")
    refused = await refusal(_update(api, default.id, is_default=False, content=fcm_content))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["is_default"]
    await _update(api, default.id, is_default=True)
    await _update(api, spare.id, is_default=False)
    assert await _list(api) == [spare, default]
    assert await api.app("default") == app


async def test_takeovers_at_once_leave_one_default(api: Caller, fcm_content: _Content) -> None:
    made = [await api.upload(fcm_content) for _ in range(5)]
    await asyncio.gather(*(_update(api, each.id, is_default=True) for each in made * 4))
    assert len(await _list(api, is_default=True)) == 1


async def test_a_change_of_nothing_is_refused(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    made = await api.upload(fcm_content)
    refused = await refusal(_update(api, made.id))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["is_default"]


async def test_new_content_is_sealed_in_the_place_of_the_old(
    api: Caller, fcm_content: _Content, database: Database
) -> None:
    made, app = await api.upload(fcm_content), await api.app("default")
    await _update(api, made.id, content=_of_project(fcm_content, "rotated"))
    changed = await api.credential(made.id)
    assert changed.updated_at.ToDatetime() > made.updated_at.ToDatetime()
    assert (changed.is_default, changed.created_at) == (made.is_default, made.created_at)
    assert await api.app("default") == app
    async with database.connection() as connection:
        row = await connection.fetchrow("select version, sealed, not_after from credentials")
    place = seal_context(str(api.account_id), ids.decode(Kind.CREDENTIAL, made.id))
    assert secret.unpack(Sealer([bytes(32)]).open(row["sealed"], place)).project_id == "rotated"
    assert (row["version"], row["not_after"]) == (2, None)


async def test_role_and_content_change_together(api: Caller, fcm_content: _Content, database: Database) -> None:
    await api.upload(fcm_content)
    spare = await api.upload(fcm_content)
    await _update(api, spare.id, is_default=True, content=fcm_content)
    async with database.connection() as connection:
        rows = await connection.fetch("select version, is_default from credentials order by credential_id")
    assert [tuple(row) for row in rows] == [(1, False), (2, True)]


async def test_content_of_another_type_or_unusable_changes_nothing(
    api: Caller, refusal: Refuse, fcm_content: _Content, apn_content: _Content, database: Database
) -> None:
    await api.upload(fcm_content)
    spare = await api.upload(fcm_content)
    for content in (apn_content, _Content(private_key="bm8ga2V5"), _Content()):
        refused = await refusal(_update(api, spare.id, is_default=True, content=content))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert all(field.startswith("content.") for field in refused.fields)
        assert "content.private_key" in refused.fields
    assert await api.credential(spare.id) == spare
    async with database.connection() as connection:
        assert await connection.fetchval("select max(version) from credentials") == 1


async def test_the_oldest_of_the_type_follows_a_deleted_default(
    api: Caller, refusal: Refuse, fcm_content: _Content, apn_content: _Content
) -> None:
    apn = await api.upload(apn_content, credential_type=_APN)
    default, second, third = [await api.upload(fcm_content) for _ in range(3)]
    app = await api.app("default")
    done = await _delete(api, default.id)
    assert (done.resource_id, done.resource_location) == (
        default.id,
        f"/v1/PushNotifications/Credentials/{default.id}",
    )
    assert (await refusal(api.credential(default.id))).code is grpc.StatusCode.NOT_FOUND
    states = {each.id: each.is_default for each in await _list(api)}
    assert states == {apn.id: True, second.id: True, third.id: False}
    changed = await api.app("default")
    assert changed.updated_at.ToDatetime() > app.updated_at.ToDatetime()
    await _delete(api, third.id)
    assert await api.app("default") == changed
    await _delete(api, second.id)
    assert [each.credential_type for each in (await api.app("default")).default_credentials] == [_APN]


async def test_with_its_last_credential_an_app_is_deleted_and_its_users_stay(
    api: Caller, refusal: Refuse, fcm_content: _Content
) -> None:
    only = await api.upload(fcm_content, app_name="goes")
    await api.upload(fcm_content, app_name="stays")
    here = await api.register("a", app_name="goes")
    there = await api.register("a", app_name="stays", user_id=here.user_id)
    before = await api.user(here.user_id)
    await _delete(api, only.id)
    for call in (api.app("goes"), api.registration(here.id), _delete(api, only.id)):
        assert (await refusal(call)).code is grpc.StatusCode.NOT_FOUND
    after = await api.user(here.user_id)
    assert not after.HasField("deleted_at")
    assert after.updated_at.ToDatetime() > before.updated_at.ToDatetime()
    assert await api.registration(there.id) == there
    again = await api.upload(fcm_content, app_name="goes")
    assert (again.is_default, again.app_name) == (True, "goes")
    assert (await api.register("a", app_name="goes", user_id=here.user_id)).id != here.id


async def test_the_oldest_app_follows_a_deleted_default(api: Caller, fcm_content: _Content) -> None:
    made = [await api.upload(fcm_content, app_name=name) for name in ("first", "second", "third")]
    await _delete(api, made[1].id)
    assert (await api.app("first")).is_default
    await api.upload(fcm_content, app_name="second")
    await _delete(api, made[0].id)
    third, second = await api.app("third"), await api.app("second")
    assert (third.is_default, second.is_default) == (True, False)
    assert third.updated_at.ToDatetime() > third.created_at.ToDatetime()
    assert (await api.register("a")).app_name == "third"


async def test_with_the_last_app_there_is_no_default(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    only = await api.upload(fcm_content)
    await _delete(api, only.id)
    assert (await refusal(api.register("a"))).fields == {"app_name": "there is no app"}
    assert (await api.upload(fcm_content)).app_name == "default"
    assert (await api.app("default")).is_default


async def test_another_accounts_credential_is_not_changed_or_deleted(
    api: Caller, new_caller: NewCaller, refusal: Refuse, fcm_content: _Content
) -> None:
    await api.upload(fcm_content)
    spare = await api.upload(fcm_content)
    stranger = await new_caller()
    for fields in ({"is_default": True}, {"content": fcm_content}):
        refused = await refusal(_update(stranger, spare.id, **fields))
        unknown = await refusal(_update(stranger, _UNKNOWN, **fields))
        assert refused.code is grpc.StatusCode.NOT_FOUND
        assert (refused.message, refused.reason) == (unknown.message, unknown.reason)
    assert (await refusal(_delete(stranger, spare.id))).code is grpc.StatusCode.NOT_FOUND
    assert await api.credential(spare.id) == spare


@pytest.mark.parametrize("name", ["", "me", "comms_user_01m815cb4hev1ssrsmmsa7gj7q"])
async def test_a_malformed_id_is_refused(api: Caller, refusal: Refuse, name: str) -> None:
    for call in (_update(api, name, is_default=True), _delete(api, name)):
        assert list((await refusal(call)).fields) == ["credential_id"]
