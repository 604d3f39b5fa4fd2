"""How a REST request becomes a request message, and which ones do not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import (
    credentials_pb2,
    device_registrations_pb2,
    push_notifications_pb2,
    types_pb2,
)

from tests.contract.gateway_upstream import NOON, OPERATION, REGISTRATION, USER, Upstream

SENDS = "/v1/PushNotifications"


async def test_a_send_arrives_as_it_was_written(upstream: Upstream, client: httpx.AsyncClient) -> None:
    sent = {
        "to": [
            {"token": "t1", "provider": "FCM", "variables": {"name": "Zoë", "list": [1, 2.5, None, {"a": True}]}},
            {"userId": USER, "variables": None},
        ],
        "from": {"appName": "shop"},
        "content": {"title": "", "body": "Hi {{ name }}"},
        "priority": "LOW",
        "badge": 0,
        "ttl": 60,
        "relevanceScore": 0.5,
        "contentAvailable": True,
        "data": {"k": "v"},
        "schedule": {"sendAt": "2026-03-01T13:00:00+01:00"},
        "overrides": {"apn": {"aps": {}}},
        "interruptionLevel": "TIME_SENSITIVE",
        "sound": None,
    }
    response = await client.post(SENDS, json=sent, headers={"Idempotency-Key": "key 1"})
    assert response.status_code == 202
    assert upstream.request == push_notifications_pb2.SendPushNotificationRequest(
        to=[
            types_pb2.Recipient(
                token="t1",
                provider=types_pb2.PROVIDER_FCM,
                variables_json='{"name":"Zoë","list":[1,2.5,null,{"a":true}]}'.encode(),
            ),
            types_pb2.Recipient(user_id=USER),
        ],
        sender=push_notifications_pb2.Sender(app_name="shop"),
        content=push_notifications_pb2.Content(title="", body="Hi {{ name }}"),
        priority=push_notifications_pb2.PRIORITY_LOW,
        badge=0,
        ttl=60,
        relevance_score=0.5,
        content_available=True,
        data={"k": "v"},
        schedule=push_notifications_pb2.Schedule(send_at=Timestamp(seconds=NOON.seconds)),
        overrides=push_notifications_pb2.Overrides(apn_json=b'{"aps":{}}'),
        interruption_level=push_notifications_pb2.INTERRUPTION_LEVEL_TIME_SENSITIVE,
        request_id="key 1",
    )


@pytest.mark.parametrize("headers", [[("Idempotency-Key", "")], [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]])
async def test_an_idempotency_key_is_one_text_or_absent(
    upstream: Upstream, client: httpx.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    response = await client.post(SENDS, content=b"{}", headers=[("Content-Type", "application/json"), *headers])
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["errors"][0]["message"]
    assert not upstream.calls


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"to":[{},{},{},{"userId":7}]}', [("$.to[3].userId", "Expected `str`, got `int`")]),
        (b'{"to":{}}', [("$.to", "Expected `array`, got `object`")]),
        (b'{"to":[null]}', [("$.to[0]", "Expected `object`, got `null`")]),
        (b'{"to":[{"provider":"SMS"}]}', [("$.to[0].provider", "Expected one of FCM, APN")]),
        (b'{"to":[{"provider":"PROVIDER_FCM"}]}', [("$.to[0].provider", "Expected one of FCM, APN")]),
        (b'{"to":[{"provider":1}]}', [("$.to[0].provider", "Expected one of FCM, APN")]),
        (b'{"to":[{"variables":[]}]}', [("$.to[0].variables", "Expected `object`, got `array`")]),
        (b'{"to":[{"token":"a","userId":"b"}]}', [("$.to[0]", "Only one of token, userId may be given")]),
        (b'{"badge":1.5}', [("$.badge", "Expected `int`, got `float`")]),
        (b'{"badge":2147483648}', [("$.badge", "Expected `int` <= 2147483647")]),
        (b'{"badge":true}', [("$.badge", "Expected `int`, got `bool`")]),
        (b'{"data":{"a b":1}}', [("$.data['a b']", "Expected `str`, got `int`")]),
        (b'{"schedule":{"sendAt":"tomorrow"}}', [("$.schedule.sendAt", "Invalid RFC3339 encoded datetime")]),
        (
            b'{"schedule":{"sendAt":"2026-03-01T12:00:00"}}',
            [("$.schedule.sendAt", "Expected `datetime` with a timezone component")],
        ),
        (b'{"schedule":{"sendAt":"0001-01-01T00:00:00+14:00"}}', [("$.schedule.sendAt", "Out of range")]),
        (b'{"requestId":"k"}', [("$.requestId", "Unknown field `requestId`")]),
        (b'{"sender":{}}', [("$.sender", "Unknown field `sender`")]),
        (b'{"to":[{"variablesJson":""}]}', [("$.to[0].variablesJson", "Unknown field `variablesJson`")]),
        (
            b'{"x":1,"to":[{"a b":2,"token":3}]}',
            [
                ("$.x", "Unknown field `x`"),
                ("$.to[0]['a b']", "Unknown field `a b`"),
                ("$.to[0].token", "Expected `str`, got `int`"),
            ],
        ),
        (b"[]", [("$", "Expected `object`, got `array`")]),
        (b"{", [("$", "The body is not valid JSON: Input data was truncated")]),
        (b"", [("$", "The body is empty; it should be a JSON object")]),
        (b'{"sound":"a\\u0000b"}', [("$", "The character U+0000 is not allowed")]),
        (b'{"to":[{"variables":{"a":"\\\\\\u0000"}}]}', [("$", "The character U+0000 is not allowed")]),
        (b'{"sound":"\x00"}', [("$", "The character U+0000 is not allowed")]),
        (b'{"to":[{"variables":{"a":"\xff"}}]}', [("$", "The body is not UTF-8 (byte 26)")]),
        (b"[" * 100_000 + b"]" * 100_000, [("$", "The JSON is nested too deeply")]),
        (
            b'{"to":[{"variables":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}",
            [("$", "The JSON is nested too deeply")],
        ),
    ],
)
async def test_a_wrong_body_is_400_and_says_where(
    upstream: Upstream, client: httpx.AsyncClient, body: bytes, expected: list[tuple[str, str]]
) -> None:
    response = await client.post(SENDS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    document = response.json()
    assert [(error["context"], error["message"]) for error in document["errors"]] == expected
    assert {error["code"] for error in document["errors"]} == {20001}
    assert document["errors"][0]["infoUrl"].startswith("http://push.test/")
    assert document["status"] == 400
    assert not upstream.calls


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800\\u0041", "\\\\\\ud800"])
@pytest.mark.parametrize("body", ['{{"sound":"{}"}}', '{{"to":[{{"variables":{{"a":"{}"}}}}]}}'])
async def test_a_lone_surrogate_is_400(client: httpx.AsyncClient, body: str, escape: str) -> None:
    response = await client.post(SENDS, content=body.format(escape), headers={"Content-Type": "application/json"})
    assert response.status_code == 400


async def test_an_escaped_backslash_before_u0000_is_text(upstream: Upstream, client: httpx.AsyncClient) -> None:
    body = b'{"sound":"\\\\u0000 \\ud83d\\ude00"}'
    response = await client.post(SENDS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 202
    assert upstream.request.sound == "\\u0000 \N{GRINNING FACE}"


async def test_no_more_than_50_problems_are_listed(client: httpx.AsyncClient) -> None:
    response = await client.post(SENDS, json={"to": [{"token": 1}] * 60})
    assert len(response.json()["errors"]) == 50


async def test_what_the_path_says_is_no_field_of_the_body(upstream: Upstream, client: httpx.AsyncClient) -> None:
    path = "/v1/PushNotifications/Apps/shop"
    refused = await client.patch(path, json={"appName": "other", "isDefault": True})
    assert refused.json()["errors"][0]["message"] == "Unknown field `appName`"
    assert (await client.patch(path, json={"isDefault": False})).status_code == 202
    assert upstream.request.app_name == "shop"
    assert upstream.request.HasField("is_default")
    assert not upstream.request.is_default


async def test_an_empty_text_does_not_stand_for_an_absent_one(upstream: Upstream, client: httpx.AsyncClient) -> None:
    path = "/v1/PushNotifications/DeviceRegistrations"
    device = {"token": "t", "provider": "FCM", "appName": "", "userId": ""}
    one = await client.post(path, json=device)
    batch = await client.post(f"{path}/Batch", json={"registrations": [device]})
    for response, start in ((one, "$"), (batch, "$.registrations[0]")):
        assert response.status_code == 400
        found = [(error["context"], error["message"]) for error in response.json()["errors"]]
        assert found == [(f"{start}.{name}", "Expected `str` of length >= 1") for name in ("appName", "userId")]
    assert not upstream.calls


async def test_a_header_field_of_an_item_is_unknown_in_the_body(client: httpx.AsyncClient) -> None:
    body = {"registrations": [{"token": "t", "requestId": "k"}]}
    response = await client.post("/v1/PushNotifications/DeviceRegistrations/Batch", json=body)
    assert response.json()["errors"][0]["context"] == "$.registrations[0].requestId"


async def test_query_parameters_arrive_typed(upstream: Upstream, client: httpx.AsyncClient) -> None:
    parameters = {
        "operationId": OPERATION,
        "status": "FAILED",
        "provider": "APN",
        "tags": "k:v;k2:v 2;",
        "startDate": "2026-03-01T14:00:00+02:00",
        "pageSize": "7",
        "pageToken": '"1"',
    }
    assert (await client.get(SENDS, params=parameters)).status_code == 200
    assert upstream.request == push_notifications_pb2.ListPushNotificationsRequest(
        operation_id=OPERATION,
        status=types_pb2.DELIVERY_STATUS_FAILED,
        provider=types_pb2.PROVIDER_APN,
        tags="k:v;k2:v 2;",
        start_date=Timestamp(seconds=NOON.seconds),
        page_size=7,
        page_token='"1"',
    )


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
async def test_a_bool_parameter_is_true_or_false(
    upstream: Upstream, client: httpx.AsyncClient, text: str, *, value: bool
) -> None:
    await client.get("/v1/PushNotifications/Credentials", params={"isDefault": text})
    assert upstream.request == credentials_pb2.ListCredentialsRequest(is_default=value)


async def test_a_delete_takes_its_parameters_from_the_query(upstream: Upstream, client: httpx.AsyncClient) -> None:
    path = f"/v1/PushNotifications/DeviceRegistrations/{REGISTRATION}"
    assert (await client.delete(path, params={"provider": "FCM", "token": "a+b"})).status_code == 202
    assert upstream.request == device_registrations_pb2.DeleteDeviceRegistrationRequest(
        device_registration_id=REGISTRATION, provider=types_pb2.PROVIDER_FCM, token="a+b"
    )


@pytest.mark.parametrize(
    ("query", "context", "message"),
    [
        ("pagesize=5", None, "Unknown query parameter `pagesize`"),
        ("page_size=5", None, "Unknown query parameter `page_size`"),
        ("pageSize=x", "$.pageSize", "Expected `int`, got `str`"),
        ("pageSize=", "$.pageSize", "Expected a value without blanks"),
        ("pageToken=", "$.pageToken", "Expected `str` of length >= 1"),
        ("pageSize=99999999999", "$.pageSize", "Expected `int` <= 2147483647"),
        ("status=failed", "$.status", "Expected one of SCHEDULED, PROCESSING, COMPLETED, CANCELED"),
        ("status=FAILED", "$.status", "Expected one of SCHEDULED, PROCESSING, COMPLETED, CANCELED"),
        ("pageSize=1&pageSize=2", "$.pageSize", "The query parameter `pageSize` is given twice"),
        ("startDate=2026-03-01", "$.startDate", "Invalid RFC3339 encoded datetime"),
        ("pageToken=%00", None, "The character U+0000 is not allowed"),
        ("pageToken=%ff", None, "The query string is not valid"),
        ("&".join(["pageToken=a"] * 201), None, "The query string is not valid"),
    ],
)
async def test_a_wrong_query_is_400_and_says_where(
    upstream: Upstream, client: httpx.AsyncClient, query: str, context: str | None, message: str
) -> None:
    response = await client.get(f"/v1/PushNotifications/Operations?{query}")
    assert response.status_code == 400
    error = response.json()["errors"][0]
    assert error["context"] == context
    assert error["message"] == message
    assert not upstream.calls


async def test_a_status_that_no_push_notification_has_is_no_filter(client: httpx.AsyncClient) -> None:
    [error] = (await client.get(SENDS, params={"status": "UNADDRESSABLE"})).json()["errors"]
    assert error["context"] == "$.status"
    assert error["message"] == "Expected one of SCHEDULED, QUEUED, SENT, FAILED, CANCELED"


async def test_a_method_with_a_body_has_no_query(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{SENDS}?dryRun=true", json={})
    assert response.json()["errors"][0]["message"] == "Unknown query parameter `dryRun`"


@pytest.mark.parametrize(
    ("body", "sound"),
    [
        ({"to": [{"token": "a", "provider": 1}], "ttl": 5, "x": 1}, {"to": [{"token": "a"}], "ttl": 5}),
        ({"to": [{"token": "a"}, None, 7, {"userId": "u"}]}, {"to": [{"token": "a"}, {}, {}, {"user_id": "u"}]}),
        ({"to": [{"token": "a", "userId": "u", "variables": {"n": 1}}]}, {"to": [{"variables_json": b'{"n":1}'}]}),
        ({"data": {"a": 1, "b": "2"}, "sound": None, "badge": "3"}, {"data": {"b": "2"}}),
        ({"content": {"title": 1, "body": "b"}, "from": 5}, {"content": {"body": "b"}}),
        ({"to": {}, "schedule": {"sendAt": "never"}}, {"schedule": {}}),
    ],
)
async def test_the_sound_part_of_a_malformed_body_is_checked_and_never_carried_out(
    upstream: Upstream, client: httpx.AsyncClient, body: dict[str, Any], sound: dict[str, Any]
) -> None:
    assert (await client.post("/v1/PushNotifications", json=body)).status_code == 400
    assert upstream.calls == []
    assert upstream.checked == [push_notifications_pb2.SendPushNotificationRequest(**sound)]
