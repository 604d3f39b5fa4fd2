"""One send to recipients of every kind: the stream, the list and the providers' ledger agree on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pharos.push.v1.credentials_pb2 import CreateCredentialRequest, CredentialContent, CredentialType
from pharos.push.v1.device_registrations_pb2 import Device, RegisterDeviceRequest
from pharos.push.v1.operations_pb2 import OperationStatus
from pharos.push.v1.push_notifications_pb2 import (
    Content,
    ListPushNotificationsRequest,
    Sender,
    SendPushNotificationRequest,
)
from pharos.push.v1.types_pb2 import DeliveryReason, Provider, Recipient

from client.errors import PushError
from client.push_client import PushClient
from sandbox import Sandbox
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack, base64_of
from tests.acceptance.story import Expected, Listener, assert_agreement, follow, repeated, short

_EACH = 25  # recipients of each kind
_FCM = {"live": "live", "dead": "unregistered", "invalid": "invalid", "flaky": "flaky"}
_APN = {"live": "11fe", "dead": "dead", "invalid": "bad0", "flaky": "f1a6"}
_REACHED = {"live", "flaky"}  # a flaky device is refused twice first


@dataclass
class Person:
    """A recipient with its devices' states; a user unless it is addressed by its only token."""

    number: int
    states: Sequence[str]
    is_user: bool = True
    user_id: str = ""
    registration_id: str = ""
    devices: list[Device] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = [_device(self.number, place, state) for place, state in enumerate(self.states)]

    @property
    def reached(self) -> list[str]:
        states = zip(self.devices, self.states, strict=True)
        return [device.token for device, state in states if state in _REACHED]

    @property
    def expected(self) -> Expected:
        if not self.devices:
            return Expected("UNADDRESSABLE")
        return Expected("SENT" if self.reached else "FAILED", self.reached)

    def recipient(self) -> Recipient:
        if self.is_user:
            return Recipient(user_id=self.user_id)
        [device] = self.devices
        return Recipient(token=device.token, provider=device.provider)


def _device(number: int, place: int, state: str) -> Device:
    """A user's second device is of the other provider."""
    if (number + place) % 2:
        return Device(provider=Provider.PROVIDER_APN, token=f"{_APN[state]}{place:028x}{number:032x}")
    return Device(provider=Provider.PROVIDER_FCM, token=f"{_FCM[state]}-kind-{number}-{place}")


def _people() -> list[Person]:
    users: list[Sequence[str]] = [("live",), ("dead",), ("live", "dead"), ("flaky", "live"), ("dead", "invalid"), ()]
    tokens: list[Sequence[str]] = [("live",), ("live",), ("live",), ("dead",), ("invalid",), ("flaky",)]
    kinds = [(states, True) for states in users] + [(states, False) for states in tokens]
    return [Person(number, *kind) for number, kind in enumerate(kind for kind in kinds for _ in range(_EACH))]


@pytest.fixture(scope="module")
def stack(stack: Stack) -> Stack:
    """As an account of its own."""
    own = stack.with_new_account()
    own.upload_credentials("default")
    return own


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[PushClient]:
    async with stack.client() as client:
        yield client


async def _register(client: PushClient, person: Person) -> None:
    for device in person.devices:
        request = RegisterDeviceRequest(provider=device.provider, token=device.token, user_id=person.user_id)
        person.registration_id = (await client.register_device(request)).resource_id
        if not person.user_id:
            person.user_id = (await client.get_device_registration(person.registration_id)).user_id
    person.user_id = person.user_id or f"comms_pushnotificationuser_{person.number:026}"  # nobody


async def _register_all(client: PushClient, people: Iterable[Person]) -> None:
    waiting = iter(people)

    async def some() -> None:
        for person in waiting:
            await _register(client, person)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(some())


async def _devices_left(client: PushClient, person: Person) -> set[str]:
    """The devices still registered; a registration without any is deleted."""
    try:
        return {device.token for device in (await client.get_device_registration(person.registration_id)).devices}
    except PushError as error:
        assert error.code.name == "NOT_FOUND"  # noqa: PT017 - any other error is a failure
        return set()


async def test_every_kind_of_recipient(client: PushClient, sandbox: SandboxPort) -> None:
    people = _people()
    users = [person for person in people if person.is_user]
    await _register_all(client, users)
    request = SendPushNotificationRequest(to=(p.recipient() for p in people), content=Content(body="Hello"))

    story = await follow(client, (await client.send(request)).operation_id)

    pushes = await sandbox.pushes(device.token for person in people for device in person.devices)
    await assert_agreement(client, story, [person.expected for person in people], pushes)
    assert not repeated(pushes)
    assert {person.number: await _devices_left(client, person) for person in users if person.devices} == {
        person.number: set(person.reached) for person in users if person.devices
    }


