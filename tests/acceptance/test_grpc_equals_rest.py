"""gRPC and REST are two doors of one service: the same send comes to the same, whichever it came in by."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, Priority, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from tests.acceptance.programs import clean_environment
from tests.acceptance.sandbox_port import Push, SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import follow

_PAGE = Path(__file__).parents[2] / "docs/grpc_client.md"
_NOBODY = f"comms_pushnotificationuser_{7:026}"
_TOKENS = ["live-equal-1", "live-equal-2", "11fe" + "e1" * 30, "unregistered-equal", "bad0" + "e1" * 30]
_USERS_TOKENS = ["live-equal-user", "11fe" + "e2" * 30]


@pytest.fixture
async def rest(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.rest() as rest:
        yield rest


@pytest.fixture
async def user_id(client: PushClient) -> str:
    """A user with a device of each provider."""
    user_id = ""
    for token, provider in zip(_USERS_TOKENS, (Provider.PROVIDER_FCM, Provider.PROVIDER_APN), strict=True):
        request = RegisterDeviceRequest(token=token, provider=provider, user_id=user_id)
        registration_id = (await client.register_device(request)).resource_id
        user_id = (await client.get_device_registration(registration_id)).user_id
    return user_id


def _grpc_request(user_id: str) -> SendPushNotificationRequest:
    to = [
        Recipient(token=token, provider=_provider(token), variables={"name": f"number {number}"})
        for number, token in enumerate(_TOKENS)
    ]
    to += [Recipient(user_id=user_id, variables={"name": "user"}), Recipient(user_id=_NOBODY)]
    return SendPushNotificationRequest(
        to=to,
        content=Content(title="For {{ name }}", body="Hello {{ name | default: 'you' }}"),
        priority=Priority.PRIORITY_LOW,
        sound="chime",
        data={"name": "{{ name }}"},
        tags={"kind": "equal"},
    )


def _rest_request(user_id: str) -> dict[str, Any]:
    to: list[dict[str, Any]] = [
        {
            "token": token,
            "provider": Provider.Name(_provider(token)).removeprefix("PROVIDER_"),
            "variables": {"name": f"number {number}"},
        }
        for number, token in enumerate(_TOKENS)
    ]
    return {
        "to": [*to, {"userId": user_id, "variables": {"name": "user"}}, {"userId": _NOBODY}],
        "content": {"title": "For {{ name }}", "body": "Hello {{ name | default: 'you' }}"},
        "priority": "LOW",
        "sound": "chime",
        "data": {"name": "{{ name }}"},
        "tags": {"kind": "equal"},
    }


def _provider(token: str) -> Provider.ValueType:
    return Provider.PROVIDER_APN if re.fullmatch("[0-9a-f]{64}", token) else Provider.PROVIDER_FCM


async def _results(rest: httpx.AsyncClient, sandbox: SandboxPort, operation_id: str) -> dict[str, Any]:
    """All that a finished operation shows, without what is its alone: ids, times and what hangs on them."""
    operation = (await rest.get(f"/v1/PushNotifications/Operations/{operation_id}")).json()
    errors = (await rest.get(f"/v1/PushNotifications/Operations/{operation_id}/Errors")).json()["errors"]
    listed = (await rest.get("/v1/PushNotifications", params={"operationId": operation_id})).json()["notifications"]
    fetched = [(await rest.get(f"/v1/PushNotifications/{each['id']}")).json() for each in listed]
    pushes = await sandbox.pushes([*_TOKENS, *_USERS_TOKENS])
    return {
        "status": operation["status"],
        "stats": operation["stats"],
        "errors": [_without_own(error) for error in errors],
        "listed": [_without_own(each) for each in listed],
        "fetched": [_without_own(each) for each in fetched],
        "pushes": {token: [_body(push) for push in got] for token, got in pushes.items()},
    }


_OWN = {"id", "createdAt", "updatedAt", "occurredAt", "operationId", "pushNotificationId", "providerMessageId"}


def _body(push: Push) -> Any:
    """What the provider got, with a word for the push's id wherever it stands."""
    return json.loads(json.dumps(push.body).replace(push.push_id, "its id"))


