"""The event stream over a real HTTP server: its form, how it begins, goes on and ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import delivery_status_pb2, operations_pb2, types_pb2

from tests.contract.gateway_upstream import NOTIFICATION, OPERATION, Upstream, serving

EVENTS = f"/v1/PushNotifications/Operations/{OPERATION}/Events"
RPC = "WatchDeliveryStatus"
Message = delivery_status_pb2.WatchDeliveryStatusResponse
CHECKPOINT = Message(checkpoint={"at": Timestamp(seconds=0)}, resume_token="t2")
CHECKPOINT_EVENT = b'event: checkpoint\nid: t2\ndata: {"at":"1970-01-01T00:00:00Z"}\n\n'


def script(*messages: Any, error: grpc.StatusCode | None = None) -> Callable[[Any, Any], AsyncIterator[Any]]:
    """A stream of these messages that then ends, or fails."""

    async def stream(_: Any, context: Any) -> AsyncIterator[Any]:
        for message in messages:
            yield message
        if error is not None:
            await context.abort(error, "the service's own text")

    return stream


class Endless:
    """A stream of these messages that then goes on in silence until its caller leaves."""

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self.left = asyncio.Event()

    async def __call__(self, _: Any, context: Any) -> AsyncIterator[Any]:
        context.add_done_callback(lambda _: self.left.set())
        for message in self._messages:
            yield message
        await asyncio.Event().wait()


async def within(work: Awaitable[Any], seconds: float = 10) -> Any:
    async with asyncio.timeout(seconds):
        return await work


async def test_each_message_is_one_event(upstream: Upstream) -> None:
    status = delivery_status_pb2.RecipientStatus(
        operation_id=OPERATION, recipient_index=1, status=types_pb2.DELIVERY_STATUS_FAILED, reason=1, sequence=7
    )
    upstream.answers[RPC] = script(
        Message(snapshot={"operation": operations_pb2.Operation(id="o", status=2)}, resume_token="t0"),
        Message(changes={"recipients": [status]}, resume_token="t1"),
        CHECKPOINT,
        Message(resume_token="t3"),
        Message(end={}, resume_token="t4"),
    )
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"]
    assert (
        response.content
        == (
            b'event: snapshot\nid: t0\ndata: {"operation":{"id":"o","status":"PROCESSING"},'
            b'"recipients":[],"more":false}\n\n'
            b'event: changes\nid: t1\ndata: {"recipients":[{"operationId":"' + OPERATION.encode() + b'",'
            b'"recipientIndex":1,"status":"FAILED","reason":"UNREGISTERED","sequence":7}],"operations":[]}\n\n'
            + CHECKPOINT_EVENT
            + b":\n\n"  # a message of a kind that this gateway doesn't know
            b"event: end\nid: t4\ndata: {}\n\n"
        )
    )


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        (EVENTS, {}, {"operation_id": OPERATION}),
        (f"{EVENTS}?statuses=SENT&statuses=FAILED", {}, {"operation_id": OPERATION, "statuses": [3, 4]}),
        (EVENTS, {"Last-Event-ID": "t7"}, {"operation_id": OPERATION, "resume_token": "t7"}),
        ("/preview/PushNotifications/Events", {}, {}),
        (f"/v1/PushNotifications/Events?operationId={OPERATION}", {}, {"operation_id": OPERATION}),
        (f"/v1/PushNotifications/Events?pushNotificationId={NOTIFICATION}", {}, {"push_notification_id": NOTIFICATION}),
    ],
)
async def test_what_is_watched_comes_from_path_query_and_last_event_id(
    upstream: Upstream, path: str, headers: dict[str, str], expected: dict[str, Any]
) -> None:
    upstream.answers[RPC] = script(Message(end={}))
    async with serving(upstream.target) as (client, _):
        assert (await client.get(path, headers=headers)).status_code == 200
    assert upstream.request == delivery_status_pb2.WatchDeliveryStatusRequest(**expected)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{EVENTS}?pushNotificationId={NOTIFICATION}", "Unknown query parameter `pushNotificationId`"),
        (f"{EVENTS}?resumeToken=x", "Unknown query parameter `resumeToken`"),
        (
            f"/v1/PushNotifications/Events?operationId=a&pushNotificationId={NOTIFICATION}",
            "Only one of operationId, pushNotificationId may be given",
        ),
        (f"{EVENTS}?statuses=GONE", "Expected one of SCHEDULED, QUEUED, SENT, FAILED, CANCELED, UNADDRESSABLE"),
    ],
)
async def test_a_wrong_question_is_an_ordinary_400(upstream: Upstream, path: str, message: str) -> None:
    async with serving(upstream.target) as (client, _):
        response = await client.get(path)
    assert response.status_code == 400
    assert [error["message"] for error in response.json()["errors"]] == [message]
    assert not upstream.calls


async def test_an_error_before_the_first_message_is_an_ordinary_answer(upstream: Upstream) -> None:
    upstream.answers[RPC] = script(error=grpc.StatusCode.INVALID_ARGUMENT)
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["errors"][0]["message"] == "the service's own text"


async def test_a_later_error_is_an_event(upstream: Upstream) -> None:
    upstream.answers[RPC] = script(CHECKPOINT, error=grpc.StatusCode.INTERNAL)
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS, headers={"X-Request-Id": "r1"})
    first, last = response.content.split(b"\n\n", 1)
    assert response.status_code == 200
    assert first + b"\n\n" == CHECKPOINT_EVENT
    assert last.startswith(b'event: error\ndata: {"errors":[{"code":20500,')
    assert b"Request: r1" in last
    assert b"own text" not in last


async def test_a_silent_stream_gets_comments_from_its_beginning(upstream: Upstream) -> None:
    upstream.answers[RPC] = Endless()
    async with serving(upstream.target, heartbeat=0.02) as (client, _), client.stream("GET", EVENTS) as response:
        chunks = response.aiter_raw()
        assert [await within(anext(chunks)) for _ in range(3)] == [b":\n\n"] * 3


async def test_a_message_after_silence_is_not_lost(upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def stream(_: Any, __: Any) -> AsyncIterator[Any]:
        await go_on.wait()
        yield CHECKPOINT

    upstream.answers[RPC] = stream
    async with serving(upstream.target, heartbeat=0.02) as (client, _), client.stream("GET", EVENTS) as response:
        chunks = response.aiter_raw()
        await within(anext(chunks))
        await within(anext(chunks))
        go_on.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert rest.replace(b":\n\n", b"") == CHECKPOINT_EVENT


async def test_the_call_ends_when_the_client_leaves(upstream: Upstream) -> None:
    upstream.answers[RPC] = watch = Endless(CHECKPOINT)
    async with serving(upstream.target) as (client, _):
        async with client.stream("GET", EVENTS) as response:
            assert await within(anext(response.aiter_raw())) == CHECKPOINT_EVENT
            assert not watch.left.is_set()
        await within(watch.left.wait())


async def test_the_call_ends_when_the_client_leaves_before_it_began(upstream: Upstream) -> None:
    upstream.answers[RPC] = watch = Endless()
    async with serving(upstream.target) as (client, _):
        with pytest.raises(httpx.ReadTimeout):
            await client.get(EVENTS, timeout=0.1)
        await within(watch.left.wait())


async def test_a_client_that_takes_nothing_is_let_go(upstream: Upstream) -> None:
    upstream.answers[RPC] = watch = Endless(*[Message(end={}, resume_token="x" * 100_000)] * 200)
    async with serving(upstream.target, write_timeout=0.2) as (client, _):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n"
            connection.sendall(head.encode())
            await within(watch.left.wait())


async def test_a_stop_ends_streams_cleanly(upstream: Upstream) -> None:
    upstream.answers[RPC] = watch = Endless(CHECKPOINT)
    async with serving(upstream.target) as (client, server), client.stream("GET", EVENTS) as response:
        chunks = response.aiter_raw()
        await within(anext(chunks))
        server.should_exit = True
        assert [chunk async for chunk in chunks] == []  # httpx raises for a body that is cut off
        await within(watch.left.wait())


async def test_a_stop_before_the_first_message_is_503(upstream: Upstream) -> None:
    upstream.answers[RPC] = watch = Endless()
    async with serving(upstream.target) as (client, server), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.get(EVENTS))
        await within(upstream.called.wait())
        server.should_exit = True
        response = await within(asking)
        await within(watch.left.wait())
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
