"""The event stream over a real HTTP server: its form, how it begins, goes on and ends."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from pharos.push.v1 import delivery_status_pb2, operations_pb2, types_pb2

from tests.contract.gateway_upstream import NOTIFICATION, OPERATION, Upstream, serving

EVENTS = f"/v1/PushNotifications/Operations/{OPERATION}/Events"
RPC = "WatchDeliveryStatus"
Message = delivery_status_pb2.WatchDeliveryStatusResponse
CHECKPOINT = Message(checkpoint={"at": Timestamp(seconds=0)}, resume_token="t2")
CHECKPOINT_EVENT = b'event: checkpoint\nid: t2\ndata: {"at":"1970-01-01T00:00:00Z"}\n\n'

COME_BACK = re.compile(rb"retry: (\d+)\n\n")


def events(content: bytes) -> bytes:
    """What comes behind the first word, which is when to come back."""
    told = COME_BACK.match(content)
    assert told, content[:100]
    assert 1000 <= int(told[1]) <= 3000
    return content[told.end() :]


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
        events(response.content)
        == (
            b'event: snapshot\nid: t0\ndata: {"operation":{"id":"o","status":"PROCESSING"},'
            b'"recipients":[],"more":false}\n\n'
            b'event: changes\nid: t1\ndata: {"recipients":[{"operationId":"' + OPERATION.encode() + b'",'
            b'"recipientIndex":1,"status":"FAILED","reason":"UNREGISTERED","sequence":7}],"operations":[]}\n\n'
            + CHECKPOINT_EVENT
            + b":\n\n"  # a message of a kind that this gateway doesn't know
            b"event: end\nid: t4.end\ndata: {}\n\n"
        )
    )


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        (EVENTS, {}, {"operation_id": OPERATION}),
        (f"{EVENTS}?statuses=SENT&statuses=FAILED", {}, {"operation_id": OPERATION, "statuses": [3, 4]}),
        (EVENTS, {"Last-Event-ID": "t7"}, {"operation_id": OPERATION, "resume_token": "t7"}),
        (EVENTS, {"Last-Event-ID": "t7.end"}, {"operation_id": OPERATION, "resume_token": "t7"}),
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
        assert (await client.get(path, headers=headers)).is_success
    assert upstream.request == delivery_status_pb2.WatchDeliveryStatusRequest(**expected)


async def test_all_that_a_stream_can_be_told_fits_a_query(upstream: Upstream) -> None:
    notifications = [f"{NOTIFICATION[:-2]}{first}{second}" for first in "0123456789" for second in "0123456789"]
    filters = {"statuses": ["SENT", "FAILED"], "providers": ["FCM", "APN"], "reasons": ["UNREGISTERED"] * 20}
    query = {"pushNotificationIds": notifications, **filters, "snapshot": "false", "access_token": "t"}
    upstream.answers[RPC] = script(Message(end={}))
    async with serving(upstream.target) as (client, _):
        response = await client.get("/v1/PushNotifications/Events", params=query)
    assert response.status_code == 200, response.text
    watched = upstream.request
    assert list(watched.push_notification_ids) == notifications
    assert (list(watched.statuses), list(watched.providers), list(watched.reasons)) == ([3, 4], [1, 2], [1] * 20)
    assert watched.HasField("snapshot")
    assert not watched.snapshot


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{EVENTS}?pushNotificationId={NOTIFICATION}", "Unknown query parameter `pushNotificationId`"),
        (f"{EVENTS}?pushNotificationIds={NOTIFICATION}", "Unknown query parameter `pushNotificationIds`"),
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


async def test_who_had_the_end_is_told_to_stay_away(upstream: Upstream) -> None:
    upstream.answers[RPC] = script(Message(end={}, resume_token="t4"))
    async with serving(upstream.target) as (client, _):
        first = await client.get(EVENTS, headers={"Last-Event-ID": "t3"})
        [last_id] = re.findall(r"^id: (.*)$", first.text, re.MULTILINE)
        again = await client.get(EVENTS, headers={"Last-Event-ID": last_id})
    assert (first.status_code, again.status_code, again.content) == (200, 204, b"")


async def test_who_had_the_event_before_the_end_and_of_the_same_token_gets_the_end(upstream: Upstream) -> None:
    upstream.answers[RPC] = Endless(Message(changes={}, resume_token="t4"))
    async with serving(upstream.target) as (client, _), client.stream("GET", EVENTS) as response:
        before_end = await within(anext(response.aiter_raw()))
    [last_id] = re.findall(rb"^id: (.*)$", before_end, re.MULTILINE)
    upstream.answers[RPC] = script(Message(end={}, resume_token="t4"))
    async with serving(upstream.target) as (client, _):
        resumed = await client.get(EVENTS, headers={"Last-Event-ID": last_id.decode()})
    assert events(resumed.content) == b"event: end\nid: t4.end\ndata: {}\n\n"


async def test_the_end_does_not_come_twice_to_who_had_it_and_waited_for_the_answer(upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def stream(_: Any, __: Any) -> AsyncIterator[Any]:
        await go_on.wait()
        yield Message(end={}, resume_token="t4")

    upstream.answers[RPC] = stream
    headers = {"Last-Event-ID": "t4.end"}
    async with (
        serving(upstream.target, heartbeat=0.02) as (client, _),
        client.stream("GET", EVENTS, headers=headers) as response,
    ):
        chunks = response.aiter_raw()
        await within(anext(chunks))
        go_on.set()
        assert b"event" not in b"".join([chunk async for chunk in chunks])


async def test_an_id_of_an_end_is_checked_like_any_other(upstream: Upstream) -> None:
    upstream.answers[RPC] = script(error=grpc.StatusCode.INVALID_ARGUMENT)
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS, headers={"Last-Event-ID": "nonsense.end"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("code", "status"), [(grpc.StatusCode.UNAVAILABLE, 20503), (grpc.StatusCode.RESOURCE_EXHAUSTED, 20429)]
)
async def test_what_passes_does_not_drive_an_event_source_away(
    upstream: Upstream, code: grpc.StatusCode, status: int
) -> None:
    upstream.answers[RPC] = script(error=code)
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS, headers={"Accept": "text/event-stream"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert events(response.content).startswith(b'event: error\ndata: {"errors":[{"code":%d,' % status)


async def test_an_event_source_comes_back_when_the_service_says(upstream: Upstream) -> None:
    async def refuse(_: Any, context: Any) -> AsyncIterator[Any]:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=40)))
        status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], details=[detail])
        await context.abort_with_status(rpc_status.to_status(status))
        yield

    upstream.answers[RPC] = refuse
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS, headers={"Accept": "text/event-stream"})
    *_, last = COME_BACK.findall(response.content)
    assert 40_000 <= int(last) <= 60_000


async def test_what_does_not_pass_ends_an_event_source(upstream: Upstream) -> None:
    upstream.answers[RPC] = script(error=grpc.StatusCode.NOT_FOUND)
    async with serving(upstream.target) as (client, _):
        response = await client.get(EVENTS, headers={"Accept": "text/event-stream"})
    assert response.status_code == 404


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
    first, last = events(response.content).split(b"\n\n", 1)
    assert response.status_code == 200
    assert first + b"\n\n" == CHECKPOINT_EVENT
    assert last.startswith(b'event: error\ndata: {"errors":[{"code":20500,')
    assert b"Request: r1" in last
    assert b"own text" not in last


async def test_a_silent_stream_gets_comments_from_its_beginning(upstream: Upstream) -> None:
    upstream.answers[RPC] = Endless()
    async with serving(upstream.target, heartbeat=0.02) as (client, _), client.stream("GET", EVENTS) as response:
        chunks = response.aiter_raw()
        assert events(await within(anext(chunks))) == b":\n\n"
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
            assert events(await within(anext(response.aiter_raw()))) == CHECKPOINT_EVENT
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
