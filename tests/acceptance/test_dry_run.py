"""Dry runs: what would happen, with nothing stored and nothing sent."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.acceptance.documented import UNKNOWN_SUFFIX, fetch, register
from tests.acceptance.sandbox_port import SandboxPort

NOBODY = f"comms_pushnotificationuser_{UNKNOWN_SUFFIX}"


async def test_a_dry_run_says_what_would_happen(rest: httpx.AsyncClient, sandbox: SandboxPort, version: str) -> None:
    user = (await register(rest, f"dry-user-{version[1:]}"))["userId"]
    body = {
        "to": [
            {"token": "dry-token", "provider": "FCM", "variables": {"name": "Ada"}},
            {"token": "ab" * 32, "provider": "APN", "variables": {"name": "é" * 3000}},
            {"userId": user},
            {"userId": NOBODY},
            {"token": "dry-broken", "provider": "FCM", "variables": {"name": "x", "n": 100_000}},
        ],
        "content": {"title": "For {{ name }}", "body": "Hello{% for i in (1..n) %}.{% endfor %}"},
        "dryRun": True,
    }
    before = await fetch(rest, "/v1/PushNotifications?pageSize=1")

    answer = await rest.post(f"{version}/PushNotifications", json=body, headers={"Idempotency-Key": "dry"})

    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert answer.json().keys() == {"dryRun"}
    report = answer.json()["dryRun"]
    counts = ("recipients", "resolved", "unaddressable", "unrenderable")
    assert [report[name] for name in counts] == [5, 4, 1, 1]
    apn, fcm = report["providers"]
    assert (apn["provider"], apn["messages"], apn["limitBytes"], apn["fits"]) == ("APN", 1, 4096, False)
    assert apn["largestBytes"] > 6000
    assert (fcm["provider"], fcm["messages"], fcm["fits"]) == ("FCM", 2, True)
    assert [(each["recipientIndex"], each["provider"], each["token"]) for each in report["examples"]] == [
        (0, "FCM", "dry-token"),
        (1, "APN", "ab" * 32),
        (2, "FCM", f"dry-user-{version[1:]}"),
    ]
    assert report["examples"][0]["message"]["message"]["notification"] == {"title": "For Ada", "body": "Hello"}
    assert report["examples"][1]["message"]["aps"]["alert"]["title"] == "For " + "é" * 3000
    assert [(each["recipientIndex"], each["reason"]) for each in report["problems"]] == [
        (1, "PAYLOAD_TOO_LARGE"),
        (3, "USER_NOT_FOUND"),
        (4, "RENDER_ERROR"),
    ]
    assert await fetch(rest, "/v1/PushNotifications?pageSize=1") == before, "nothing was stored"
    assert await sandbox.pushes(["dry-token", f"dry-user-{version[1:]}"]) == {}, "nothing was sent"


async def test_a_dry_run_shows_ten_examples_of_10_000(rest: httpx.AsyncClient) -> None:
    to = [{"token": f"many-{number}", "provider": "FCM", "variables": {"n": number}} for number in range(10_000)]
    answer = await rest.post(
        "/v1/PushNotifications", json={"to": to, "content": {"body": "No {{ n }}"}, "dryRun": True}
    )
    assert answer.status_code == 200
    report = answer.json()["dryRun"]
    assert report["resolved"] == 10_000
    assert [each["recipientIndex"] for each in report["examples"]] == list(range(10))
    assert report["providers"][0]["largestBytes"] == len("No 9999") + len("pharosPushId") + 36


async def test_a_dry_run_is_refused_like_a_send(rest: httpx.AsyncClient) -> None:
    body = {"to": [{"token": "t", "provider": "APN"}], "content": {"body": "{{ x | nope }}"}, "dryRun": True}
    answer = await rest.post("/v1/PushNotifications", json=body)
    assert answer.status_code == 400
    assert {error["context"] for error in answer.json()["errors"]} == {"$.content.body", "$.to[0].token"}


async def test_overrides_reach_the_device(rest: httpx.AsyncClient, sandbox: SandboxPort) -> None:
    body = {
        "to": [{"token": "overridden", "provider": "FCM"}, {"token": "cd" * 32, "provider": "APN"}],
        "content": {"body": "Hello"},
        "overrides": {
            "fcm": {"android": {"notification": {"color": "#112233"}}},
            "apn": {"aps": {"badge": 7}, "extra": {"a": [1, None]}},
        },
    }
    report = (await rest.post("/v1/PushNotifications", json=body | {"dryRun": True})).json()["dryRun"]
    accepted = await rest.post("/v1/PushNotifications", json=body)
    await rest.get(f"{accepted.headers['location']}/Events")
    pushes = await sandbox.pushes(["overridden", "cd" * 32])
    [fcm], [apn] = pushes["overridden"], pushes["cd" * 32]
    assert fcm.body["message"]["android"]["notification"]["color"] == "#112233"
    assert (apn.body["aps"]["badge"], apn.body["extra"]) == (7, {"a": [1, None]})
    nobody = "00000000-0000-0000-0000-000000000000"
    shown = [str(example["message"]).replace(nobody, "id") for example in report["examples"]]
    assert shown == [str(push.body).replace(push.push_id, "id") for push in (fcm, apn)], "a dry run showed the same"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("overrides", "problems"),
    [
        ({"fcm": {"token": "other", "topic": "all", "condition": "x"}}, ["token", "topic", "condition"]),
        ({"fcm": {"message": {"notification": {"title": "Hi"}}}}, ["message"]),
        ({"fcm": {"name": "x", "to": "y", "Notification": {}}}, ["name", "to", "Notification"]),
        ({"fcm": {"android": "x", "fcm_options": {}, "fcmOptions": {}}}, ["android", "fcmOptions"]),
        ({"fcm": {"data": ["a"], "webpush": {"data": "a"}}}, ["data must", "webpush.data must"]),
        ({"fcm": {"data": 1, "android": {"data": False}}}, ["data must", "android.data must"]),
        ({"fcm": {"data": {"n": 1}, "android": {"data": {"n": {}}}}}, ["data must", "android.data must"]),
        ({"fcm": {"data": {"from": "a", "google.x": "b", "pharosPushId": "c"}}}, ["data: "] * 3),
        ({"fcm": {"webpush": {"data": {"gcm.x": "b", "fine": "c"}}}}, ["webpush.data: gcm.x"]),
        ({"apn": {"aps": 1, "pharosPushId": "x"}}, ["aps", "pharosPushId"]),
        ({"apn": {"aps": None}}, ["aps"]),
    ],
)
async def test_overrides_that_can_not_work_are_refused(
    rest: httpx.AsyncClient, overrides: dict[str, Any], problems: list[str], *, dry_run: bool
) -> None:
    """They would send to somebody else, or fail every recipient."""
    to = [{"token": "t", "provider": "FCM"}]
    body = {"to": to, "content": {"body": "Hello"}, "overrides": overrides, "dryRun": dry_run}
    answer = await rest.post("/v1/PushNotifications", json=body)
    assert answer.status_code == 400
    [provider] = overrides
    found = [(error["context"], error["message"]) for error in answer.json()["errors"]]
    for problem, (context, message) in zip(problems, found, strict=True):
        assert context == f"$.overrides.{provider}"
        assert message.startswith(problem)
