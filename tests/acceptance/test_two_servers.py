"""Two servers and two gateways on one PostgreSQL are one service: equal requests with one key have one effect."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pharos.push.v1 import push_notifications_pb2_grpc
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.device_registrations_pb2_grpc import DeviceRegistrationServiceStub
from pharos.push.v1.push_notifications_pb2 import SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.calls import basic_auth
from tests.acceptance.database import rows
from tests.acceptance.programs import PHAROS, Program
from tests.acceptance.stack import Stack
from tests.plain_http import TRUSTS_NOBODY

_CALLERS = 50


@dataclass(frozen=True)
class Doors:
    """All ways in."""

    grpc: list[grpc.aio.Channel]
    rest: list[httpx.AsyncClient]
    metadata: Any


Answer = tuple[str, bool]
"""An id, and whether it was said to be an earlier request's."""


@pytest.fixture(scope="module")
def second(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Another server on the same database, and a gateway in front of it: their addresses."""
    folder: Path = tmp_path_factory.mktemp("second")
    serve = (PHAROS, "serve", "--data-dir", stack.up.data_dir)
    with closing(Program(serve, folder / "serve.log")) as server:
        address = server.ready()["grpc"]
        command = (sys.executable, "-m", "gateway", "--grpc", address)
        with closing(Program(command, folder / "gateway.log")) as gateway:
            yield {"grpc": address, "url": gateway.ready()["url"]}


@pytest.fixture
async def doors(test_app: Stack, second: dict[str, str]) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as opened:
        channels = [
            await opened.enter_async_context(grpc.aio.insecure_channel(target))
            for target in (test_app.grpc, second["grpc"])
        ]
        clients = [
            await opened.enter_async_context(
                httpx.AsyncClient(base_url=url, auth=test_app.auth, timeout=60, verify=TRUSTS_NOBODY)
            )
            for url in (test_app.url, second["url"])
        ]
        account, token = (test_app.variables[name] for name in ("PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN"))
        yield Doors(channels, clients, basic_auth(account, token))


async def _post(client: httpx.AsyncClient, path: str, body: bytes, key: str, name: str) -> Answer:
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    response = await client.post(path, content=body, headers=headers)
    assert response.status_code == 202, response.text
    return response.json()[name], response.headers.get("Idempotent-Replayed") == "true"


async def _call(method: Callable[..., Any], request: Any, metadata: Any, name: str) -> Answer:
    call = method(request, metadata=metadata)
    answer = await call
    replayed = ("idempotent-replayed", "true") in list(await call.trailing_metadata())
    return getattr(answer, name), replayed


def _send(doors: Doors, number: int, key: str) -> Awaitable[Answer]:
    """Equal sends, none written like the one before it."""
    way, door = number % 3, number // 3 % 2
    if way == 0:
        request = SendPushNotificationRequest(
            to=[Recipient(token="live-two", provider=Provider.PROVIDER_FCM, variables={"a": "1", "b": "2"})],
            content={"body": "Hello {{ a }}"},
            request_id=key,
        )
        stub = push_notifications_pb2_grpc.PushNotificationServiceStub(doors.grpc[door])
        return _call(stub.SendPushNotification, request, doors.metadata, "operation_id")
    bodies = {
        1: b'{"content":{"body":"Hello {{ a }}"},'
        b'"to":[{"provider":"FCM","token":"live-two","variables":{"b":"2","a":"1"}}]}',
        2: b'{"to": [{"token": "live-two", "provider": "FCM", "variables": {"a": "1", "b": "\\u0032"}}],'
        b' "content": {"body": "Hello {{ a }}"}, "priority": "HIGH", "tags": {}, "from": {}, "data": null}',
    }
    path = "/v1/PushNotifications" if way == 1 else "/preview/PushNotifications"
    return _post(doors.rest[door], path, bodies[way], key, "operationId")


def _register(doors: Doors, number: int, key: str) -> Awaitable[Answer]:
    way, door = number % 3, number // 3 % 2
    if way == 0:
        request = RegisterDeviceRequest(token="live-twice", provider=Provider.PROVIDER_FCM, request_id=key)
        stub = DeviceRegistrationServiceStub(doors.grpc[door])
        return _call(stub.RegisterDevice, request, doors.metadata, "resource_id")
    bodies = {
        1: b'{"token":"live-twice","provider":"FCM"}',
        2: b'{"provider": "FCM", "userId": null, "token": "live-twice"}',
    }
    path = f"/{'v1' if way == 1 else 'preview'}/PushNotifications/DeviceRegistrations"
    return _post(doors.rest[door], path, bodies[way], key, "resourceId")


@pytest.mark.parametrize(
    ("ask", "table", "key"), [(_send, "operations", "two-servers-send"), (_register, "users", "two-servers-register")]
)
async def test_i2_50_equal_requests_at_once_through_all_doors_have_one_effect(
    doors: Doors, stack: Stack, ask: Callable[[Doors, int, str], Awaitable[Answer]], table: str, key: str
) -> None:
    before = await rows(stack.up)
    answers = await asyncio.gather(*(ask(doors, number, key) for number in range(_CALLERS)))
    after = await rows(stack.up)

    assert len({answered for answered, _ in answers}) == 1
    assert sum(replayed for _, replayed in answers) == _CALLERS - 1
    assert after[table] == before[table] + 1
    assert after["idempotency_keys"] == before["idempotency_keys"] + 1


async def test_another_request_with_the_key_is_a_conflict_at_every_door(doors: Doors) -> None:
    await _send(doors, 0, "two-servers-other")
    other = {"to": [{"token": "live-two", "provider": "FCM"}], "content": {"body": "Hello"}}
    for client in doors.rest:
        response = await client.post(
            "/v1/PushNotifications", json=other, headers={"Idempotency-Key": "two-servers-other"}
        )
        assert (response.status_code, response.json()["errors"][0]["code"]) == (409, 20409)
