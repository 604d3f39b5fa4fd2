from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from pharos.push.v1.device_registrations_pb2 import Device, RegisterDeviceRequest, RegisterDeviceResponse
from pharos.push.v1.operations_pb2 import (
    GetOperationResponse,
    ListOperationsRequest,
    ListOperationsResponse,
    Operation,
)
from pharos.push.v1.push_notifications_pb2 import SendPushNotificationRequest, SendPushNotificationResponse
from pharos.push.v1.types_pb2 import Pagination, Provider, Recipient

from client.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PushError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from client.push_client import PushClient

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"


def an_operation(operation_id: str = OPERATION_ID) -> Operation:
    return Operation(id=operation_id)


async def test_every_call_is_authenticated_with_the_account(service: Any, client: PushClient) -> None:
    service.answers.append(GetOperationResponse(operation=an_operation()))
    service.streams.append([service.refuse(grpc.StatusCode.NOT_FOUND)])

    operation = await client.get_operation(OPERATION_ID)
    with pytest.raises(NotFoundError):
        async for _ in client.watch(operation_id=OPERATION_ID):
            pass

    assert operation.id == OPERATION_ID
    expected = "Basic " + base64.b64encode(b"comms_account_1:token-of-the-test").decode()
    assert [metadata["authorization"] for metadata in service.metadata] == [expected, expected]


async def test_a_refused_request_names_its_fields(service: Any, client: PushClient) -> None:
    info = error_details_pb2.ErrorInfo(reason="ERROR_REASON_INVALID_ARGUMENT", domain="push.pharos")
    violation = error_details_pb2.BadRequest.FieldViolation(field="to[3].token", description="is not hexadecimal")
    request = error_details_pb2.BadRequest(field_violations=[violation])
    service.answers.append(service.refuse(grpc.StatusCode.INVALID_ARGUMENT, "1 problem", info, request))

    with pytest.raises(InvalidArgumentError) as raised:
        await client.send(SendPushNotificationRequest())

    assert raised.value.reason == "INVALID_ARGUMENT"
    assert [(each.field, each.description) for each in raised.value.violations] == [
        ("to[3].token", "is not hexadecimal")
    ]
    assert str(raised.value) == "INVALID_ARGUMENT: 1 problem\n  to[3].token: is not hexadecimal"


async def test_an_error_says_when_to_come_back_and_what_to_quote(service: Any, client: PushClient) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=7, nanos=500_000_000))
    about = error_details_pb2.RequestInfo(request_id="request-1")
    service.answers.append(service.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", retry, about))

    with pytest.raises(RateLimitedError) as raised:
        await client.get_operation(OPERATION_ID)

    assert raised.value.retry_after == 7.5
    assert raised.value.request_id == "request-1"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, UnauthenticatedError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.ABORTED, ConflictError),
        (grpc.StatusCode.INTERNAL, PushError),
    ],
)
async def test_the_class_of_an_error_is_its_code(
    service: Any, client: PushClient, code: grpc.StatusCode, kind: type[PushError]
) -> None:
    service.answers.append(service.refuse(code, "no"))

    with pytest.raises(kind) as raised:
        await client.get_operation(OPERATION_ID)

    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.message) == (code, "no")


async def test_a_send_is_repeated_with_the_same_key_while_the_service_is_unavailable(
    service: Any, client: PushClient
) -> None:
    service.answers.append(service.refuse(grpc.StatusCode.UNAVAILABLE))
    service.answers.append(service.refuse(grpc.StatusCode.UNAVAILABLE))
    service.answers.append(SendPushNotificationResponse(operation_id=OPERATION_ID))
    request = SendPushNotificationRequest(to=[Recipient(token="t", provider=Provider.PROVIDER_FCM)])

    response = await client.send(request)

    assert response.operation_id == OPERATION_ID
    keys = [sent.request_id for sent in service.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]
    assert not request.request_id


