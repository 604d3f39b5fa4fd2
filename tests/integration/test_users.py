"""What callers see of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from server.domain import ids
from server.domain.ids import Kind
from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse


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


async def test_a_deleted_user_is_still_fetched(with_app: Caller, database: Database) -> None:
    made = await with_app.register("a")
    async with database.connection() as connection:
        await connection.execute("update users set deleted_at = now()")
    assert (await with_app.user(made.user_id)).deleted_at.seconds > 0


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
