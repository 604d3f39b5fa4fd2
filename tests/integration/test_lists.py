"""What all lists of resources have in common: pages that stay in order whatever happens between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import apps_pb2, credentials_pb2, device_registrations_pb2, types_pb2, users_pb2

from server.domain.notifications import NEWEST
from server.store.database import Connection, Database
from server.store.statements import Statements

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_COUNT = 7
_Content = credentials_pb2.CredentialContent
_Page = tuple[list[str], types_pb2.Pagination]


@dataclass(frozen=True)
class Listed:
    """One list: ``rows`` are the names of its resources, oldest first; ``page`` takes the request's fields."""

    rows: Sequence[str]
    page: Callable[..., Awaitable[_Page]]
    remove: Callable[[str], Awaitable[Any]]
    add: Callable[[], Awaitable[Any]]


async def _users(caller: Caller, content: _Content) -> Listed:
    await caller.upload(content)

    async def page(as_: Caller = caller, **fields: Any) -> _Page:
        answer = await as_.users.ListUsers(users_pb2.ListUsersRequest(**fields))
        return [user.id for user in answer.users], answer.pagination

    async def remove(name: str) -> None:
        await caller.users.DeleteUser(users_pb2.DeleteUserRequest(user_id=name))

    rows = [(await caller.register(f"t{number}")).user_id for number in range(_COUNT)]
    return Listed(rows, page, remove, lambda: caller.register("new"))


async def _registrations(caller: Caller, content: _Content) -> Listed:
    for number in range(_COUNT + 1):
        await caller.upload(content, app_name=f"app{number}")
    user = (await caller.register("t", app_name="app0")).user_id

    async def page(as_: Caller = caller, **fields: Any) -> _Page:
        request = device_registrations_pb2.ListDeviceRegistrationsRequest(**{"user_id": user, **fields})
        answer = await as_.registrations.ListDeviceRegistrations(request)
        return [registration.id for registration in answer.device_registrations], answer.pagination

    async def remove(name: str) -> None:
        request = device_registrations_pb2.DeleteDeviceRegistrationRequest(device_registration_id=name)
        await caller.registrations.DeleteDeviceRegistration(request)

    async def register(number: int) -> str:
        return (await caller.register("t", app_name=f"app{number}", user_id=user)).id

    return Listed([await register(number) for number in range(_COUNT)], page, remove, lambda: register(_COUNT))


async def _credentials(caller: Caller, content: _Content) -> Listed:
    async def page(as_: Caller = caller, **fields: Any) -> _Page:
        answer = await as_.credentials.ListCredentials(credentials_pb2.ListCredentialsRequest(**fields))
        return [credential.id for credential in answer.credentials], answer.pagination

    async def remove(name: str) -> None:
        await caller.credentials.DeleteCredential(credentials_pb2.DeleteCredentialRequest(credential_id=name))

    rows = [(await caller.upload(content)).id for _ in range(_COUNT)]
    return Listed(rows, page, remove, lambda: caller.upload(content))


async def _apps(caller: Caller, content: _Content) -> Listed:
    only = {f"app{n}": (await caller.upload(content, app_name=f"app{n}")).id for n in range(_COUNT)}

    async def page(as_: Caller = caller, **fields: Any) -> _Page:
        answer = await as_.apps.ListApps(apps_pb2.ListAppsRequest(**fields))
        return [app.name for app in answer.apps], answer.pagination

    async def remove(name: str) -> None:
        await caller.credentials.DeleteCredential(credentials_pb2.DeleteCredentialRequest(credential_id=only[name]))

    return Listed(list(only), page, remove, lambda: caller.upload(content, app_name="new"))


_LISTS = {"users": _users, "registrations": _registrations, "credentials": _credentials, "apps": _apps}


@pytest.fixture(params=_LISTS)
async def listed(request: pytest.FixtureRequest, api: Caller, fcm_content: _Content) -> Listed:
    """Each list in turn, with seven rows."""
    return await _LISTS[request.param](api, fcm_content)


