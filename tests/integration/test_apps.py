"""What callers see of apps: which one is the default, and what became final in them day by day."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import apps_pb2, credentials_pb2

from server.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Caller, NewCaller, Refuse

_Content = credentials_pb2.CredentialContent


async def _set_default(caller: Caller, name: str, **fields: Any) -> apps_pb2.UpdateAppResponse:
    return await caller.apps.UpdateApp(apps_pb2.UpdateAppRequest(app_name=name, **fields))


async def _list(caller: Caller, **fields: Any) -> list[apps_pb2.App]:
    return list((await caller.apps.ListApps(apps_pb2.ListAppsRequest(**fields))).apps)


async def _stats(caller: Caller, name: str = "default", **days: str) -> list[apps_pb2.DailyAppStats]:
    return list((await caller.apps.GetAppStats(apps_pb2.GetAppStatsRequest(app_name=name, **days))).days)


async def test_an_app_is_fetched_by_its_name(with_app: Caller) -> None:
    app = await with_app.app("default")
    assert app.name == "default"
    assert app.is_default
    assert len(app.default_credentials) == 1
    assert app.created_at.seconds > 0


async def test_an_unknown_app_is_not_found(with_app: Caller, refusal: Refuse) -> None:
    for call in (with_app.app("nowhere"), _set_default(with_app, "nowhere", is_default=True), _stats(with_app, "no")):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("name", ["", "No", "a/b", "x" * 65])
async def test_a_malformed_name_is_refused(api: Caller, refusal: Refuse, name: str) -> None:
    refused = await refusal(api.app(name))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["app_name"]


async def test_apps_are_listed_as_they_are_fetched(api: Caller, fcm_content: _Content, apn_content: _Content) -> None:
    await api.upload(fcm_content, app_name="first")
    await api.upload(apn_content, app_name="first", credential_type=credentials_pb2.CREDENTIAL_TYPE_APN)
    await api.upload(fcm_content, app_name="second")
    first, second = await api.app("first"), await api.app("second")
    assert len(first.default_credentials) == 2
    assert await _list(api) == [second, first]
    assert await _list(api, is_default=True) == [first]
    assert await _list(api, is_default=False) == [second]


async def test_the_default_moves(api: Caller, fcm_content: _Content) -> None:
    await api.upload(fcm_content, app_name="old")
    await api.upload(fcm_content, app_name="new")
    before = await api.app("new")
    done = await _set_default(api, "new", is_default=True)
    assert (done.resource_id, done.resource_location) == ("new", "/v1/PushNotifications/Apps/new")
    old, new = await api.app("old"), await api.app("new")
    assert (old.is_default, new.is_default) == (False, True)
    assert new.updated_at.ToDatetime() > before.updated_at.ToDatetime()
    assert (await api.register("a")).app_name == "new"


async def test_the_default_is_taken_and_never_given_up(api: Caller, refusal: Refuse, fcm_content: _Content) -> None:
    await api.upload(fcm_content, app_name="first")
    await api.upload(fcm_content, app_name="second")
    before = await api.app("first"), await api.app("second")
    refused = await refusal(_set_default(api, "first", is_default=False))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["is_default"]
    await _set_default(api, "second", is_default=False)
    await _set_default(api, "first", is_default=True)
    assert (await api.app("first"), await api.app("second")) == before


async def test_a_change_of_nothing_is_refused(with_app: Caller, refusal: Refuse) -> None:
    refused = await refusal(_set_default(with_app, "default"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"is_default": "is required"}


async def test_defaults_that_move_at_once_leave_one(api: Caller, fcm_content: _Content) -> None:
    names = [f"app{number}" for number in range(6)]
    for name in names:
        await api.upload(fcm_content, app_name=name)
    await asyncio.gather(*(_set_default(api, name, is_default=True) for name in names * 4))
    assert len(await _list(api, is_default=True)) == 1


async def test_another_accounts_app_is_not_found(
    with_app: Caller, new_caller: NewCaller, refusal: Refuse, fcm_content: _Content
) -> None:
    await with_app.upload(fcm_content, app_name="other")
    stranger = await new_caller()
    await stranger.upload(fcm_content, app_name="theirs")
    for call in (_set_default(stranger, "other", is_default=True), _stats(stranger, "other")):
        assert (await refusal(call)).code is grpc.StatusCode.NOT_FOUND
    assert not (await with_app.app("other")).is_default
    assert (await stranger.app("theirs")).is_default


async def _count(database: Database, name: str, day: date, sent: int, failed: int, canceled: int, lost: int) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "insert into app_days (account_id, app_id, day, sent, failed, canceled, unaddressable)"
            " select account_id, app_id, $2, $3, $4, $5, $6 from apps where name = $1",
            name,
            day,
            sent,
            failed,
            canceled,
            lost,
        )


async def test_an_apps_days_are_counted(api: Caller, fcm_content: _Content, database: Database) -> None:
    await api.upload(fcm_content, app_name="counted")
    await api.upload(fcm_content, app_name="other")
    await _count(database, "counted", date(2026, 1, 31), 1, 2, 3, 4)
    await _count(database, "counted", date(2026, 2, 2), 5_000_000_000, 0, 0, 0)
    await _count(database, "counted", date(2026, 2, 1), 0, 0, 0, 0)
    await _count(database, "other", date(2026, 2, 2), 9, 9, 9, 9)
    first = apps_pb2.DailyAppStats(date="2026-01-31", sent=1, failed=2, canceled=3, unaddressable=4)
    last = apps_pb2.DailyAppStats(date="2026-02-02", sent=5_000_000_000)
    assert await _stats(api, "counted", **{"from": "2026-01-31", "to": "2026-02-02"}) == [first, last]
    assert await _stats(api, "counted", **{"from": "2026-02-01", "to": "2026-02-02"}) == [last]
    assert await _stats(api, "counted", **{"from": "2026-01-31", "to": "2026-02-01"}) == [first]
    assert await _stats(api, "counted", to="2026-02-07") == [first, last]
    assert await _stats(api, "counted", to="2026-02-08") == [last]


async def test_the_last_days_are_the_default(with_app: Caller, database: Database) -> None:
    today = datetime.now(UTC).date()
    for ago in (0, 6, 9):  # a midnight that passes meanwhile changes nothing
        await _count(database, "default", today - timedelta(days=ago), 1, 0, 0, 0)
    days = [(today - timedelta(days=ago)).isoformat() for ago in (9, 6, 0)]
    assert [day.date for day in await _stats(with_app)] == days[1:]
    assert [day.date for day in await _stats(with_app, **{"from": days[0]})] == days


@pytest.mark.parametrize(
    ("days", "fields"),
    [
        ({"from": "2026-02-30"}, ["from"]),
        ({"from": "2026-13-01", "to": "0000-01-01"}, ["from", "to"]),
        ({"from": "yesterday"}, ["from"]),
        ({"to": "2026-1-1"}, ["to"]),
        ({"from": "2026-02-02", "to": "2026-02-01"}, ["from"]),
        ({"from": "9999-12-31"}, ["from"]),
        ({"from": "2025-01-01", "to": "2026-02-06"}, ["from"]),
    ],
)
async def test_days_that_make_no_span_are_refused(
    with_app: Caller, refusal: Refuse, days: dict[str, str], fields: list[str]
) -> None:
    refused = await refusal(_stats(with_app, **days))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == fields


async def test_the_longest_span_and_the_first_day_of_all_are_fine(with_app: Caller) -> None:
    assert await _stats(with_app, **{"from": "2025-01-01", "to": "2026-02-05"}) == []
    assert await _stats(with_app, to="0001-01-02") == []
