from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from pharos.push.v1.delivery_status_pb2 import (
    RecipientStatus,
    StatusChanges,
    StatusCheckpoint,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusRequest,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.stream_tokens_pb2 import CreateStreamTokenRequest, CreateStreamTokenResponse
from pharos.push.v1.types_pb2 import DeliveryStatus

from client.calls import bearer_auth
from client.channels import open_channel
from client.errors import InvalidArgumentError, PushError, RateLimitedError, ResumeTokenError, UnavailableError
from client.push_client import PushClient
from client.subscription import follow

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"


def snapshot(token: str) -> WatchDeliveryStatusResponse:
    return WatchDeliveryStatusResponse(snapshot=StatusSnapshot(), resume_token=token)


def change(index: int, token: str) -> WatchDeliveryStatusResponse:
    recipient = RecipientStatus(recipient_index=index, status=DeliveryStatus.DELIVERY_STATUS_SENT)
    return WatchDeliveryStatusResponse(changes=StatusChanges(recipients=[recipient]), resume_token=token)


def checkpoint(token: str) -> WatchDeliveryStatusResponse:
    return WatchDeliveryStatusResponse(checkpoint=StatusCheckpoint(), resume_token=token)


def end(token: str) -> WatchDeliveryStatusResponse:
    return WatchDeliveryStatusResponse(end=StatusEnd(), resume_token=token)


def indexes(messages: Iterable[WatchDeliveryStatusResponse]) -> list[int]:
    return [recipient.recipient_index for message in messages for recipient in message.changes.recipients]


async def test_it_goes_on_behind_the_last_message_after_the_server_was_gone(service: Any, client: PushClient) -> None:
    service.streams.append([snapshot("a"), change(0, "b"), service.silence()])
    service.streams.append([change(1, "c"), end("d")])
    seen = []

    async with asyncio.timeout(30):
        async for message in client.watch(operation_id=OPERATION_ID):
            seen.append(message)
            if message.resume_token == "b":
                await service.stop()
                await service.start()

    assert [message.resume_token for message in seen] == ["a", "b", "c", "d"]
    assert indexes(seen) == [0, 1]
    assert [(request.operation_id, request.resume_token) for request in service.requests] == [
        (OPERATION_ID, ""),
        (OPERATION_ID, "b"),
    ]


async def test_a_slow_reader_that_was_ended_resumes(service: Any, client: PushClient) -> None:
    service.streams.append([change(0, "a"), service.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow")])
    service.streams.append([end("b")])

    seen = [message async for message in client.watch(operation_id=OPERATION_ID)]

    assert [message.resume_token for message in seen] == ["a", "b"]
    assert service.requests[1].resume_token == "a"


async def test_a_stream_that_stops_without_its_end_is_taken_up_again(service: Any, client: PushClient) -> None:
    service.streams.append([checkpoint("a")])
    service.streams.append([end("b")])

    seen = [message async for message in client.watch(operation_id=OPERATION_ID)]

    assert [message.resume_token for message in seen] == ["a", "b"]


async def test_a_connection_on_which_nothing_is_heard_is_given_up(service: Any, client: PushClient) -> None:
    service.streams.append([snapshot("a"), service.silence()])
    service.streams.append([end("b")])

    async with asyncio.timeout(30):
        seen = [message async for message in client.watch(operation_id=OPERATION_ID, silence=0.2)]

    assert [message.resume_token for message in seen] == ["a", "b"]


async def test_a_snapshot_that_breaks_off_is_not_told_twice(service: Any, client: PushClient) -> None:
    part = WatchDeliveryStatusResponse(snapshot=StatusSnapshot(more=True))
    service.streams.append([part, part, service.refuse(grpc.StatusCode.UNAVAILABLE)])
    service.streams.append([part, snapshot("a"), end("b")])

    seen = [message async for message in client.watch(operation_id=OPERATION_ID)]

    assert [message.resume_token for message in seen] == ["", "a", "b"]


async def test_a_stream_that_a_proxy_broke_off_is_taken_up_again(service: Any, client: PushClient) -> None:
    lost: list[PushError] = []
    service.streams.append([checkpoint("a"), service.broken_off(grpc.StatusCode.INTERNAL)])
    service.streams.append([checkpoint("b"), service.broken_off(grpc.StatusCode.UNKNOWN)])
    service.streams.append([checkpoint("c"), service.broken_off(grpc.StatusCode.DEADLINE_EXCEEDED)])
    service.streams.append([checkpoint("d"), service.broken_off(grpc.StatusCode.CANCELLED)])
    service.streams.append([end("e")])

    seen = [message async for message in client.watch(operation_id=OPERATION_ID, on_lost=lost.append)]

    assert [message.resume_token for message in seen] == ["a", "b", "c", "d", "e"]
    assert [failure.code for failure in lost] == [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    ]


async def test_a_fault_of_the_service_is_told(service: Any, client: PushClient) -> None:
    fault = error_details_pb2.ErrorInfo(reason="INTERNAL", domain="push.pharos")
    service.streams.append([checkpoint("a"), service.refuse(grpc.StatusCode.INTERNAL, "ask about it", fault)])

    with pytest.raises(PushError, match="ask about it"):
        _ = [message async for message in client.watch(operation_id=OPERATION_ID)]


async def test_nothing_follows_the_end(service: Any, client: PushClient) -> None:
    service.streams.append([end("a"), change(0, "b")])

    seen = [message async for message in client.watch(operation_id=OPERATION_ID)]

    assert [message.resume_token for message in seen] == ["a"]
    assert len(service.requests) == 1


async def test_a_token_that_is_too_old_is_the_callers_to_know(service: Any, client: PushClient) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="resume_token", description="no longer kept")
    refused = error_details_pb2.BadRequest(field_violations=[violation])
    service.streams.append([service.refuse(grpc.StatusCode.INVALID_ARGUMENT, "too old", refused)])

    with pytest.raises(ResumeTokenError, match="no longer kept"):
        _ = [message async for message in client.watch(resume_token="old")]

    assert service.requests[0].resume_token == "old"


async def test_another_wrong_field_is_no_error_of_the_token(service: Any, client: PushClient) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="operation_id", description="is no id")
    refused = error_details_pb2.BadRequest(field_violations=[violation])
    service.streams.append([service.refuse(grpc.StatusCode.INVALID_ARGUMENT, "wrong", refused)])

    with pytest.raises(InvalidArgumentError) as raised:
        _ = [message async for message in client.watch(operation_id="o")]

    assert not isinstance(raised.value, ResumeTokenError)


async def test_the_service_says_when_to_come_back(service: Any, client: PushClient) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=400_000_000))
    service.streams.append([service.refuse(grpc.StatusCode.UNAVAILABLE, "later", retry)])
    service.streams.append([end("a")])
    began = asyncio.get_running_loop().time()

    _ = [message async for message in client.watch(operation_id=OPERATION_ID)]

    assert asyncio.get_running_loop().time() - began >= 0.4