async def test_two_sends_of_one_message_are_two_sends(service: Any, client: PushClient) -> None:
    service.answers.extend([SendPushNotificationResponse(), SendPushNotificationResponse()])
    request = SendPushNotificationRequest()

    await client.send(request)
    await client.send(request)

    first, second = (sent.request_id for sent in service.requests)
    assert first != second


async def test_a_key_of_the_caller_is_kept(service: Any, client: PushClient) -> None:
    service.answers.append(RegisterDeviceResponse(resource_id="r"))

    await client.register_device(RegisterDeviceRequest(token="t", request_id="mine"))

    assert [sent.request_id for sent in service.requests] == ["mine"]


async def test_a_delete_is_not_repeated(service: Any, client: PushClient) -> None:
    service.answers.append(service.refuse(grpc.StatusCode.UNAVAILABLE))

    with pytest.raises(UnavailableError):
        await client.delete_device_registration("r", Device(provider=Provider.PROVIDER_FCM, token="t"))

    [sent] = service.requests
    assert (sent.provider, sent.token) == (Provider.PROVIDER_FCM, "t")


async def test_a_refusal_is_not_repeated(service: Any, client: PushClient) -> None:
    service.answers.append(service.refuse(grpc.StatusCode.NOT_FOUND))

    with pytest.raises(NotFoundError):
        await client.get_operation(OPERATION_ID)

    assert len(service.requests) == 1


async def test_repetition_ends_within_the_timeout(service: Any) -> None:
    await service.stop()
    async with PushClient(f"127.0.0.1:{service.port}", "a", "t", timeout=0.5) as client:
        with pytest.raises(UnavailableError):
            await client.get_operation(OPERATION_ID)


async def test_a_wait_that_the_service_asks_for_beyond_the_timeout_is_left_to_the_caller(
    service: Any, client: PushClient
) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=60))
    service.answers.append(service.refuse(grpc.StatusCode.UNAVAILABLE, "later", retry))

    with pytest.raises(UnavailableError) as raised:
        await client.get_operation(OPERATION_ID)

    assert raised.value.retry_after == 60
    assert len(service.requests) == 1


async def test_a_list_is_read_page_by_page_with_its_filters(service: Any, client: PushClient) -> None:
    pages = [["a", "b"], [], ["c"]]
    for number, ids in enumerate(pages):
        following = Pagination(next=f"page-{number + 1}" if number + 1 < len(pages) else "")
        service.answers.append(ListOperationsResponse(operations=map(an_operation, ids), pagination=following))
    filters = ListOperationsRequest(page_size=2)

    found = [operation.id async for operation in client.list_operations(filters)]

    assert found == ["a", "b", "c"]
    assert [(sent.page_size, sent.page_token) for sent in service.requests] == [(2, ""), (2, "page-1"), (2, "page-2")]
    assert not filters.page_token


async def test_a_message_over_grpcs_default_limit_passes_both_ways(service: Any, client: PushClient) -> None:
    large = "x" * 6_000_000
    service.answers.append(SendPushNotificationResponse(operation_id=large))

    response = await client.send(SendPushNotificationRequest(request_id="r", sound=large))

    assert response.operation_id == large


async def test_a_url_is_a_target(service: Any) -> None:
    service.answers.append(GetOperationResponse(operation=an_operation()))
    async with PushClient(f"http://127.0.0.1:{service.port}", "a", "t") as client:
        assert (await client.get_operation(OPERATION_ID)).id == OPERATION_ID


async def test_the_token_is_in_no_error_and_no_repr(service: Any, client: PushClient) -> None:
    service.answers.append(service.refuse(grpc.StatusCode.UNAUTHENTICATED))

    with pytest.raises(UnauthenticatedError) as raised:
        await client.get_operation(OPERATION_ID)

    shown = f"{client!r} {raised.value!r} {raised.value} {raised.value.__cause__!r} {vars(raised.value)}"
    encoded = base64.b64encode(b"comms_account_1:token-of-the-test").decode()
    assert "token-of-the-test" not in shown
    assert encoded not in shown
