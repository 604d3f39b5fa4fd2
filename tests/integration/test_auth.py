"""Who may call: the account's token or an API key, and nobody else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest
from pharos.push.v1 import apps_pb2, apps_pb2_grpc

from server.domain import ids
from server.domain.accounts import IssuedSecret
from server.domain.errors import NotFound
from server.domain.ids import Kind
from server.store.accounts import Accounts
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse


def _basic(text: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


def _get_app(channel: grpc.aio.Channel, *authorizations: str) -> grpc.aio.UnaryUnaryCall:
    metadata = [("authorization", value) for value in authorizations]
    request = apps_pb2.GetAppRequest(app_name="default")
    return apps_pb2_grpc.AppServiceStub(channel).GetApp(request, metadata=metadata)


@pytest.fixture
async def key(with_app: Caller, database: Database) -> IssuedSecret:
    return await Accounts(database).create_key(with_app.account_id, "test")


async def test_an_api_key_has_its_accounts_rights(anonymous: grpc.aio.Channel, key: IssuedSecret) -> None:
    name = ids.encode(Kind.API_KEY, key.id)
    assert (await _get_app(anonymous, _basic(f"{name}:{key.secret}"))).app.name == "default"


async def test_the_schemes_case_does_not_matter(anonymous: grpc.aio.Channel, with_app: Caller) -> None:
    name = ids.encode(Kind.ACCOUNT, with_app.account_id)
    assert (await _get_app(anonymous, _basic(f"{name}:{with_app.token}", "basic"))).app.name == "default"


async def test_a_call_without_credentials_is_refused(anonymous: grpc.aio.Channel, refusal: Refuse) -> None:
    refused = await refusal(_get_app(anonymous))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "template",
    [
        "{account}:wrong",
        "{account}:",
        "{account}",
        "AC" + "0" * 32 + ":{token}",
        "SK" + "0" * 32 + ":{token}",
        "{key}:{token}",
        "{account}:{secret}",
        "somebody:{token}",
        ":",
        "",
    ],
)
async def test_wrong_credentials_are_refused_all_alike(
    anonymous: grpc.aio.Channel, with_app: Caller, key: IssuedSecret, refusal: Refuse, template: str
) -> None:
    pair = template.format(
        account=ids.encode(Kind.ACCOUNT, with_app.account_id),
        token=with_app.token,
        key=ids.encode(Kind.API_KEY, key.id),
        secret=key.secret,
    )
    refused = await refusal(_get_app(anonymous, _basic(pair)))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    assert refused.message == (await refusal(_get_app(anonymous))).message


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Bearer abc", "Basic " + "QUFB" * 1000, "x"])
async def test_malformed_headers_are_refused(anonymous: grpc.aio.Channel, refusal: Refuse, header: str) -> None:
    assert (await refusal(_get_app(anonymous, header))).code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_wrong_token_is_refused_after_the_right_one_was_seen(
    anonymous: grpc.aio.Channel, with_app: Caller, refusal: Refuse
) -> None:
    name = ids.encode(Kind.ACCOUNT, with_app.account_id)
    await _get_app(anonymous, _basic(f"{name}:{with_app.token}"))
    assert (await refusal(_get_app(anonymous, _basic(f"{name}:{with_app.token}0")))).reason == "UNAUTHENTICATED"


async def test_authentication_comes_before_validation(anonymous: grpc.aio.Channel, refusal: Refuse) -> None:
    refused = await refusal(apps_pb2_grpc.AppServiceStub(anonymous).GetApp(apps_pb2.GetAppRequest(app_name="!")))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_secrets_are_kept_as_hashes(with_app: Caller, key: IssuedSecret, database: Database) -> None:
    async with database.connection() as connection:
        accounts = await connection.fetch("select accounts::text as row from accounts")
        keys = await connection.fetch("select api_keys::text as row from api_keys")
    assert with_app.token not in accounts[0]["row"]
    assert key.secret not in keys[0]["row"]
    assert key.secret not in repr(key)


async def test_an_account_gets_its_feed(with_app: Caller, database: Database) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval("select last_seq from feeds where account_id = $1", with_app.account_id) == 0


async def test_an_unknown_account_gets_no_key(database: Database) -> None:
    with pytest.raises(NotFound):
        await Accounts(database).create_key(uuid4(), "test")