async def test_patience_ends(service: Any, client: PushClient) -> None:
    await service.stop()

    with pytest.raises(UnavailableError):
        _ = [message async for message in client.watch(operation_id=OPERATION_ID, patience=0.3)]


async def test_a_service_that_keeps_refusing_uses_the_patience_up(service: Any, client: PushClient) -> None:
    service.streams.extend([service.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED)] for _ in range(50))

    with pytest.raises(RateLimitedError):
        _ = [message async for message in client.watch(operation_id=OPERATION_ID, patience=0.3)]


async def test_what_the_reader_does_with_a_message_does_not_use_the_patience_up(
    service: Any, client: PushClient
) -> None:
    service.streams.append([checkpoint("a"), service.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow")])
    service.streams.append([end("b")])
    seen, loop, patience = [], asyncio.get_running_loop(), 0.2

    async for message in client.watch(operation_id=OPERATION_ID, patience=patience):
        seen.append(message.resume_token)
        busy: asyncio.Future[None] = loop.create_future()
        loop.call_later(2 * patience, busy.set_result, None)
        await busy

    assert seen == ["a", "b"]


async def test_the_scope_and_the_statuses_are_passed_on(service: Any, client: PushClient) -> None:
    notification_id = "comms_pushnotification_01h455vb4pex5vsknk084sn02q"
    service.streams.extend([[end("a")], [end("b")]])
    failed = [DeliveryStatus.DELIVERY_STATUS_FAILED]

    _ = [message async for message in client.watch(push_notification_id=notification_id, statuses=failed)]
    _ = [message async for message in client.watch()]

    one, account = service.requests
    assert one.WhichOneof("scope") == "push_notification_id"
    assert list(one.statuses) == failed
    assert account.WhichOneof("scope") is None


async def test_a_whole_request_is_passed_on_and_stays_as_it_is(service: Any, client: PushClient) -> None:
    request = WatchDeliveryStatusRequest(statuses=[DeliveryStatus.DELIVERY_STATUS_SENT], resume_token="a")
    service.streams.append([end("b")])

    _ = [message async for message in client.watch(request, operation_id=OPERATION_ID)]

    [passed_on] = service.requests
    assert (passed_on.operation_id, passed_on.resume_token) == (OPERATION_ID, "a")
    assert list(passed_on.statuses) == [DeliveryStatus.DELIVERY_STATUS_SENT]
    assert request.WhichOneof("scope") is None
    assert request.resume_token == "a"


async def test_who_stops_reading_leaves_no_call_behind(service: Any, client: PushClient) -> None:
    service.streams.append([snapshot("a"), service.silence()])

    async with aclosing(client.watch()) as messages:
        async for _ in messages:
            break

    async with asyncio.timeout(10):
        await service.reader_left.wait()


async def test_a_stream_token_opens_a_stream_in_place_of_the_accounts_credentials(
    service: Any, client: PushClient
) -> None:
    service.answers.append(CreateStreamTokenResponse(token="for-this-stream"))
    service.streams.append([end("a")])
    asked = CreateStreamTokenRequest(operation_id=OPERATION_ID, ttl=60)
    token = (await client.create_stream_token(asked)).token

    async with open_channel(f"127.0.0.1:{service.port}") as channel:
        request = WatchDeliveryStatusRequest(operation_id=OPERATION_ID)
        seen = [message async for message in follow(channel, request, bearer_auth(token))]

    made, _ = service.requests
    assert made == asked
    assert service.metadata[1]["authorization"] == "Bearer for-this-stream"
    assert [message.resume_token for message in seen] == ["a"]
