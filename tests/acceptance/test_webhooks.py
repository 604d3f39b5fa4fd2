"""Webhooks through all processes as they are run: made over REST, delivered by a worker that is killed and replaced."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pharos.push.v1 import credentials_pb2

from server.domain import ids
from server.domain.ids import Kind
from server.store.accounts import Accounts
from server.store.database import Database
from tests.acceptance.programs import Program
from tests.integration.store.sending import eventually
from tests.integration.webhooks.receiver import Receiver, receiving

_BASE = "/v1/PushNotifications"


@dataclass
class Service:
    """A server, a gateway and workers on the test's database."""

    folder: Path
    environment: dict[str, str]
    stack: ExitStack

    def start(self, *command: str) -> Program:
        words = (sys.executable, "-m", *command)
        return self.stack.enter_context(closing(Program(words, self.folder / "processes.log", **self.environment)))

    def work(self) -> Program:
        worker = self.start("server", "work", "--data-dir", str(self.folder))
        worker.ready()
        return worker


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    environment = {"DATABASE_URL": database_url, "PHAROS_WEBHOOK_NETWORKS": "127.0.0.0/8"}
    with ExitStack() as stack:
        yield Service(tmp_path, environment, stack)


@pytest.fixture
async def own(
    service: Service, database: Database, fcm_content: credentials_pb2.CredentialContent
) -> AsyncIterator[httpx.AsyncClient]:
    """REST as an account of its own, which has an app."""
    grpc = service.start("server", "serve", "--data-dir", str(service.folder)).ready()["grpc"]
    url = service.start("gateway", "--grpc", grpc).ready()["url"]
    account = await Accounts(database).create("webhooks")
    auth = (ids.encode(Kind.ACCOUNT, account.id), account.secret)
    async with httpx.AsyncClient(base_url=url, auth=auth, timeout=60) as client:
        content = {"privateKey": fcm_content.private_key}
        await _post(client, "/Credentials", {"credentialType": "FCM", "content": content})
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def _post(client: httpx.AsyncClient, path: str, body: Any = None) -> dict[str, Any]:
    response = await client.post(_BASE + path, json=body)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def _end_an_operation(client: httpx.AsyncClient) -> str:
    """One that reaches nobody, so that no provider is needed."""
    body = {
        "to": [{"token": "later", "provider": "FCM"}],
        "content": {"body": "Hello"},
        "schedule": {"sendAt": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
    }
    operation = (await _post(client, "", body))["operationId"]
    await _post(client, f"/Operations/{operation}/Cancel")
    return str(operation)


async def test_events_reach_their_receiver_signed_also_when_the_worker_is_killed_meanwhile(
    service: Service, own: httpx.AsyncClient, receiver: Receiver, database: Database
) -> None:
    made = await _post(own, "/Webhooks", {"url": receiver.url(), "eventTypes": ["pharos.operation.completed"]})
    worker = service.work()
    first = await _end_an_operation(own)
    (got,) = await receiver.arrived(1)
    event = got.verified(made["secret"])
    assert (event["subject"], event["data"]["operation"]["status"]) == (first, "CANCELED")

    receiver.hold()
    operations = {await _end_an_operation(own) for _ in range(6)}
    await receiver.arrived(2)
    worker.kill_family()
    receiver.let_go()
    async with database.connection() as connection:
        await connection.execute("update webhooks set due_at = now() where lease is not null")
        await connection.execute("update jobs set due_at = now() where lease is not null")
    service.work()

    async def delivered() -> list[dict[str, Any]]:
        response = await own.get(f"{_BASE}/Webhooks/{made['resourceId']}/Deliveries", params={"status": "DELIVERED"})
        found: list[dict[str, Any]] = response.json()["deliveries"]
        return found if len(found) == 7 else []

    log = await eventually(delivered, 60)
    arrived = [each.verified(made["secret"]) for each in receiver.got]
    assert {each["subject"] for each in arrived} == {first, *operations}
    assert {each["id"] for each in arrived} == {each["eventId"] for each in log}
    assert len({json.dumps(each, sort_keys=True) for each in arrived}) == 7
