"""The sandbox's FCM and OAuth, judged by firebase-admin, Google's own Python client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import firebase_admin
import firebase_admin.credentials
import firebase_admin.exceptions
import pytest
from firebase_admin import messaging

from sandbox import Sandbox

# What Google's client warns of is what most senders still do.
pytestmark = pytest.mark.filterwarnings("ignore:Message.token is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(directory) as running:
        yield running


@pytest.fixture
def google(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[firebase_admin.App]:
    """firebase-admin with nothing changed but where FCM is and whom TLS trusts."""
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(sandbox.identity.ca_file))
    service = firebase_admin.messaging._MessagingService  # noqa: SLF001 - the one place where its endpoint stands
    monkeypatch.setattr(service, "FCM_URL", sandbox.urls.fcm + "/v1/projects/{0}/messages:send")
    credential = firebase_admin.credentials.Certificate(str(sandbox.identity.fcm_key_file))
    app = firebase_admin.initialize_app(credential, name="sandbox")
    yield app
    firebase_admin.delete_app(app)


def rich_message(token: str) -> messaging.Message:
    return messaging.Message(
        token=token,
        data={"pharosPushId": "7"},
        notification=messaging.Notification(title="Hello", body="World"),
        android=messaging.AndroidConfig(
            priority="high",
            ttl=3600,
            collapse_key="k",
            notification=messaging.AndroidNotification(
                color="#112233", channel_id="c", visibility="private", vibrate_timings_millis=[100, 200]
            ),
        ),
        apns=messaging.APNSConfig(
            headers={"apns-priority": "10"}, payload=messaging.APNSPayload(aps=messaging.Aps(badge=1))
        ),
    )


async def test_googles_client_delivers(sandbox: Sandbox, google: firebase_admin.App) -> None:
    name = await asyncio.to_thread(messaging.send, rich_message("good"), app=google)
    assert name.startswith("projects/pharos-sandbox/messages/0:")
    (entry,) = sandbox.ledger.entries()
    assert entry["messageId"] == name
    assert entry["token"] == "good"
    assert entry["body"]["message"]["notification"] == {"title": "Hello", "body": "World"}
    assert "authorization" not in entry["headers"]


async def test_googles_client_delivers_to_an_installation_id(sandbox: Sandbox, google: firebase_admin.App) -> None:
    message = messaging.Message(fid="cXJ0", notification=messaging.Notification(title="Hello"))
    assert await asyncio.to_thread(messaging.send, message, app=google)
    assert [record.token for record in sandbox.ledger.records()] == ["cXJ0"]


async def test_googles_client_dry_runs_without_a_delivery(sandbox: Sandbox, google: firebase_admin.App) -> None:
    assert await asyncio.to_thread(messaging.send, rich_message("good"), dry_run=True, app=google)
    assert sandbox.ledger.entries() == []


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("unregistered-1", messaging.UnregisteredError),
        ("mismatch-1", messaging.SenderIdMismatchError),
        ("invalid-1", firebase_admin.exceptions.InvalidArgumentError),
    ],
)
async def test_googles_client_understands_every_refusal(
    sandbox: Sandbox, google: firebase_admin.App, token: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await asyncio.to_thread(messaging.send, rich_message(token), app=google)
    assert sandbox.ledger.summary()["FCM"].rejected == 1


async def test_googles_http2_client_delivers_to_many(sandbox: Sandbox, google: firebase_admin.App) -> None:
    messages = [rich_message(token) for token in ("a", "b", "unregistered-c", "quota-d", "e")]

    async def send() -> messaging.BatchResponse:
        answer = await messaging.send_each_async(messages, app=google)
        await messaging._get_messaging_service(google)._async_client.aclose()  # noqa: SLF001 - its close() wants its own loop
        return answer

    # In a thread: that client gets its access token with a call that blocks the loop.
    answer = await asyncio.to_thread(asyncio.run, send())
    assert [response.success for response in answer.responses] == [True, True, False, False, True]
    assert isinstance(answer.responses[2].exception, messaging.UnregisteredError)
    assert isinstance(answer.responses[3].exception, messaging.QuotaExceededError)
    assert sorted(record.token for record in sandbox.ledger.records()) == ["a", "b", "e"]
