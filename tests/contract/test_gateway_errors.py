"""What a REST caller sees of calls that fail, and what nobody may see."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.logs import JsonLines
from tests.contract.gateway_upstream import OPERATION, Upstream, rest

SENDS = "/v1/PushNotifications"
CANCEL = f"/v1/PushNotifications/Operations/{OPERATION}/Cancel"


def failure(code: str, message: str, *details: Message) -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(Packed())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


def reason(name: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=name, domain="push.pharos")


def retry_in(seconds: int, nanos: int = 0) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos))


def violations(*fields: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[violation(field=field, description=f"wrong: {field}") for field in fields]
    )


@pytest.mark.parametrize(
    ("error", "status", "code", "message", "retry_after"),
    [
        (failure("INVALID_ARGUMENT", "bad"), 400, 20001, "bad", None),
        (failure("OUT_OF_RANGE", "bad"), 400, 20001, "bad", None),
        (failure("UNAUTHENTICATED", "who?", reason("ERROR_REASON_UNAUTHENTICATED")), 401, 20003, "who?", None),
        (failure("PERMISSION_DENIED", "no", reason("FORBIDDEN")), 403, 20403, "no", None),
        (failure("NOT_FOUND", "no such operation"), 404, 20404, "no such operation", None),
        (failure("FAILED_PRECONDITION", "it is complete", reason("CONFLICT")), 409, 20409, "it is complete", None),
        (failure("ALREADY_EXISTS", "another request"), 409, 20409, "another request", None),
        (failure("ABORTED", "still running", retry_in(2)), 409, 20409, "still running", "2"),
        (
            failure("RESOURCE_EXHAUSTED", "slow down", reason("RATE_LIMITED"), retry_in(1, 1)),
            429,
            20429,
            "slow down",
            "2",
        ),
        (failure("RESOURCE_EXHAUSTED", "too big", reason("ERROR_REASON_TOO_LARGE")), 413, 20413, "too big", None),
        (failure("UNIMPLEMENTED", "not yet", reason("UNIMPLEMENTED")), 501, 20501, "not yet", None),
        (failure("UNAVAILABLE", "soon", reason("UNAVAILABLE"), retry_in(5)), 503, 20503, "soon", "5"),
    ],
)
async def test_a_failed_call_has_its_status_code_and_text(
    upstream: Upstream,
    client: httpx.AsyncClient,
    error: status_pb2.Status,
    status: int,
    code: int,
    message: str,
    retry_after: str | None,
) -> None:
    upstream.answers["CancelOperation"] = error
    response = await client.post(CANCEL)
    assert response.status_code == status
    assert response.json() == {
        "errors": [
            {"code": code, "message": message, "infoUrl": f"http://push.test/docs/errors#{code}", "context": None}
        ],
        "status": status,
    }
    assert response.headers.get("Retry-After") == retry_after
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (failure("INTERNAL", "SELECT secret", reason("INTERNAL")), 500),
        (failure("UNKNOWN", "SELECT secret", reason("INTERNAL")), 500),
        (failure("DATA_LOSS", "secret"), 500),
        (failure("UNAVAILABLE", "connect to secret:5432 failed"), 503),
        (failure("UNAUTHENTICATED", "secret"), 401),
        (failure("PERMISSION_DENIED", "secret"), 403),
        (failure("RESOURCE_EXHAUSTED", "secret"), 429),
        (failure("CANCELLED", "secret"), 503),
        (failure("DEADLINE_EXCEEDED", "secret"), 504),
        (failure("UNIMPLEMENTED", "secret", error_details_pb2.ErrorInfo(reason="X", domain="other")), 501),
    ],
)
async def test_texts_that_are_not_for_callers_do_not_pass(
    upstream: Upstream,
    client: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    error: status_pb2.Status,
    status: int,
) -> None:
    upstream.answers["CancelOperation"] = error
    with caplog.at_level(logging.DEBUG):
        response = await client.post(CANCEL, headers={"X-Request-Id": "r1"})
    assert response.status_code == status
    assert "secret" not in response.text
    assert ("Retry-After" in response.headers) == (status == 503)
    logged = "".join(JsonLines().format(record) for record in caplog.records if record.name.startswith("gateway"))
    assert "secret" not in logged
    assert ('"request_id":"r1"' in logged) == (status >= 500)


@pytest.mark.parametrize(("details", "shown"), [([], "r1"), ([error_details_pb2.RequestInfo(request_id="s-9")], "s-9")])
async def test_an_internal_error_has_the_request_id_and_nothing_else(
    upstream: Upstream, client: httpx.AsyncClient, details: list[Message], shown: str
) -> None:
    upstream.answers["CancelOperation"] = failure("INTERNAL", "boom", *details)
    response = await client.post(CANCEL, headers={"X-Request-Id": "r1"})
    [error] = response.json()["errors"]
    assert error["message"] == f"Something went wrong on our side. Request: {shown}"
    assert error["context"] is None
    assert response.headers["X-Request-Id"] == "r1"


async def test_each_violation_is_an_error_at_its_json_path(upstream: Upstream, client: httpx.AsyncClient) -> None:
    expected = {
        "to[3].token": "$.to[3].token",
        "to[3].user_id": "$.to[3].userId",
        "to[2].target": "$.to[2]",
        "to[1].variables_json": "$.to[1].variables",
        "to[1].variables['a.b]']": "$.to[1].variables['a.b]']",
        'data["a b"]': '$.data["a b"]',
        "sender.fcm": "$.from.fcm",
        "schedule.send_at": "$.schedule.sendAt",
        "overrides.fcm_json": "$.overrides.fcm",
        "request_id": None,
        "new_field.inside": "$",
        "": "$",
    }
    upstream.answers["SendPushNotification"] = failure("INVALID_ARGUMENT", "bad", violations(*expected))
    response = await client.post(SENDS, json={})
    assert [error["context"] for error in response.json()["errors"]] == list(expected.values())
    messages = [error["message"] for error in response.json()["errors"]]
    assert messages[0] == "wrong: to[3].token"
    assert messages[9] == "Idempotency-Key: wrong: request_id"


async def test_a_violation_in_credential_content_has_the_documented_path(
    upstream: Upstream, client: httpx.AsyncClient
) -> None:
    upstream.answers["CreateCredential"] = failure("INVALID_ARGUMENT", "bad", violations("content.private_key"))
    response = await client.post("/v1/PushNotifications/Credentials", json={})
    assert response.json()["errors"][0]["context"] == "$.content.privateKey"


async def test_50_long_violations_arrive_and_no_more_are_shown(upstream: Upstream, client: httpx.AsyncClient) -> None:
    # 40 kB of trailers: the limit that gRPC sets by itself is 8 KiB.
    upstream.answers["SendPushNotification"] = failure(
        "INVALID_ARGUMENT", "bad", violations(*[f"to[{index}].{'x' * 300}" for index in range(60)])
    )
    response = await client.post(SENDS, json={})
    assert response.status_code == 400
    assert len(response.json()["errors"]) == 50


async def test_details_that_cannot_be_read_are_ignored(upstream: Upstream, client: httpx.AsyncClient) -> None:
    broken = failure("NOT_FOUND", "no such user")
    broken.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    upstream.answers["CancelOperation"] = broken
    response = await client.post(CANCEL)
    assert (response.status_code, response.json()["errors"][0]["message"]) == (404, "no such user")


async def test_a_service_that_does_not_answer_is_504(upstream: Upstream) -> None:
    cancelled = asyncio.Event()

    async def hang(_: Any, context: Any) -> Any:
        context.add_done_callback(lambda _: cancelled.set())
        await asyncio.Event().wait()

    upstream.answers["CancelOperation"] = hang
    async with rest(upstream.target, call_timeout=0.1) as client:
        response = await client.post(CANCEL)
    assert response.status_code == 504
    assert response.json()["errors"][0]["code"] == 20504
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_a_service_that_is_away_is_503_until_it_is_back() -> None:
    async with Upstream() as first:
        port = int(first.target.rpartition(":")[2])
    async with rest(first.target) as client:
        away = await client.get(SENDS)
        assert away.status_code == 503
        assert away.headers["Retry-After"] == "1"
        assert "127.0.0.1" not in away.text
        async with Upstream(port), asyncio.timeout(10):
            while (await client.get(SENDS)).status_code != 200:
                pass


async def test_an_answer_over_the_message_limit_is_not_the_callers_fault_in_words(
    upstream: Upstream, client: httpx.AsyncClient
) -> None:
    async def abort(_: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (1 vs. 0)")

    upstream.answers["CancelOperation"] = abort
    response = await client.post(CANCEL)
    assert "larger than max" not in response.text


async def test_a_fault_of_the_gateway_itself_is_a_plain_500(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("token-of-a-user")

    monkeypatch.setattr("gateway.requests.RequestReader.read", broken)
    response = await client.post(SENDS, json={}, headers={"X-Request-Id": "r1"})
    assert response.status_code == 500
    assert response.json()["errors"][0]["message"] == "Something went wrong on our side. Request: r1"
    logged = [JsonLines().format(record) for record in caplog.records if record.name == "gateway.edge"]
    assert len(logged) == 1
    assert "RuntimeError" in logged[0]
    assert "token-of-a-user" not in logged[0] + response.text
