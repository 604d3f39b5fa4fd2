"""The requests of the documented API, sent as `curl` would send them, against the running service."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.acceptance.documented import (
    CREDENTIAL_ID,
    NOTIFICATION_ID,
    REGISTRATION_ID,
    TIME,
    TOKEN,
    UNKNOWN_SUFFIX,
    USER_ID,
    fetch,
    id_in,
    register,
    send,
)
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack, credential_contents


async def test_a_device_is_registered_without_a_user(rest: httpx.AsyncClient, test_app: Stack, version: str) -> None:
    body = {"token": TOKEN, "appName": "test_app", "provider": "FCM"}

    accepted = await rest.post(f"{version}/PushNotifications/DeviceRegistrations", json=body)

    assert accepted.status_code == 202
    said = accepted.json()
    assert re.fullmatch(REGISTRATION_ID, said["resourceId"])
    location = f"{test_app.url}/v1/PushNotifications/DeviceRegistrations/{said['resourceId']}"
    assert said == {"resourceId": said["resourceId"], "resourceLocation": location}
    assert accepted.headers["location"] == location
    assert accepted.headers["content-type"] == "application/json"


async def test_a_registration_is_fetched_in_the_documented_shape(rest: httpx.AsyncClient, version: str) -> None:
    registered = await register(rest, TOKEN)

    fetched = await fetch(rest, f"{version}/PushNotifications/DeviceRegistrations/{registered['id']}")

    user_id = fetched["userId"]
    assert re.fullmatch(USER_ID, user_id)
    assert fetched == {
        "appName": "test_app",
        "userId": user_id,
        "devices": [{"provider": "FCM", "token": TOKEN}],
        "id": registered["id"],
        "related": [
            {"id": user_id, "name": "user", "uri": f"/Users/{user_id}"},
            {"id": "test_app", "name": "push_notification_app", "uri": "/PushNotifications/Apps/test_app"},
        ],
        "tags": {},
    }


@pytest.mark.parametrize("prefix", ["comms_user_", "comms_pushnotificationuser_"])
async def test_a_second_device_joins_its_user(rest: httpx.AsyncClient, version: str, prefix: str) -> None:
    first = await register(rest, f"first-{prefix}-{version}")
    user_id = prefix + first["userId"].rpartition("_")[2]

    second = await register(rest, f"second-{prefix}-{version}", version, userId=user_id)

    assert second["id"] == first["id"]
    assert second["userId"] == first["userId"]
    assert [device["token"] for device in second["devices"]] == [
        f"first-{prefix}-{version}",
        f"second-{prefix}-{version}",
    ]


async def test_without_an_app_name_the_default_app_is_meant(rest: httpx.AsyncClient, version: str) -> None:
    accepted = await rest.post(
        f"{version}/PushNotifications/DeviceRegistrations", json={"token": f"appless-{version}", "provider": "FCM"}
    )

    assert accepted.status_code == 202
    assert (await fetch(rest, accepted.headers["location"]))["appName"] == "test_app"


async def test_a_user_is_fetched_by_both_its_paths(rest: httpx.AsyncClient, version: str) -> None:
    user_id = (await register(rest, f"user-{version}"))["userId"]

    user = await fetch(rest, f"{version}/PushNotifications/Users/{user_id}")

    assert user.keys() == {"id", "createdAt", "updatedAt", "deletedAt"}
    assert (user["id"], user["deletedAt"]) == (user_id, None)
    assert re.fullmatch(TIME, user["createdAt"])
    assert re.fullmatch(TIME, user["updatedAt"])
    assert await fetch(rest, f"{version}/Users/{user_id}") == user


@pytest.mark.parametrize("kind", ["FCM", "APN"])
async def test_a_credential_is_uploaded(rest: httpx.AsyncClient, test_app: Stack, version: str, kind: str) -> None:
    content = credential_contents(test_app.variables)[kind]
    app_name = f"uploaded_{kind.lower()}_{version[1:]}"
    upload = {"credentialType": kind, "content": content, "appName": app_name}

    accepted = await rest.post(f"{version}/PushNotifications/Credentials", json=upload)

    assert accepted.status_code == 202
    said = accepted.json()
    assert re.fullmatch(CREDENTIAL_ID, said["resourceId"])
    location = f"{test_app.url}/v1/PushNotifications/Credentials/{said['resourceId']}"
    assert said == {"resourceId": said["resourceId"], "resourceLocation": location}
    assert accepted.headers["location"] == location
    credential = await fetch(rest, location.replace("/v1/", f"{version}/"))
    assert {name: credential[name] for name in ("id", "credentialType", "isDefault", "appName")} == {
        "id": said["resourceId"],
        "credentialType": kind,
        "isDefault": True,
        "appName": app_name,
    }
    assert re.fullmatch(TIME, credential["createdAt"])
    assert not [name for name in content if name in json.dumps(credential)], "secrets are never shown"


async def test_an_app_names_its_default_credentials(rest: httpx.AsyncClient, version: str) -> None:
    app = await fetch(rest, f"{version}/PushNotifications/Apps/test_app")

    assert (app["name"], app["isDefault"]) == ("test_app", True)
    assert {default["credentialType"] for default in app["defaultCredentials"]} == {"FCM", "APN"}
    for default in app["defaultCredentials"]:
        credential = await fetch(rest, f"{version}/PushNotifications/Credentials/{default['credentialId']}")
        assert (credential["appName"], credential["isDefault"]) == ("test_app", True)


async def test_a_user_gets_the_push_on_every_device(
    rest: httpx.AsyncClient, sandbox: SandboxPort, version: str
) -> None:
    tokens = [f"welcome-{version}-1", f"welcome-{version}-2"]
    user_id = (await register(rest, tokens[0]))["userId"]
    await register(rest, tokens[1], userId=user_id)
    suffix = user_id.rpartition("_")[2]
    content = {
        "title": "Welcome Back!",
        "body": "It looks like you have been away for a while. New offers are waiting for you.",
    }

    location = await send(rest, {"to": [{"userId": f"comms_user_{suffix}"}], "content": content}, version)

    pushes = await sandbox.pushes(tokens)
    assert [[(push.title, push.text) for push in pushes[token]] for token in tokens] == [
        [(content["title"], content["body"])],
        [(content["title"], content["body"])],
    ]
    [notification] = (await fetch(rest, f"{version}/PushNotifications?operationId={id_in(location)}"))["notifications"]
    assert (notification["to"], notification["status"]) == ({"userId": user_id}, "SENT")


async def test_one_token_needs_no_registration(rest: httpx.AsyncClient, sandbox: SandboxPort, version: str) -> None:
    token = f"flight-{version}"
    content = {"title": "Your flight details", "body": "Hello, your flight is leaving soon! Tap for details"}

    await send(rest, {"to": [{"token": token, "provider": "FCM"}], "content": content}, version)

    [push] = (await sandbox.pushes([token]))[token]
    assert (push.provider, push.title, push.text) == ("FCM", content["title"], content["body"])


async def test_variables_personalise_for_each_token(
    rest: httpx.AsyncClient, sandbox: SandboxPort, version: str
) -> None:
    fcm, apn = f"styles-{version}", "57" * 31 + version[1:2].encode().hex()
    body = {
        "to": [
            {"token": fcm, "provider": "FCM", "variables": {"name": "Jessie"}},
            {"token": apn, "provider": "APN", "variables": {"name": "James"}},
        ],
        "content": {
            "title": "New styles in stock!",
            "body": "Hey {{name}}, new colorways just dropped on your favorite silhouettes.",
        },
    }

    location = await send(rest, body, version)

    pushes = await sandbox.pushes([fcm, apn])
    assert {token: [(push.provider, push.title, push.text) for push in got] for token, got in pushes.items()} == {
        fcm: [
            (
                "FCM",
                "New styles in stock!",
                "Hey Jessie, new colorways just dropped on your favorite silhouettes.",
            )
        ],
        apn: [
            (
                "APN",
                "New styles in stock!",
                "Hey James, new colorways just dropped on your favorite silhouettes.",
            )
        ],
    }
    operation = await fetch(rest, location.replace("/v1/", f"{version}/"))
    assert operation.keys() == {"id", "status", "stats", "createdAt", "updatedAt"}
    assert (operation["id"], operation["status"]) == (id_in(location), "COMPLETED")
    assert operation["stats"] == {
        "total": 2,
        "recipients": 2,
        "unaddressable": 0,
        "scheduled": 0,
        "queued": 0,
        "sent": 2,
        "failed": 0,
        "canceled": 0,
    }


async def test_a_notification_is_listed_and_fetched(rest: httpx.AsyncClient, version: str) -> None:
    recipient = {"token": f"shown-{version}", "provider": "FCM", "variables": {"name": "Ada"}}
    content = {"title": "For {{ name }}", "body": "Hello {{ name }}"}
    sent = {"to": [recipient], "content": content, "priority": "LOW", "sound": "chime", "tags": {"kind": "test"}}

    location = await send(rest, sent, version)

    page = await fetch(rest, f"{version}/PushNotifications?operationId={id_in(location)}")
    assert page["pagination"]["next"] is None
    [listed] = page["notifications"]
    fetched = await fetch(rest, f"{version}/PushNotifications/{listed['id']}")
    assert re.fullmatch(NOTIFICATION_ID, fetched["id"])
    fcm = next(
        default["credentialId"]
        for default in (await fetch(rest, "/v1/PushNotifications/Apps/test_app"))["defaultCredentials"]
        if default["credentialType"] == "FCM"
    )
    expected = {
        "from": {"fcm": fcm},
        "to": recipient,
        "status": "SENT",
        "priority": "LOW",
        "sound": "chime",
        "operationId": id_in(location),
        "tags": {"kind": "test"},
    }
    assert {name: listed[name] for name in expected} == expected
    assert {name: fetched[name] for name in expected} == expected
    assert "content" not in listed
    assert fetched["content"] == {"title": "For Ada", "body": "Hello Ada"}
    [device] = fetched["devices"]
    assert (device["provider"], device["token"], device["status"], device["attempts"]) == (
        *("FCM", f"shown-{version}"),
        *("SENT", 1),
    )
    assert device["providerMessageId"].startswith("projects/")


async def test_errors_say_what_became_of_whom(rest: httpx.AsyncClient, version: str) -> None:
    nobody = f"comms_pushnotificationuser_{UNKNOWN_SUFFIX}"
    recipients = [
        {"token": f"live-{version}", "provider": "FCM"},
        {"token": f"unregistered-{version}", "provider": "FCM"},
        {"userId": nobody},
    ]

    location = await send(rest, {"to": recipients, "content": {"body": "Hello"}}, version)

    errors = (await fetch(rest, f"{location.replace('/v1/', f'{version}/')}/Errors"))["errors"]
    assert [(error["recipientIndex"], error["reason"], error["to"]) for error in errors] == [
        (1, "UNREGISTERED", recipients[1]),
        (2, "USER_NOT_FOUND", recipients[2]),
    ]
    failed, unaddressable = errors
    assert re.fullmatch(NOTIFICATION_ID, failed["pushNotificationId"])
    assert unaddressable["pushNotificationId"] is None
    for error in errors:
        assert isinstance(error["code"], int)
        assert error["message"]
        assert error["retryable"] is False
        assert re.fullmatch(TIME, error["occurredAt"])
    stats = (await fetch(rest, location))["stats"]
    assert (stats["total"], stats["sent"], stats["failed"], stats["unaddressable"]) == (2, 1, 1, 1)


async def test_a_list_goes_on_page_by_page(rest: httpx.AsyncClient, version: str) -> None:
    recipients = [{"token": f"paged-{number}", "provider": "FCM"} for number in range(5)]
    location = await send(rest, {"to": recipients, "content": {"body": "Hello"}}, version)
    query = {"operationId": id_in(location), "pageSize": "2"}
    found: list[str] = []

    while True:
        response = await rest.get(f"{version}/PushNotifications", params=query)
        page = response.json()
        assert len(page["notifications"]) <= 2
        found += [notification["to"]["token"] for notification in page["notifications"]]
        again = await rest.get(f"{version}/PushNotifications", params=query | {"pageToken": page["pagination"]["self"]})
        assert again.json()["notifications"] == page["notifications"]
        if page["pagination"]["next"] is None:
            break
        query["pageToken"] = page["pagination"]["next"]

    assert sorted(found) == sorted(recipient["token"] for recipient in recipients)


async def test_both_versions_answer_alike(rest: httpx.AsyncClient) -> None:
    registration = await register(rest, "alike")
    location = await send(rest, {"to": [{"userId": registration["userId"]}], "content": {"body": "Hello"}})
    paths = [
        f"PushNotifications/DeviceRegistrations/{registration['id']}",
        f"PushNotifications/Users/{registration['userId']}",
        f"Users/{registration['userId']}",
        "PushNotifications/Apps/test_app",
        f"PushNotifications/Operations/{id_in(location)}",
        f"PushNotifications/Operations/{id_in(location)}/Errors",
        f"PushNotifications?operationId={id_in(location)}&pageSize=7",
        "PushNotifications/Apps/unknown",
        "PushNotifications/Users/malformed",
        "PushNotifications?pageSize=0",
        "PushNotifications/no/such/path",
    ]

    for path in paths:
        current, preview = [await rest.get(f"/{version}/{path}") for version in ("v1", "preview")]
        assert (preview.status_code, preview.json()) == (current.status_code, current.json()), path


async def test_a_repeated_request_has_one_effect(rest: httpx.AsyncClient, version: str) -> None:
    body = {"to": [{"token": "once", "provider": "FCM"}], "content": {"body": "Hello"}}
    key = {"Idempotency-Key": f"key of {version}"}

    first = await rest.post("/v1/PushNotifications", json=body, headers=key)
    second = await rest.post(f"{version}/PushNotifications", json=body, headers=key)
    other = await rest.post(f"{version}/PushNotifications", json=body | {"priority": "LOW"}, headers=key)

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 409)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_a_request_keeps_its_id(rest: httpx.AsyncClient, version: str) -> None:
    url = f"{version}/PushNotifications/Apps/test_app"

    assert (await rest.get(url, headers={"X-Request-Id": "mine-1"})).headers["x-request-id"] == "mine-1"
    assert (await rest.get(url)).headers["x-request-id"]
