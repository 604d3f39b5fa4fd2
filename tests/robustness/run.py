"""One run against a service: what is sent, what harm is done, and in the end its history."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

from pharos.push.v1.credentials_pb2 import CreateCredentialRequest, CredentialContent, CredentialType
from pharos.push.v1.push_notifications_pb2 import SendPushNotificationRequest

from client.push_client import PushClient
from server.domain import ids
from server.domain.ids import Kind
from server.store.accounts import Accounts
from server.store.database import Database
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import base64_of
from tests.robustness.database import Observer
from tests.robustness.history import Bystander, Call, End, History, Loss, Told
from tests.robustness.service import Service

# Calls of one job that a killed worker can have made without a record: the answers of a flush under way, those gathered
# for the next one, before which sending waits, and what is on the wire.
UNRECORDED: Final = 2 * 250 + 125

LATE: Final = {"latencyMs": 150, "jitterMs": 300}


class Audience(Protocol):
    """Who gets a send. ``addresses``: tokens and user ids in order; ``devices``: those of the users among them."""

    @property
    def addresses(self) -> list[str]: ...
    @property
    def devices(self) -> dict[str, set[str]]: ...
    def request(self) -> SendPushNotificationRequest: ...


@dataclass
class Run:
    """What happened so far."""

    service: Service
    observer: Observer
    sandbox: SandboxPort
    url: str
    told: list[Told] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    bystanders: list[Bystander] = field(default_factory=list)
    devices: dict[str, set[str]] = field(default_factory=dict)
    registrations: dict[str, list[datetime]] = field(default_factory=dict)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def slow_down(self, *rules: dict[str, Any]) -> None:
        """Has the providers answer late, after these rules: else a batch is over before anything can happen to it."""
        await self.sandbox.set_rules(*rules, LATE)

    async def new_account(self, *credentials: CreateCredentialRequest) -> PushClient:
        """A client of a new account, with these credentials, or with those that the sandbox takes."""
        database = await Database.open(self.url, size=1)
        made = await Accounts(database).create("robustness")
        await database.close()
        account = ids.encode(Kind.ACCOUNT, made.id)
        client = PushClient(self.service.address, account, made.secret, timeout=90.0)
        await self._open.enter_async_context(client)
        for credential in credentials or self.good_credentials():
            await client.create_credential(credential)
        return client

    def good_credentials(self) -> tuple[CreateCredentialRequest, ...]:
        given = self.service.providers
        return (
            fcm_credential(Path(given["fcmKeyFile"])),
            CreateCredentialRequest(
                app_name="default",
                credential_type=CredentialType.CREDENTIAL_TYPE_APN,
                content=CredentialContent(
                    certificate=base64_of(given["apnsCertFile"]), private_key=base64_of(given["apnsKeyFile"])
                ),
            ),
        )

    async def send(self, client: PushClient, audience: Audience) -> UUID:
        """Has a send accepted, with a key of its own."""
        request = audience.request()
        request.request_id = str(uuid4())
        self.devices |= audience.devices
        response = await client.send(request)
        operation = ids.decode(Kind.OPERATION, response.operation_id)
        assert operation is not None
        self.told.append(Told(request.request_id, audience.addresses, operation))
        return operation

    async def kill_workers(self, *numbers: int) -> None:
        """kill -9, and new ones in their place. What they had is looked up while they stand still."""
        for number in numbers:
            self.service.pause_worker(number)
        await self.lose(over=self.service.lease)
        for number in numbers:
            self.service.workers[number].kill_family()
        for number in numbers:
            await self.service.start_worker(number)

    async def kill_sandbox(self) -> None:
        """kill -9 of the providers: what they had answered may not have arrived."""
        sandbox = self.service.sandbox
        assert sandbox is not None
        for process in sandbox.family():
            process.send(signal.SIGSTOP)  # what is claimed from here on has not been called
        await self.lose(over=0.0)
        sandbox.kill_family()

    async def cancel(self, client: PushClient, operation: UUID) -> None:
        await client.cancel_operation(ids.encode(Kind.OPERATION, operation))
        await self.ended(operation=operation)

    async def lose(self, *, over: float) -> None:
        """Notes that calls may be forgotten now, or are made by somebody forgotten for so many more seconds."""
        at = datetime.now(UTC)
        held = await self.observer.in_hand()
        bound = held.jobs * UNRECORDED
        self.losses.append(Loss(at, at + timedelta(seconds=over), held.recipients, held.decided, bound))

    def extend_loss(self, *, by: float) -> None:
        """The last loss is not over yet, or not for so many more seconds: who was stopped calls again."""
        over = datetime.now(UTC) + timedelta(seconds=by)
        self.losses[-1] = replace(self.losses[-1], over=over)

    async def ended(self, *, operation: UUID | None = None, tokens: Iterable[str] = ()) -> None:
        """Notes that from now on no claim may call for these."""
        at = datetime.now(UTC)
        held = await self.observer.in_hand()
        self.ends.append(End(at, held.recipients, operation, frozenset(tokens)))

    async def history(self) -> History:
        """Once everything is over."""
        found: dict[str, Any] = await self.observer.everything()
        return History(
            told=self.told,
            calls=await asyncio.to_thread(self.calls),
            losses=self.losses,
            ends=self.ends,
            bystanders=self.bystanders,
            devices=self.devices,
            registrations=self.registrations,
            late=timedelta(seconds=self.service.provider_timeout),
            **found,
        )

    def calls(self) -> list[Call]:
        """Every call so far."""
        return [_call(noted) for noted in self.service.calls()]

    async def close(self) -> None:
        await self._open.aclose()


@asynccontextmanager
async def running(service: Service, url: str) -> AsyncIterator[Run]:
    """Starts the service; ``url`` is its database, seen past any proxy."""
    try:
        await service.start()
        async with SandboxPort(service.providers["controlUrl"]) as sandbox:
            run = Run(service, Observer(url), sandbox, url)
            yield run
            await run.close()
    finally:
        service.close()


def fcm_credential(key_file: Path) -> CreateCredentialRequest:
    """A service account for the app `default`."""
    return CreateCredentialRequest(
        app_name="default",
        credential_type=CredentialType.CREDENTIAL_TYPE_FCM,
        content=CredentialContent(private_key=base64_of(key_file)),
    )


def _call(noted: dict[str, Any]) -> Call:
    return Call(
        at=datetime.fromtimestamp(noted["at"], UTC),
        provider=noted["provider"],
        token=noted["token"],
        push_id=noted["pushId"].lower(),
        status=noted["status"],
        taken=noted["taken"],
        retry_after=noted["retryAfter"],
    )
