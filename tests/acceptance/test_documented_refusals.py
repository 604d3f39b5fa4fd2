"""What the documented API answers to what it can't do: which status, which code, and what is wrong where."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.acceptance.documented import UNKNOWN_SUFFIX, register
from tests.acceptance.stack import Stack
from tests.plain_http import TRUSTS_NOBODY

UNKNOWN = f"comms_operation_{UNKNOWN_SUFFIX}"
CONTENT = {"body": "Hello"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "context"),
    [
        ("GET", f"Operations/{UNKNOWN}", None, 404, 20404, None),
        ("GET", f"DeviceRegistrations/comms_device_registration_{UNKNOWN_SUFFIX}", None, 404, 20404, None),
        ("GET", "Apps/unknown", None, 404, 20404, None),
        ("GET", "Users/comms_user_short", None, 400, 20001, "$.userId"),
        ("GET", "?pageSize=1001", None, 400, 20001, "$.pageSize"),
        ("PUT", "", {}, 405, 20405, None),
        ("POST", "", {"to": [], "content": CONTENT}, 400, 20001, "$.to"),
        ("POST", "", {"to": [{"token": "t"}], "content": CONTENT}, 400, 20001, "$.to[0]"),
        (
            "POST",
            "",
            {"to": [{"token": "t", "provider": "FCM"}], "content": {"body": "{{ name"}},
            *(400, 20001, "$.content.body"),
        ),
        ("POST", "", {"to": [{"token": "t", "provider": "FCM"}], "contents": CONTENT}, 400, 20001, "$.contents"),
        (
            "POST",
            "DeviceRegistrations",
            {"token": "t", "provider": "FCM", "appName": "unknown"},
            *(400, 20001, "$.appName"),
        ),
        (
            "POST",
            "DeviceRegistrations",
            {"token": "t", "provider": "FCM", "userId": f"comms_user_{UNKNOWN_SUFFIX}"},
            *(400, 20001, "$.userId"),
        ),
        (
            "POST",
            "Credentials",
            {"credentialType": "FCM", "content": {"privateKey": "no base64!"}},
            *(400, 20001, "$.content.privateKey"),
        ),
    ],
)
async def test_a_refusal_says_what_is_wrong_and_where(
    rest: httpx.AsyncClient,
    version: str,
    method: str,
    path: str,
    body: Any,
    status: int,
    code: int,
    context: str | None,
) -> None:
    url = f"{version}/PushNotifications/{path}".rstrip("/").replace("/?", "?")

    refused = await rest.request(method, url, json=body)

    assert refused.status_code == status, refused.text
    document = refused.json()
    assert document["status"] == status
    [error] = document["errors"]
    assert (error["code"], error["context"]) == (code, context)
    assert error["message"]
    assert error["infoUrl"].startswith(str(rest.base_url))


async def test_who_is_nobody_gets_nothing(test_app: Stack, version: str) -> None:
    url = f"{version}/PushNotifications/Apps/test_app"
    account = test_app.variables["PHAROS_ACCOUNT_ID"]

    async with httpx.AsyncClient(base_url=test_app.url, timeout=60, verify=TRUSTS_NOBODY) as rest:
        answers = [await rest.get(url), await rest.get(url, auth=(account, "wrong"))]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert [error["code"] for error in answer.json()["errors"]] == [20003]


async def test_what_an_account_has_is_its_own(rest: httpx.AsyncClient, test_app: Stack, version: str) -> None:
    registration = await register(rest, f"private-{version}")
    path = f"{version}/PushNotifications/DeviceRegistrations/{registration['id']}"

    async with test_app.with_new_account().rest() as other:
        assert (await other.get(path)).status_code == 404
        refused = await other.post(f"{version}/PushNotifications", json={"to": [{"token": "t", "provider": "FCM"}]})

    assert refused.status_code == 400, "an account without an app can't send"


async def test_a_token_needs_a_credential_of_its_provider(
    rest: httpx.AsyncClient, test_app: Stack, version: str
) -> None:
    app_name = f"apple_only_{version[1:]}"
    test_app.upload_credentials(app_name, "APN")
    recipients = [{"token": "ab" * 32, "provider": "APN"}, {"token": "t", "provider": "FCM"}]

    refused = await rest.post(
        f"{version}/PushNotifications", json={"from": {"appName": app_name}, "to": recipients, "content": CONTENT}
    )

    assert refused.status_code == 400
    assert [error["context"] for error in refused.json()["errors"]] == ["$.to[1].provider"]


@pytest.mark.parametrize(
    ("body", "contexts"),
    [
        (
            {"to": [{"token": "x"}], "content": {"body": "h"}, "foo": 1, "ttl": "5"},
            {"$.foo", "$.ttl", "$.to[0]"},
        ),
        (
            {
                "to": [{"token": 1, "provider": "FCM"}, {"token": "", "provider": "FCM"}, {"userId": "me"}],
                "content": {"body": "h"},
                "priority": "high",
                "ttl": -1,
                "badge": -1,
                "color": "red",
                "relevanceScore": 2,
                "schedule": {"sendAt": "tomorrow"},
                "data": {"a": 1, "b": "2"},
                "tags": {"a b": "c"},
            },
            {
                *("$.to[0].token", "$.to[1].token", "$.to[2].userId", "$.priority", "$.ttl", "$.badge", "$.color"),
                *("$.relevanceScore", "$.schedule.sendAt", "$.data.a", '$.tags["a b"]'),
            },
        ),
        (
            {"to": [{"token": "t", "provider": "FCM", "userId": "u"}], "content": {"body": ["h"]}, "badge": -1},
            {"$.to[0]", "$.content.body", "$.badge"},
        ),
        ({"to": "everybody", "content": {"body": "h"}, "ttl": -1}, {"$.to", "$.ttl"}),
    ],
)
async def test_wrong_types_and_broken_rules_are_told_together(
    rest: httpx.AsyncClient, version: str, body: dict[str, Any], contexts: set[str]
) -> None:
    refused = await rest.post(f"{version}/PushNotifications", json=body)

    assert refused.status_code == 400
    errors = refused.json()["errors"]
    assert {error["context"] for error in errors} == contexts
    assert len(errors) == len(contexts), "each is told once"


async def test_a_malformed_request_with_wrong_credentials_is_not_looked_into(rest: httpx.AsyncClient) -> None:
    refused = await rest.post("/v1/PushNotifications", json={"ttl": "5"}, auth=("AC" + "0" * 32, "wrong"))

    assert refused.status_code == 401


async def test_filters_that_break_rules_and_mean_nothing_are_told_together(rest: httpx.AsyncClient) -> None:
    query = {"pageSize": "0", "tags": "abc", "user": "q", "startDate": "2026-01-02T00:00:00Z"}

    refused = await rest.get("/v1/PushNotifications", params={**query, "endDate": "2026-01-01T00:00:00Z"})

    contexts = {error["context"] for error in refused.json()["errors"]}
    assert contexts == {"$.pageSize", "$.tags", "$.user", "$.endDate"}

    refused = await rest.get("/v1/PushNotifications", params={**query, "status": "BAD", "pageSize": "x", "y": "z"})

    contexts = {error["context"] for error in refused.json()["errors"]}
    assert contexts == {"$.pageSize", "$.tags", "$.user", "$.status", None}