async def _rest(listed: Listed, token: str, size: int) -> list[str]:
    """All rows from a page token on."""
    rows, pagination = await listed.page(page_token=token, page_size=size)
    return rows + (await _rest(listed, pagination.next, size) if pagination.next else [])


async def test_i19_every_row_is_on_one_page_newest_first(listed: Listed) -> None:
    for size in (1, 3, _COUNT, 1000):
        assert await _rest(listed, "", size) == list(reversed(listed.rows))


async def test_a_page_has_fifty_rows_and_the_last_one_no_next(listed: Listed) -> None:
    rows, pagination = await listed.page()
    assert len(rows) == _COUNT
    assert not pagination.HasField("next")


async def test_i19_what_is_deleted_and_made_meanwhile_moves_nothing(listed: Listed) -> None:
    newest_first = list(reversed(listed.rows))
    rows, pagination = await listed.page(page_size=2)
    assert rows == newest_first[:2]
    for gone in (newest_first[0], newest_first[2], newest_first[4]):  # the second is where the next page begins
        await listed.remove(gone)
    await listed.add()
    assert await _rest(listed, pagination.next, 2) == [newest_first[3], *newest_first[5:]]


async def test_a_pages_own_token_leads_to_it_again(listed: Listed) -> None:
    first, pagination = await listed.page(page_size=3)
    assert (await listed.page(page_size=3, page_token=pagination.self))[0] == first
    second, pagination = await listed.page(page_size=3, page_token=pagination.next)
    assert (await listed.page(page_size=3, page_token=pagination.self))[0] == second


@pytest.mark.parametrize("name", ["users", "credentials", "apps"])
async def test_nobody_sees_another_accounts_rows(
    api: Caller, new_caller: NewCaller, fcm_content: _Content, name: str
) -> None:
    listed = await _LISTS[name](api, fcm_content)
    _, pagination = await listed.page(page_size=3)
    stranger = await new_caller()
    for token in ("", pagination.next):
        assert (await listed.page(as_=stranger, page_token=token))[0] == []


async def test_nobody_sees_the_registrations_of_another_accounts_user(
    api: Caller, new_caller: NewCaller, refusal: Refuse, fcm_content: _Content
) -> None:
    listed = await _registrations(api, fcm_content)
    _, pagination = await listed.page(page_size=3)
    stranger = await new_caller()
    for token in ("", pagination.next):
        refused = await refusal(listed.page(as_=stranger, page_token=token))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.fields == {"user_id": "there is no such user"}


async def test_what_is_no_page_token_is_refused(listed: Listed, refusal: Refuse) -> None:
    for token in ("x", "A", "é", "kaExqTEyMzQ1Njc4", "x" * 4097):
        refused = await refusal(listed.page(page_token=token))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refused.fields) == ["page_token"]


async def test_a_page_has_one_to_a_thousand_rows(listed: Listed, refusal: Refuse) -> None:
    for size in (0, -1, 1001):
        assert list((await refusal(listed.page(page_size=size))).fields) == ["page_size"]


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("registrations", {"app_name": "app1"}),
        ("credentials", {"app_name": "default"}),
        ("credentials", {"credential_type": credentials_pb2.CREDENTIAL_TYPE_FCM}),
        ("credentials", {"is_default": False}),
        ("apps", {"is_default": False}),
        ("apps", {"end_date": {"seconds": 9_000_000_000}}),
    ],
)
async def test_a_token_with_other_filters_is_refused(
    api: Caller, refusal: Refuse, fcm_content: _Content, name: str, filters: dict[str, Any]
) -> None:
    listed = await _LISTS[name](api, fcm_content)
    _, pagination = await listed.page(page_size=1)
    refused = await refusal(listed.page(page_size=1, page_token=pagination.next, **filters))
    assert refused.fields == {"page_token": "belongs to a list with other filters"}


