"""Lists, changes and deletions of the documented API, sent as `curl` would send them, against the running service."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.acceptance.documented import REGISTRATION_ID, TIME, UNKNOWN_SUFFIX, fetch, register
from tests.acceptance.stack import Stack, credential_contents


@pytest.fixture(scope="module")
def changing(stack: Stack) -> Stack:
    """An account of its own: these tests take its apps away."""
    own = stack.with_new_account()
    own.upload_credentials("test_app")
    return own


@pytest.fixture
async def rest(changing: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with changing.rest() as rest:
        yield rest


async def _changed(answer: httpx.Response, url: str) -> None:
    """A change or deletion answers with the resource pair, and points at v1 whichever version was asked."""
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"resourceId": url.rpartition("/")[2], "resourceLocation": url}


async def _upload(rest: httpx.AsyncClient, stack: Stack, app: str) -> str:
    """The URL of another FCM credential of the app."""
    body = {"credentialType": "FCM", "appName": app, "content": credential_contents(stack.variables)["FCM"]}
    accepted = await rest.post("/v1/PushNotifications/Credentials", json=body)
    assert accepted.status_code == 202, accepted.text
    return accepted.headers["location"]


async def test_users_are_listed_and_deleted(rest: httpx.AsyncClient, changing: Stack, version: str) -> None:
    made = [await register(rest, f"listed-{version}-{number}") for number in range(3)]
    first = await fetch(rest, f"{version}/PushNotifications/Users?pageSize=2")
    assert [user["id"] for user in first["users"]] == [made[2]["userId"], made[1]["userId"]]
    assert all(re.fullmatch(TIME, user["createdAt"]) and user["deletedAt"] is None for user in first["users"])

    url = f"{changing.url}/v1/PushNotifications/Users/{made[1]['userId']}"
    await _changed(await rest.delete(f"{version}/PushNotifications/Users/{made[1]['userId']}"), url)

    assert re.fullmatch(TIME, (await fetch(rest, url))["deletedAt"])
    assert (await rest.get(f"{version}/PushNotifications/DeviceRegistrations/{made[1]['id']}")).status_code == 404
    assert (await rest.delete(f"{version}/PushNotifications/Users/{made[1]['userId']}")).status_code == 404
    second = await fetch(rest, f"{version}/PushNotifications/Users?pageToken={first['pagination']['next']}")
    assert second["users"][0]["id"] == made[0]["userId"]


async def test_registrations_are_listed_and_deleted(rest: httpx.AsyncClient, changing: Stack, version: str) -> None:
    made = await register(rest, f"removed-{version}")
    made = await register(rest, "abcd", provider="APN", userId=made["userId"])
    listed = f"{version}/PushNotifications/DeviceRegistrations?userId={made['userId']}&appName=test_app"
    assert (await fetch(rest, listed))["deviceRegistrations"] == [made]

    url = f"{changing.url}/v1/PushNotifications/DeviceRegistrations/{made['id']}"
    path = f"{version}/PushNotifications/DeviceRegistrations/{made['id']}"
    assert (await rest.delete(path, params={"provider": "APN"})).status_code == 400
    await _changed(await rest.delete(path, params={"provider": "APN", "token": "ABCD"}), url)
    assert (await fetch(rest, url))["devices"] == made["devices"][:1]
    await _changed(await rest.delete(path), url)
    assert (await fetch(rest, listed))["deviceRegistrations"] == []


async def test_the_list_of_an_unknown_user_names_the_field(rest: httpx.AsyncClient, version: str) -> None:
    unknown = f"comms_pushnotificationuser_{UNKNOWN_SUFFIX}"
    refused = await rest.get(f"{version}/PushNotifications/DeviceRegistrations", params={"userId": unknown})
    assert refused.status_code == 400
    assert [error["context"] for error in refused.json()["errors"]] == ["$.userId"]


async def test_devices_are_registered_in_batches(rest: httpx.AsyncClient, changing: Stack, version: str) -> None:
    body = {
        "registrations": [
            {"provider": "FCM", "token": f"batched-{version}"},
            {"provider": "FCM", "token": "x", "userId": f"comms_user_{UNKNOWN_SUFFIX}"},
        ]
    }
    key = {"Idempotency-Key": f"batch{version}"}
    accepted = await rest.post(f"{version}/PushNotifications/DeviceRegistrations/Batch", json=body, headers=key)
    assert accepted.status_code == 200, accepted.text
    done, refused = accepted.json()["results"]
    assert re.fullmatch(REGISTRATION_ID, done["resourceId"])
    url = f"{changing.url}/v1/PushNotifications/DeviceRegistrations/{done['resourceId']}"
    assert done == {"resourceId": done["resourceId"], "resourceLocation": url}
    assert refused == {"error": "there is no such user", "context": "$.registrations[1].userId"}
    again = await rest.post(f"{version}/PushNotifications/DeviceRegistrations/Batch", json=body, headers=key)
    assert again.json() == accepted.json()
    assert again.headers["idempotent-replayed"] == "true"


async def test_credentials_and_their_app_come_and_go(rest: httpx.AsyncClient, changing: Stack, version: str) -> None:
    app = f"short_lived_{version[1:]}"
    urls = [await _upload(rest, changing, app) for _ in range(2)]
    filters = {"appName": app, "credentialType": "FCM", "isDefault": "false", "startDate": "2026-01-01T00:00:00Z"}
    listed = await _listed(rest, f"{version}/PushNotifications/Credentials", "credentials", **filters)
    assert listed == [await fetch(rest, urls[1])]

    path = urls[1].replace("/v1/", f"{version}/")
    content = credential_contents(changing.variables)["FCM"]
    await _changed(await rest.patch(path, json={"isDefault": True, "content": content}), urls[1])
    assert [(await fetch(rest, url))["isDefault"] for url in urls] == [False, True]
    await _changed(await rest.delete(path), urls[1])
    assert (await fetch(rest, urls[0]))["isDefault"] is True
    await _changed(await rest.delete(urls[0]), urls[0])
    assert (await rest.get(f"{version}/PushNotifications/Apps/{app}")).status_code == 404


async def test_the_default_app_moves(rest: httpx.AsyncClient, changing: Stack, version: str) -> None:
    name = f"next_{version[1:]}"
    await _upload(rest, changing, name)
    url = f"{changing.url}/v1/PushNotifications/Apps/{name}"
    await _changed(await rest.patch(f"{version}/PushNotifications/Apps/{name}", json={"isDefault": True}), url)
    listed = await _listed(rest, f"{version}/PushNotifications/Apps", "apps", isDefault="true")
    assert listed == [await fetch(rest, url)]
    refused = await rest.patch(f"{version}/PushNotifications/Apps/{name}", json={"isDefault": False})
    assert [error["context"] for error in refused.json()["errors"]] == ["$.isDefault"]
    await rest.patch("/v1/PushNotifications/Apps/test_app", json={"isDefault": True})


async def test_an_app_has_counts_by_day(rest: httpx.AsyncClient, version: str) -> None:
    path = f"{version}/PushNotifications/Apps/test_app/Stats"
    assert await fetch(rest, f"{path}?from=2026-01-01&to=2026-01-31") == {"days": []}
    assert "days" in await fetch(rest, path)
    refused = await rest.get(path, params={"from": "2026-02-30"})
    assert [error["context"] for error in refused.json()["errors"]] == ["$.from"]


async def _listed(rest: httpx.AsyncClient, path: str, key: str, **filters: str) -> list[dict[str, Any]]:
    answer = await rest.get(path, params=filters)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["pagination"]["next"] is None
    listed: list[dict[str, Any]] = document[key]
    return listed
