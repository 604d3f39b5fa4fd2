"""How response messages become REST answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pharos.push.v1 import (
    device_registrations_pb2,
    operations_pb2,
    push_notifications_pb2,
    types_pb2,
    users_pb2,
)

from tests.contract.gateway_upstream import ACCEPTED, NOON, NOTIFICATION, OPERATION, USER, Upstream, rest

SENDS = "/v1/PushNotifications"


async def test_an_accepted_send_says_where_its_operation_is(client: httpx.AsyncClient) -> None:
    response = await client.post(SENDS, json={"to": []})
    where = f"http://push.test/v1/PushNotifications/Operations/{OPERATION}"
    assert response.status_code == 202
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Location"] == where
    assert response.json() == {"operationId": OPERATION, "operationLocation": where}


@pytest.mark.parametrize(
    ("public_url", "headers", "base"),
    [
        ("https://push.example/api", {}, "https://push.example/api"),
        ("", {"Host": "other.example:8080"}, "http://other.example:8080"),
        ("", {"Host": "[::1]:8080"}, "http://[::1]:8080"),
        ("", {"Host": 'evil"/<script>'}, "http://push.test"),
    ],
)
async def test_urls_begin_with_the_public_one_or_the_request_s_own(
    upstream: Upstream, public_url: str, headers: dict[str, str], base: str
) -> None:
    async with rest(upstream.target, public_url=public_url) as client:
        response = await client.post("/preview/PushNotifications", json={}, headers=headers)
    assert response.headers["Location"].startswith(f"{base}/v1/")
    assert response.json()["operationLocation"].startswith(f"{base}/v1/")


async def test_a_send_that_makes_nothing_is_200_and_leads_nowhere(
    upstream: Upstream, client: httpx.AsyncClient
) -> None:
    upstream.answers["SendPushNotification"] = push_notifications_pb2.SendPushNotificationResponse()
    response = await client.post(SENDS, json={"dryRun": True})
    assert response.status_code == 200
    assert "Location" not in response.headers
    assert upstream.request.dry_run


@pytest.mark.parametrize("replayed", [True, False])
async def test_a_replayed_answer_says_so(upstream: Upstream, client: httpx.AsyncClient, *, replayed: bool) -> None:
    async def answer(_: Any, context: Any) -> Any:
        if replayed:
            context.set_trailing_metadata((("idempotent-replayed", "true"),))
        return ACCEPTED

    upstream.answers["SendPushNotification"] = answer
    response = await client.post(SENDS, json={})
    assert response.headers.get("Idempotent-Replayed") == ("true" if replayed else None)


async def test_a_notification_is_written_as_documented(upstream: Upstream, client: httpx.AsyncClient) -> None:
    upstream.answers["GetPushNotification"] = push_notifications_pb2.GetPushNotificationResponse(
        push_notification=push_notifications_pb2.PushNotification(
            id=NOTIFICATION,
            sender=push_notifications_pb2.Sender(fcm="c1"),
            to=types_pb2.Recipient(
                token="t1", provider=types_pb2.PROVIDER_FCM, variables={"a": "x"}, variables_json=b'{"a": [1.0, "z"]}'
            ),
            status=types_pb2.DELIVERY_STATUS_SENT,
            content=push_notifications_pb2.Content(body="Hi"),
            created_at=NOON,
            devices=[push_notifications_pb2.DeviceResult(token="t1", status=types_pb2.DELIVERY_STATUS_SENT)],
        )
    )
    response = await client.get(f"/v1/PushNotifications/{NOTIFICATION}")
    assert '"variables":{"a": [1.0, "z"]}' in response.text
    assert response.json() == {
        "id": NOTIFICATION,
        "from": {"fcm": "c1"},
        "to": {"token": "t1", "provider": "FCM", "variables": {"a": [1.0, "z"]}},
        "status": "SENT",
        "content": {"body": "Hi"},
        "createdAt": "2026-03-01T12:00:00Z",
        "operationId": "",
        "tags": {},
        "devices": [{"token": "t1", "status": "SENT", "attempts": 0}],
    }


@pytest.mark.parametrize(
    ("path", "rpc", "answer", "expected"),
    [
        (
            f"/Users/{USER}",
            "GetUser",
            users_pb2.GetUserResponse(user=users_pb2.User(id=USER, created_at=NOON)),
            {"id": USER, "createdAt": "2026-03-01T12:00:00Z", "deletedAt": None},
        ),
        (
            "/Users",
            "ListUsers",
            users_pb2.ListUsersResponse(pagination=types_pb2.Pagination(self="s")),
            {"users": [], "pagination": {"next": None, "self": "s"}},
        ),
        (
            f"/Operations/{OPERATION}/Errors",
            "ListOperationErrors",
            operations_pb2.ListOperationErrorsResponse(errors=[operations_pb2.OperationError(recipient_index=3)]),
            {
                "errors": [
                    {"pushNotificationId": None, "recipientIndex": 3, "code": 0, "message": "", "retryable": False}
                ]
            },
        ),
        (
            f"/Operations/{OPERATION}",
            "GetOperation",
            operations_pb2.GetOperationResponse(operation=operations_pb2.Operation(id="o", status=3)),
            {"id": "o", "status": "COMPLETED"},
        ),
        (
            f"/Operations/{OPERATION}",
            "GetOperation",
            operations_pb2.GetOperationResponse(
                operation=operations_pb2.Operation.FromString(b"\x10\x63")  # a status from a newer service
            ),
            {"id": "", "status": 99},
        ),
        ("/Apps/shop/Stats", "GetAppStats", None, {"days": []}),
    ],
)
async def test_what_is_unset_is_left_out_zero_or_null_as_the_contract_says(
    upstream: Upstream, client: httpx.AsyncClient, path: str, rpc: str, answer: Any, expected: Any
) -> None:
    upstream.answers[rpc] = answer
    assert (await client.get(f"/v1/PushNotifications{path}")).json() == expected


async def test_a_listed_notification_has_no_devices(upstream: Upstream, client: httpx.AsyncClient) -> None:
    upstream.answers["ListPushNotifications"] = push_notifications_pb2.ListPushNotificationsResponse(
        notifications=[push_notifications_pb2.PushNotification(id=NOTIFICATION)]
    )
    response = await client.get(SENDS)
    assert response.json() == {"notifications": [{"id": NOTIFICATION, "operationId": "", "tags": {}}]}


async def test_a_batch_s_results_leave_out_what_is_empty(upstream: Upstream, client: httpx.AsyncClient) -> None:
    result = device_registrations_pb2.BatchRegisterDevicesResult
    upstream.answers["BatchRegisterDevices"] = device_registrations_pb2.BatchRegisterDevicesResponse(
        results=[result(resource_id="r"), result(error="no such app")]
    )
    response = await client.post("/v1/PushNotifications/DeviceRegistrations/Batch", json={"registrations": []})
    assert response.json() == {"results": [{"resourceId": "r"}, {"error": "no such app"}]}
