"""A healthy account beside three in trouble: a refused credential, a throttled app, templates that cost too much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from sandbox.identity import open_identity
from tests.robustness.history import Bystander, History
from tests.robustness.run import Run, fcm_credential, running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_TROUBLED = scaled(600, 5_000)
_HEALTHY = scaled(200, 5_000)
_COSTLY_RECIPIENTS = scaled(300, 1_000)
_THROTTLED = "7777"
# All the work that the limits allow, for each recipient. That shows only with its variables, not at accept.
_COSTLY = "{% for a in (1..n) %}{% for b in (1..n) %}{{ a | times: b }}{% endfor %}{% endfor %}"


class Tokens:
    """Devices that get `text`: of APNs those to be throttled, else of FCM: a project is throttled for everybody."""

    def __init__(self, name: str, size: int, text: str = "Hello") -> None:
        self._provider = Provider.PROVIDER_APN if name == _THROTTLED else Provider.PROVIDER_FCM
        self.addresses = [f"{name}-{number}" for number in range(size)]
        if self._provider == Provider.PROVIDER_APN:
            self.addresses = [f"{name}{number:060x}" for number in range(size)]
        self.devices: dict[str, set[str]] = {}
        self._text = text

    def request(self) -> SendPushNotificationRequest:
        fields = {"provider": self._provider, "variables_json": b'{"n": 1000}'}
        to = (Recipient(token=token, **fields) for token in self.addresses)
        return SendPushNotificationRequest(content=Content(title="To you", body=self._text), to=to)


@pytest.fixture
async def run(tmp_path: Path, sandbox_keys: Path, database_url: str) -> AsyncIterator[Run]:
    """On one worker, which has everybody's work."""
    service = Service(tmp_path, sandbox_keys, database_url, workers=1)
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running(service, database_url))


async def _assert_healthy_sends_end_first(run: Run, troubled: Mapping[UUID, PushClient]) -> History:
    """They are accepted last, and end while the others are under way, which are canceled then."""
    client = await run.new_account()
    sends = [await run.send(client, Tokens(f"healthy{size}", size)) for size in (1, _HEALTHY)]
    await run.observer.until_ended(*sends)
    run.bystanders += [Bystander(send, list(troubled)) for send in sends]
    left = await run.observer.value("select count(*) from operations where ended_at is null")
    assert left == len(troubled), "healthy sends waited for those in trouble"
    for operation, owner in troubled.items():
        await run.cancel(owner, operation)
    await run.observer.until_ended()

    history = await run.history()
    assert broken(history) == {}
    return history


@pytest.mark.timeout(scaled(180, 3600))
async def test_refused_and_throttled_credentials_delay_nobody_else(run: Run, tmp_path: Path) -> None:
    stranger = await asyncio.to_thread(open_identity, tmp_path / "stranger")  # the sandbox does not know its key
    stranger.point_service_account_at("https://localhost/token")
    refused = await run.new_account(fcm_credential(stranger.fcm_key_file))
    throttled = await run.new_account()
    await run.sandbox.set_rules({"token": _THROTTLED, "status": 503, "headers": {"retry-after": "600"}})
    troubled = {
        await run.send(refused, Tokens("refused", _TROUBLED)): refused,
        await run.send(throttled, Tokens(_THROTTLED, _TROUBLED)): throttled,
    }
    await run.sandbox.matched()

    history = await _assert_healthy_sends_end_first(run, troubled)

    called = [token for token in history.calls_to if token.startswith(_THROTTLED)]
    assert len(called) < _TROUBLED, "a throttled credential is not asked for everybody"
    assert not [token for token in history.calls_to if token.startswith("refused")]


@pytest.mark.timeout(scaled(180, 3600))
async def test_templates_that_cost_too_much_delay_nobody_else(run: Run) -> None:
    poisoned = await run.new_account()
    troubled = {await run.send(poisoned, Tokens("poisoned", _COSTLY_RECIPIENTS, _COSTLY)): poisoned}
    await run.observer.until("select exists (select from jobs where lease is not null)")

    await _assert_healthy_sends_end_first(run, troubled)
