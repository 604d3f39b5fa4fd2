"""What callers see of credentials: the app they come into, which one is the default, and that content stays inside."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from pharos.push.v1 import credentials_pb2

from server.domain import ids
from server.domain.credentials import seal_context
from server.domain.ids import Kind
from server.providers.credentials import secret
from server.providers.sealing import Sealer
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_FCM = credentials_pb2.CREDENTIAL_TYPE_FCM
_APN = credentials_pb2.CREDENTIAL_TYPE_APN
_APN_SANDBOX = credentials_pb2.CREDENTIAL_TYPE_APN_SANDBOX
_Content = credentials_pb2.CredentialContent


def _request(content: _Content, **fields: object) -> credentials_pb2.CreateCredentialRequest:
    return credentials_pb2.CreateCredentialRequest(content=content, **{"credential_type": _FCM, **fields})


async def test_the_first_credential_makes_the_default_app(api: Caller, fcm_content: _Content) -> None:
    done = await api.credentials.CreateCredential(_request(fcm_content))
    assert done.resource_location == f"/v1/PushNotifications/Credentials/{done.resource_id}"
    made = await api.credential(done.resource_id)
    assert (made.credential_type, made.is_default, made.app_name) == (_FCM, True, "default")
    assert made.created_at.seconds > 0
    assert (await api.app("default")).is_default


async def test_a_missing_app_is_made_and_the_first_one_is_the_default(api: Caller, fcm_content: _Content) -> None:
    await api.upload(fcm_content, app_name="first")
    await api.upload(fcm_content, app_name="second")
    assert (await api.app("first")).is_default
    assert not (await api.app("second")).is_default
    assert (await api.upload(fcm_content)).app_name == "first"


async def test_the_first_of_a_type_is_the_default_whatever_the_request_says(
    api: Caller, fcm_content: _Content, apn_content: _Content
) -> None:
    fcm = await api.upload(fcm_content, is_default=False)
    apn = await api.upload(apn_content, credential_type=_APN, is_default=False)
    sandbox = await api.upload(apn_content, credential_type=_APN_SANDBOX)
    assert fcm.is_default
    assert apn.is_default
    assert sandbox.is_default
    assert not (await api.upload(fcm_content)).is_default
    defaults = (await api.app("default")).default_credentials
    assert [(default.credential_type, default.credential_id) for default in defaults] == [
        (_FCM, fcm.id),
        (_APN, apn.id),
        (_APN_SANDBOX, sandbox.id),
    ]


async def test_a_new_default_takes_the_role_over(api: Caller, fcm_content: _Content, apn_content: _Content) -> None:
    old = await api.upload(fcm_content)
    other_type = await api.upload(apn_content, credential_type=_APN)
    other_app = await api.upload(fcm_content, app_name="other")
    new = await api.upload(fcm_content, is_default=True)
    assert new.is_default
    assert not (await api.credential(old.id)).is_default
    assert (await api.credential(other_type.id)).is_default
    assert (await api.credential(other_app.id)).is_default
    app = await api.app("default")
    assert new.id in {default.credential_id for default in app.default_credentials}
    assert app.updated_at.ToDatetime() > app.created_at.ToDatetime()


async def test_the_eleventh_app_is_refused(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    for number in range(10):
        await api.upload(fcm_content, app_name=f"app{number}")
    refused = await refusal(api.upload(fcm_content, app_name="app10"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "10 apps" in refused.fields["app_name"]
    assert (await refusal(api.app("app10"))).code is grpc.StatusCode.NOT_FOUND
    assert (await api.upload(fcm_content, app_name="app9")).app_name == "app9"


async def test_the_eleventh_credential_of_an_app_is_refused(
    api: Caller, refusal: Refuse, fcm_content: _Content, apn_content: _Content
) -> None:
    first = await api.upload(fcm_content)
    for _ in range(9):
        await api.upload(apn_content, credential_type=_APN)
    refused = await refusal(api.upload(fcm_content, is_default=True))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "10 credentials" in refused.fields["app_name"]
    assert (await api.credential(first.id)).is_default


async def test_content_is_checked_field_by_field_and_never_quoted(
    api: Caller, refusal: Refuse, apn_content: _Content
) -> None:
    key = base64.b64encode(b"no key at all").decode()
    content = _Content(private_key=key, key_id="short", team_id=apn_content.team_id, topic=apn_content.topic)
    refused = await refusal(api.upload(content, credential_type=_APN))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {"content.private_key", "content.key_id"}
    assert key not in str(refused.status)
    assert "no key at all" not in str(refused.status)


async def test_a_request_without_content_is_refused(api: Caller, refusal: Refuse) -> None:
    refused = await refusal(api.credentials.CreateCredential(credentials_pb2.CreateCredentialRequest()))
    assert refused.fields == {"credential_type": "is required", "content": "is required"}


@pytest.mark.parametrize("name", ["App", "a-b", "x" * 65, "é"])
async def test_an_apps_name_has_few_characters(api: Caller, refusal: Refuse, fcm_content: _Content, name: str) -> None:
    assert "app_name" in (await refusal(api.upload(fcm_content, app_name=name))).fields


async def test_what_is_stored_opens_in_its_own_place_only(
    api: Caller, fcm_content: _Content, database: Database
) -> None:
    made = await api.upload(fcm_content)
    async with database.connection() as connection:
        sealed = await connection.fetchval("select sealed from credentials")
    assert b"PRIVATE KEY" not in sealed
    place = seal_context(str(api.account_id), ids.decode(Kind.CREDENTIAL, made.id))
    opened = secret.unpack(Sealer([bytes(32)]).open(sealed, place))
    assert opened.project_id == "demo"


def test_no_answer_has_a_place_for_content() -> None:
    answer = credentials_pb2.Credential.DESCRIPTOR
    assert {field.type for field in answer.fields} & {FieldDescriptor.TYPE_BYTES} == set()
    assert {field.name for field in answer.fields} & {field.name for field in _Content.DESCRIPTOR.fields} == set()


async def test_another_accounts_credential_is_not_found(
    api: Caller, new_caller: NewCaller, refusal: Refuse, fcm_content: _Content
) -> None:
    made = await api.upload(fcm_content)
    stranger = await new_caller()
    assert (await refusal(stranger.credential(made.id))).code is grpc.StatusCode.NOT_FOUND
    assert (await refusal(stranger.app("default"))).code is grpc.StatusCode.NOT_FOUND


async def test_first_credentials_uploaded_at_once_make_one_app_with_one_default(
    api: Caller, fcm_content: _Content
) -> None:
    made = await asyncio.gather(*(api.upload(fcm_content, app_name="new") for _ in range(10)))
    states = [await api.credential(each.id) for each in made]
    assert [state.is_default for state in states].count(True) == 1
    assert (await api.app("new")).is_default


async def test_takeovers_at_once_leave_one_default(api: Caller, fcm_content: _Content) -> None:
    made = await asyncio.gather(*(api.upload(fcm_content, is_default=True) for _ in range(10)))
    states = [await api.credential(each.id) for each in made]
    assert [state.is_default for state in states].count(True) == 1


async def test_first_apps_made_at_once_have_one_default_and_keep_the_limit(api: Caller, fcm_content: _Content) -> None:
    done = await asyncio.gather(
        *(api.upload(fcm_content, app_name=f"app{number}") for number in range(20)), return_exceptions=True
    )
    made = [each for each in done if not isinstance(each, BaseException)]
    assert len(made) == 10
    apps = [await api.app(each.app_name) for each in made]
    assert [app.is_default for app in apps].count(True) == 1


async def test_a_repeated_upload_has_one_effect(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    request = _request(fcm_content, request_id="key")
    done = await asyncio.gather(*(api.credentials.CreateCredential(request) for _ in range(20)))
    assert len({each.resource_id for each in done}) == 1
    again = api.credentials.CreateCredential(request)
    assert (await again).resource_id == done[0].resource_id
    assert ("idempotent-replayed", "true") in list(await again.trailing_metadata())
    changed = _request(fcm_content, request_id="key", app_name="other")
    assert (await refusal(api.credentials.CreateCredential(changed))).reason == "CONFLICT"