async def test_a_token_of_another_list_is_refused(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    _, pagination = await (await _credentials(api, fcm_content)).page(page_size=1)
    refused = await refusal(api.users.ListUsers(users_pb2.ListUsersRequest(page_token=pagination.next)))
    assert refused.fields == {"page_token": "belongs to a list with other filters"}


@pytest.mark.parametrize("name", ["credentials", "apps"])
async def test_rows_are_listed_by_the_time_they_were_made(api: Caller, fcm_content: _Content, name: str) -> None:
    listed = await _LISTS[name](api, fcm_content)
    times = {}
    for row in listed.rows:
        made = await (api.credential(row) if name == "credentials" else api.app(row))
        times[row] = made.created_at
    _, second, third, *_ = listed.rows
    rows, _ = await listed.page(start_date=times[second], end_date=times[third])
    assert rows == [second]
    assert (await listed.page(start_date=times[third]))[0] == list(reversed(listed.rows[2:]))
    assert (await listed.page(end_date=times[second]))[0] == list(listed.rows[:1])


@pytest.mark.parametrize("name", ["credentials", "apps"])
async def test_times_that_no_calendar_has_are_refused(
    api: Caller, refusal: Refuse, fcm_content: _Content, name: str
) -> None:
    listed = await _LISTS[name](api, fcm_content)
    never = {"seconds": 1 << 50}
    refused = await refusal(listed.page(start_date=never, end_date={"seconds": 253402300799, "nanos": 999999999}))
    assert list(refused.fields) == ["start_date", "end_date"]


async def test_a_page_is_read_from_an_index_however_many_there_are(database: Database) -> None:
    async with database.connection() as connection:
        account = await _fill(connection)
        user = await connection.fetchval("select user_id from users where account_id = $1 limit 1", account)
        users = await _plans(connection, "users", account, NEWEST, 51)
        apps = await _plans(connection, "apps", account, NEWEST, 51, *[None] * 3)
        credentials = await _plans(connection, "credentials", account, NEWEST, 51, *[None] * 5)
        registrations = await _plans(connection, "registrations", account, user, NEWEST, 51, None)
    for plan in (*users, *apps, *credentials, *registrations):
        assert plan.startswith("Limit"), plan
        assert "Seq Scan" not in plan, plan
    # The others are bounded: ten apps, ten credentials in each, and a registration in each for one user.
    assert not any("Sort" in plan for plan in users), users


async def _plans(connection: Connection, file: str, *arguments: object) -> list[str]:
    """How the list is read the first times, and when its statement has been used often."""
    plans = []
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"set plan_cache_mode = {mode}")
        rows = await connection.fetch(f"explain {Statements(file).newest}", *arguments)
        plans.append("\n".join(row[0] for row in rows))
    return plans


async def _fill(connection: Connection) -> Any:
    """200 accounts with as many apps and credentials as they can have, one of them with 20,000 users."""
    await connection.execute(
        "insert into accounts (account_id, name, auth_token_hash)"
        " select gen_random_uuid(), 'x', '' from generate_series(1, 200);"
        "insert into apps (account_id, name, is_default)"
        " select account_id, 'a' || n, n = 1 from accounts, generate_series(1, 10) n;"
        "insert into credentials (account_id, app_id, credential_type, is_default, sealed)"
        " select account_id, app_id, 1, n = 1, '' from apps, generate_series(1, 10) n;"
        "insert into credential_health (account_id, credential_id, version, state, since, reason)"
        " select account_id, credential_id, 1, 3, now(), 'x' from credentials;"
        "insert into users (account_id) select account_id from accounts, generate_series(1, 20);"
        "insert into users (account_id) select min(account_id::text)::uuid from accounts, generate_series(1, 20000) n"
        " group by n;"
        "insert into device_registrations (account_id, user_id, app_id)"
        " select account_id, user_id, app_id from users join apps using (account_id) where is_default;"
        "insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)"
        " select account_id, app_id, 1, sha256(registration_id::text::bytea), 'x', registration_id, user_id"
        " from device_registrations;"
        "analyze"
    )
    return await connection.fetchval("select min(account_id::text)::uuid from accounts")