async def test_the_errors_list_every_failure_with_its_reason(client: PushClient) -> None:
    tokens = {"live-reason": "", "unregistered-reason": "UNREGISTERED", "invalid-reason": "INVALID_TOKEN"}
    recipients = [Recipient(token=token, provider=Provider.PROVIDER_FCM) for token in tokens]
    recipients.append(Recipient(user_id=f"comms_pushnotificationuser_{0:026}"))
    request = SendPushNotificationRequest(to=recipients, content=Content(body="Hello"))

    story = await follow(client, (await client.send(request)).operation_id)

    assert story.end is not None
    errors = {
        error.recipient_index: _reason(error.reason) async for error in client.list_operation_errors(story.end.id)
    }
    assert errors == {1: "UNREGISTERED", 2: "INVALID_TOKEN", 3: "USER_NOT_FOUND"}
    assert {index: _reason(story.final[index].reason) for index in errors} == errors


def _reason(reason: DeliveryReason.ValueType) -> str:
    return DeliveryReason.Name(reason).removeprefix("DELIVERY_REASON_")


@pytest.mark.parametrize(
    ("token", "provider"), [("patient-fcm", Provider.PROVIDER_FCM), ("aa" * 32, Provider.PROVIDER_APN)]
)
async def test_retry_after_is_waited_for(
    client: PushClient, sandbox: SandboxPort, token: str, provider: Provider.ValueType
) -> None:
    seconds = 4
    await sandbox.set_rules({"token": token, "times": 1, "status": 429, "headers": {"retry-after": str(seconds)}})
    request = SendPushNotificationRequest(to=[Recipient(token=token, provider=provider)], content=Content(body="Hello"))
    sent_at = datetime.now(UTC)

    story = await follow(client, (await client.send(request)).operation_id)

    assert story.counts == {"SENT": 1}
    [push] = (await sandbox.pushes([token]))[token]
    assert push.at - sent_at >= timedelta(seconds=seconds)


async def test_a_refused_credential_holds_its_own_work_and_delays_nobody_else(
    client: PushClient, sandbox: SandboxPort, tmp_path: Path
) -> None:
    async with Sandbox.start(tmp_path / "stranger") as stranger:  # the service's sandbox does not know its key
        await _upload_fcm(client, "refused", stranger.identity.fcm_key_file)
    await sandbox.set_rules({"on": "token"})  # counts the requests for access tokens and changes nothing
    held = _to_tokens("held", 20, app_name="refused")

    async with Listener(client, (await client.send(held)).operation_id) as listener:
        await sandbox.matched()
        await _assert_others_are_served(client, "refused")

        assert await _all_queued(client, listener.operation_id) == 20
        assert not listener.story.final
    assert not await sandbox.pushes(recipient.token for recipient in held.to)


async def test_held_work_is_sent_when_the_credential_is_taken_again(
    client: PushClient, stack: Stack, sandbox: SandboxPort
) -> None:
    await _upload_fcm(client, "mended", Path(stack.variables["PHAROS_SANDBOX_FCM_KEY"]))
    await sandbox.set_rules({"on": "token", "times": 1, "status": 400, "body": {"error": "invalid_grant"}})
    held = _to_tokens("mended", 20, app_name="mended")

    async with Listener(client, (await client.send(held)).operation_id) as listener:
        await sandbox.matched()
        await _assert_others_are_served(client, "mended")
        assert await _all_queued(client, listener.operation_id) == 20
        story = await listener.end()

    pushes = await sandbox.pushes(recipient.token for recipient in held.to)
    await assert_agreement(client, story, [Expected("SENT", [each.token]) for each in held.to], pushes)
    assert not repeated(pushes)


async def _upload_fcm(client: PushClient, app_name: str, key_file: Path) -> None:
    request = CreateCredentialRequest(
        app_name=app_name,
        credential_type=CredentialType.CREDENTIAL_TYPE_FCM,
        content=CredentialContent(private_key=base64_of(key_file)),
    )
    await client.create_credential(request)


async def _assert_others_are_served(client: PushClient, beside: str) -> None:
    sends = [_to_tokens(f"beside-{beside}-{number}", 20, app_name="default") for number in range(3)]
    accepted = [await client.send(send) for send in sends]
    stories = [await follow(client, send.operation_id) for send in accepted]
    assert [story.counts for story in stories] == [{"SENT": 20}] * 3


async def _all_queued(client: PushClient, operation_id: str) -> int:
    """How many recipients the operation has, all of which are QUEUED wherever it is looked up."""
    operation = await client.get_operation(operation_id)
    assert operation.status == OperationStatus.OPERATION_STATUS_PROCESSING
    assert operation.stats.queued == operation.stats.recipients
    filters = ListPushNotificationsRequest(operation_id=operation_id)
    listed = [short(each.status) async for each in client.list_push_notifications(filters)]
    assert listed == ["QUEUED"] * operation.stats.recipients
    return len(listed)


def _to_tokens(name: str, size: int, *, app_name: str) -> SendPushNotificationRequest:
    return SendPushNotificationRequest(
        to=(Recipient(token=f"{name}-{number}", provider=Provider.PROVIDER_FCM) for number in range(size)),
        content=Content(body="Hello"),
        sender=Sender(app_name=app_name),
    )
