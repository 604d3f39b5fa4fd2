"""Apple's two environments, as the sandbox has them: a build from Xcode gets its pushes, and is not called dead."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from sandbox.apns import OF_DEVELOPMENT, OF_PRODUCTION
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import follow

_XCODE, _STORE, _NEITHER = (f"{beginning}{'5e' * 30}" for beginning in (OF_DEVELOPMENT, OF_PRODUCTION, "bad0"))


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[PushClient]:
    """Of an account of its own, whose app has credentials for both."""
    own = stack.with_new_account()
    own.upload_credentials("default", "APN", "APN_SANDBOX")
    async with own.client() as client:
        yield client


async def _send(client: PushClient, recipient: Recipient) -> dict[str, int]:
    request = SendPushNotificationRequest(to=[recipient], content=Content(body="Hello"))
    return dict((await follow(client, (await client.send(request)).operation_id)).counts)


async def test_a_users_devices_of_both_environments_get_each_push_once(
    client: PushClient, sandbox: SandboxPort
) -> None:
    user = registration = ""
    for token in (_XCODE, _STORE, _NEITHER):
        request = RegisterDeviceRequest(provider=Provider.PROVIDER_APN, token=token, user_id=user)
        registration = (await client.register_device(request)).resource_id
        user = (await client.get_device_registration(registration)).user_id
    before = await sandbox.rejected("APN")

    assert await _send(client, Recipient(user_id=user)) == {"SENT": 1}
    learning = await sandbox.rejected("APN") - before
    assert await _send(client, Recipient(user_id=user)) == {"SENT": 1}

    assert learning == 3  # in production the one from Xcode, in both the one that belongs nowhere
    assert await sandbox.rejected("APN") - before == learning  # where it belongs is known by now
    pushes = await sandbox.pushes([_XCODE, _STORE, _NEITHER])
    sent = {token: [push.push_id for push in got] for token, got in pushes.items()}
    assert {token: (len(ids), len(set(ids))) for token, ids in sent.items()} == {_XCODE: (2, 2), _STORE: (2, 2)}
    left = {device.token for device in (await client.get_device_registration(registration)).devices}
    assert left == {_XCODE, _STORE}


async def test_a_bare_token_of_development_gets_its_push_too(client: PushClient, sandbox: SandboxPort) -> None:
    token = f"{OF_DEVELOPMENT}{'ba' * 30}"
    assert await _send(client, Recipient(token=token, provider=Provider.PROVIDER_APN)) == {"SENT": 1}
    assert [len(got) for got in (await sandbox.pushes([token])).values()] == [1]