def _without_own(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_own(each) for name, each in value.items() if name not in _OWN}
    return [_without_own(each) for each in value] if isinstance(value, list) else value


async def test_the_same_send_comes_to_the_same(
    client: PushClient, rest: httpx.AsyncClient, sandbox: SandboxPort, user_id: str
) -> None:
    by_grpc = (await client.send(_grpc_request(user_id))).operation_id
    await follow(client, by_grpc)
    from_grpc = await _results(rest, sandbox, by_grpc)
    await sandbox.forget()

    accepted = await rest.post("/v1/PushNotifications", json=_rest_request(user_id))
    by_rest = accepted.json()["operationId"]
    await follow(client, by_rest)
    from_rest = await _results(rest, sandbox, by_rest)

    assert from_rest == from_grpc
    assert {name: count for name, count in from_grpc["stats"].items() if count} == {
        "recipients": 7,
        "total": 6,
        "sent": 4,
        "failed": 2,
        "unaddressable": 1,
    }
    assert len(from_grpc["pushes"]) == 5, "three tokens and both devices of the user"


async def test_a_notification_reads_the_same(client: PushClient, rest: httpx.AsyncClient, user_id: str) -> None:
    operation_id = (await client.send(_grpc_request(user_id))).operation_id
    story = await follow(client, operation_id)

    for recipient in story.final.values():
        if recipient.push_notification_id:
            shown = (await rest.get(f"/v1/PushNotifications/{recipient.push_notification_id}")).json()
            answered = _as_rest(await client.get_push_notification(recipient.push_notification_id))
            assert {name: shown[name] for name in answered} == answered
    shown = (await rest.get(f"/v1/PushNotifications/Operations/{operation_id}")).json()
    answered = _as_rest(await client.get_operation(operation_id))
    assert {name: shown["stats"][name] for name in answered["stats"]} == answered.pop("stats")
    assert {name: shown[name] for name in answered} == answered


def _as_rest(message: Message) -> Any:
    """Protobuf's own JSON, with the names of enums and the times as REST writes them."""
    return _plain(MessageToDict(message))


def _plain(value: Any) -> Any:
    match value:
        case {"variablesJson": str(variables), **others}:
            return _plain(others) | {"variables": json.loads(base64.b64decode(variables))}
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case str():
            return re.sub(
                r"^(PROVIDER|DELIVERY_STATUS|DELIVERY_REASON|OPERATION_STATUS|PRIORITY)_|(?<=:\d\d)\.\d+(?=Z$)",
                "",
                value,
            )
        case _:
            return value


async def test_the_documented_program_runs_against_the_service(stack: Stack, sandbox: SandboxPort) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    tokens = ["live-page-1", "live-page-2", "unregistered-page-3"]

    ran = subprocess.run(  # noqa: ASYNC221, S603 - nothing else is to happen meanwhile; our own program
        [sys.executable, "-W", "error", "-c", program, *tokens],
        env=clean_environment() | stack.variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stderr
    final = {line for line in ran.stdout.splitlines() if "QUEUED" not in line}
    assert final == {
        "live-page-1 DELIVERY_STATUS_SENT DELIVERY_REASON_UNSPECIFIED",
        "live-page-2 DELIVERY_STATUS_SENT DELIVERY_REASON_UNSPECIFIED",
        "unregistered-page-3 DELIVERY_STATUS_FAILED DELIVERY_REASON_UNREGISTERED",
    }
    pushes = await sandbox.pushes(tokens)
    assert {token: [push.text for push in got] for token, got in pushes.items()} == {
        "live-page-1": ["Hi number 1, you are in."],
        "live-page-2": ["Hi number 2, you are in."],
    }
