"""The sandbox's APNs, judged by aioapns and by httpx over real TLS."""

from __future__ import annotations

import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aioapns
import httpx
import jwt
import pytest
from aioapns.connection import APNsDevelopmentClientProtocol
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import Rule, Sandbox
from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC, open_identity

DEVICE = "ab" * 32


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(directory) as running:
        yield running


def provider_token(sandbox: Sandbox, key: Any = None, kid: str = APNS_KEY_ID, ahead: int = 0, **changes: Any) -> str:
    """Issued so many seconds from now."""
    claims = {"iss": APNS_TEAM_ID, "iat": int(time.time()) + ahead, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key or sandbox.identity.apns_p8_file.read_text(), "ES256", headers={"kid": kid})


def trusting(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sandbox.identity.ca_file)


class Sender:
    """A good push, with whatever is changed in it; None takes a header away."""

    def __init__(self, client: httpx.AsyncClient, sandbox: Sandbox) -> None:
        self._client = client
        self.url = sandbox.urls.apns
        self.authorization: str | None = f"bearer {provider_token(sandbox)}"

    async def __call__(
        self, token: str = DEVICE, body: bytes = b'{"aps":{"alert":"x"}}', method: str = "POST", **changes: str | None
    ) -> httpx.Response:
        headers = {"authorization": self.authorization, "apns-topic": APNS_TOPIC, "apns-push-type": "alert"}
        headers |= {"apns-" + name.replace("_", "-"): value for name, value in changes.items()}
        kept = {name: value for name, value in headers.items() if value is not None}
        url = f"{self.url}/3/device/{token}"
        return await self._client.request(method, url, content=body, headers=kept)


@pytest.mark.parametrize(
    ("beginning", "known_in"),
    [("ab12", {"production", "development"}), ("de7e", {"development"}), ("90d0", {"production"})],
)
async def test_a_token_may_belong_to_one_environment(
    sandbox: Sandbox, send: Sender, beginning: str, known_in: set[str]
) -> None:
    answers = {}
    for name, url in (("production", sandbox.urls.apns), ("development", sandbox.urls.apns_sandbox)):
        send.url = url
        answers[name] = await send(beginning * 16)
    assert {name for name, answer in answers.items() if answer.status_code == 200} == known_in
    refused = [refusal(answer) for answer in answers.values() if answer.status_code != 200]
    assert refused == [(400, "BadDeviceToken")] * (2 - len(known_in))
    assert len(sandbox.ledger.entries()) == len(known_in)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(http1=False, http2=True, verify=trusting(sandbox), timeout=10) as made:
        yield made


@pytest.fixture
def send(client: httpx.AsyncClient, sandbox: Sandbox) -> Sender:
    return Sender(client, sandbox)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


# aioapns


@pytest.fixture
async def apple(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aioapns.APNs]:
    """aioapns with nothing changed but where APNs is and whom TLS trusts."""
    monkeypatch.setattr(APNsDevelopmentClientProtocol, "APNS_SERVER", "localhost")
    monkeypatch.setattr(APNsDevelopmentClientProtocol, "APNS_PORT", int(sandbox.urls.apns.rpartition(":")[2]))
    made = aioapns.APNs(
        key=sandbox.identity.apns_p8_file.read_text(),
        key_id=APNS_KEY_ID,
        team_id=APNS_TEAM_ID,
        topic=APNS_TOPIC,
        use_sandbox=True,
        ssl_context=trusting(sandbox),
    )
    yield made
    for connection in list(made.pool.connections):
        connection.close()


def notification(token: str, **options: Any) -> aioapns.NotificationRequest:
    return aioapns.NotificationRequest(device_token=token, message={"aps": {"alert": "Hi"}}, **options)


async def test_aioapns_delivers(sandbox: Sandbox, apple: aioapns.APNs) -> None:
    request = notification(DEVICE, time_to_live=3600, priority=10, collapse_key="k", push_type=aioapns.PushType.ALERT)
    result = await apple.send_notification(request)
    assert result.is_successful
    (entry,) = sandbox.ledger.entries()
    assert entry["messageId"] == request.notification_id
    assert entry["token"] == DEVICE
    assert entry["body"] == {"aps": {"alert": "Hi"}}
    assert entry["headers"]["apns-collapse-id"] == "k"
    assert "authorization" not in entry["headers"]


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("dead", "410", "Unregistered"),
        ("bad0", "400", "BadDeviceToken"),
        ("4290", "429", "TooManyRequests"),
        ("5030", "503", "ServiceUnavailable"),
        ("5000", "500", "InternalServerError"),
    ],
)
async def test_aioapns_understands_every_refusal(apple: aioapns.APNs, token: str, status: str, reason: str) -> None:
    result = await apple.send_notification(notification(token + "ab" * 30))
    assert (result.status, result.description) == (status, reason)


async def test_aioapns_sees_when_a_device_was_lost(apple: aioapns.APNs) -> None:
    before = time.time_ns() // 1_000_000
    result = await apple.send_notification(notification("dead" + "ab" * 30))
    assert before <= int(result.timestamp) <= before + 10_000


# Answers


async def test_a_push_is_accepted_with_its_id(send: Sender, sandbox: Sandbox) -> None:
    push_id = str(uuid.uuid4())
    answer = await send(id=push_id)
    assert (answer.status_code, answer.content, answer.headers["apns-id"]) == (200, b"", push_id)
    assert answer.http_version == "HTTP/2"
    assert [record.message_id for record in sandbox.ledger.records()] == [push_id]


async def test_a_push_without_an_id_gets_one_and_is_no_duplicate(send: Sender, sandbox: Sandbox) -> None:
    first, second = [(await send()).headers["apns-id"] for _ in range(2)]
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", first)
    assert first != second
    assert sandbox.ledger.summary()["APN"].duplicates == 0


async def test_a_repeated_id_is_a_duplicate(send: Sender, sandbox: Sandbox) -> None:
    push_id = str(uuid.uuid4())
    for _ in range(3):
        assert (await send(id=push_id)).status_code == 200
    summary = sandbox.ledger.summary()["APN"]
    assert (summary.accepted, summary.duplicates) == (3, 2)


async def test_an_error_carries_the_id_too(send: Sender) -> None:
    push_id = str(uuid.uuid4())
    answer = await send("bad0" * 16, id=push_id)
    assert refusal(answer) == (400, "BadDeviceToken")
    assert answer.headers["apns-id"] == push_id
    assert "timestamp" not in answer.json()


async def test_a_flaky_token_fails_twice(send: Sender) -> None:
    push_id = str(uuid.uuid4())
    assert [(await send("f1a6" * 16, id=push_id)).status_code for _ in range(4)] == [503, 503, 200, 503]


async def test_a_stalled_token_is_never_answered(send: Sender, client: httpx.AsyncClient) -> None:
    client.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        await send("57a1" * 16)
    client.timeout = httpx.Timeout(10)
    assert (await send()).status_code == 200


async def test_tokens_are_compared_in_lower_case(send: Sender, sandbox: Sandbox) -> None:
    assert (await send("DEAD" * 16)).status_code == 410
    assert (await send("AB" * 50)).status_code == 200
    assert [record.token for record in sandbox.ledger.records()] == ["ab" * 50]


# Strictness

ABSENT = None
NOW = int(time.time())
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no topic": ({"topic": ABSENT}, 400, "MissingTopic"),
    "another topic": ({"topic": "com.example.other"}, 400, "TopicDisallowed"),
    "the topic of another type": ({"push_type": "voip"}, 400, "BadTopic"),
    "the type of another topic": ({"topic": APNS_TOPIC + ".voip"}, 400, "BadTopic"),
    "unknown type": ({"push_type": "loud"}, 400, "InvalidPushType"),
    "priority 7": ({"priority": "7"}, 400, "BadPriority"),
    "background at 10": ({"push_type": "background", "priority": "10"}, 400, "BadPriority"),
    "background by default": ({"push_type": "background"}, 400, "BadPriority"),
    "id without hyphens": ({"id": uuid.uuid4().hex}, 400, "BadMessageId"),
    "relative expiration": ({"expiration": "3600"}, 400, "BadExpirationDate"),
    "expiration in milliseconds": ({"expiration": f"{NOW}000"}, 400, "BadExpirationDate"),
    "expiration as text": ({"expiration": "soon"}, 400, "BadExpirationDate"),
    "negative expiration": ({"expiration": "-1"}, 400, "BadExpirationDate"),
    "long collapse id": ({"collapse_id": "x" * 65}, 400, "BadCollapseId"),
    "no payload": ({"body": b""}, 400, "PayloadEmpty"),
    "payload not JSON": ({"body": b"hello"}, 400, "PayloadEmpty"),
    "payload too deep": ({"body": b'{"a":' + b"[" * 3000}, 400, "PayloadEmpty"),
    "payload a list": ({"body": b"[]"}, 400, "PayloadEmpty"),
    "payload too large": ({"body": b'{"a":"' + b"x" * 4089 + b'"}'}, 413, "PayloadTooLarge"),
    "payload of a megabyte": ({"body": b"x" * 1_000_000}, 413, "PayloadTooLarge"),
    "no device": ({"token": ""}, 400, "MissingDeviceToken"),
    "device not hex": ({"token": "xyz" * 10}, 400, "BadDeviceToken"),
    "device of half bytes": ({"token": "abc" * 11}, 400, "BadDeviceToken"),
    "device too short": ({"token": "abcdef"}, 400, "BadDeviceToken"),
    "another method": ({"method": "PUT"}, 405, "MethodNotAllowed"),
}


@pytest.mark.parametrize(("changes", "status", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_wrong_push_is_refused(
    send: Sender, sandbox: Sandbox, changes: dict[str, Any], status: int, reason: str
) -> None:
    assert refusal(await send(**changes)) == (status, reason)
    summary = sandbox.ledger.summary()["APN"]
    assert (summary.accepted, summary.rejected) == (0, 1)


TAKEN: dict[str, dict[str, Any]] = {
    "no type": {"push_type": ABSENT},
    "background": {"push_type": "background", "priority": "5"},
    "power saving": {"priority": "1"},
    "voip": {"push_type": "voip", "topic": APNS_TOPIC + ".voip", "body": b'{"a":"' + b"x" * 5000 + b'"}'},
    "live activity": {"push_type": "liveactivity", "topic": APNS_TOPIC + ".push-type.liveactivity"},
    "once": {"expiration": "0"},
    "an hour": {"expiration": str(NOW + 3600)},
    "past": {"expiration": str(NOW - 3600)},
    "longest collapse id": {"collapse_id": "x" * 64},
    "largest payload": {"body": b'{"a":"' + b"x" * 4088 + b'"}'},
    "upper-case id": {"id": str(uuid.uuid4()).upper()},
}


@pytest.mark.parametrize("changes", TAKEN.values(), ids=TAKEN.keys())
async def test_a_right_push_is_taken(send: Sender, changes: dict[str, Any]) -> None:
    answer = await send(**changes)
    assert answer.status_code == 200, answer.text


async def test_another_path_is_refused(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    assert refusal(await client.post(f"{sandbox.urls.apns}/4/device/{DEVICE}")) == (404, "BadPath")


async def test_a_header_that_comes_twice_is_refused(client: httpx.AsyncClient, sandbox: Sandbox, send: Sender) -> None:
    headers = [("authorization", send.authorization or ""), ("apns-topic", APNS_TOPIC), ("apns-topic", APNS_TOPIC)]
    answer = await client.post(f"{sandbox.urls.apns}/3/device/{DEVICE}", content=b"{}", headers=headers)
    assert refusal(answer) == (400, "DuplicateHeaders")


def another_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


BAD_TOKENS: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"key": another_key()}, "InvalidProviderToken"),
    "another key id": ({"kid": "OTHERKEY12"}, "InvalidProviderToken"),
    "another team": ({"iss": "OTHERTEAM1"}, "InvalidProviderToken"),
    "no issue time": ({"iat": None}, "InvalidProviderToken"),
    "issue time as text": ({"iat": "now"}, "InvalidProviderToken"),
    "from the future": ({"ahead": 600}, "InvalidProviderToken"),
    "an hour old": ({"ahead": -3700}, "ExpiredProviderToken"),
}


@pytest.mark.parametrize(("changes", "reason"), BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_wrong_provider_token_is_refused(
    send: Sender, sandbox: Sandbox, changes: dict[str, Any], reason: str
) -> None:
    send.authorization = f"bearer {provider_token(sandbox, **changes)}"
    assert refusal(await send()) == (403, reason)


@pytest.mark.parametrize("authorization", ["Bearer {}", "{}", "bearer", "bearer x.y.z", "basic {}"])
async def test_the_authorization_has_to_be_a_bearer_token(send: Sender, authorization: str) -> None:
    token = str(send.authorization).partition(" ")[2]
    send.authorization = authorization.format(token)
    assert refusal(await send()) == (403, "InvalidProviderToken")


async def test_a_provider_token_is_needed(send: Sender) -> None:
    send.authorization = None
    assert refusal(await send()) == (403, "MissingProviderToken")


async def test_a_token_that_was_good_expires_and_wedges_its_connection(
    send: Sender, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await send()).status_code == 200
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3605)
    assert refusal(await send()) == (403, "ExpiredProviderToken")
    send.authorization = f"bearer {provider_token(sandbox)}"
    assert refusal(await send()) == (403, "ExpiredProviderToken")
    async with httpx.AsyncClient(http1=False, http2=True, verify=trusting(sandbox)) as fresh:
        again = Sender(fresh, sandbox)
        assert (await again()).status_code == 200


async def test_a_token_replaced_too_soon_is_churn(
    send: Sender, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await send()).status_code == 200
    send.authorization = f"bearer {provider_token(sandbox, iat=int(time.time()) + 1)}"
    assert refusal(await send()) == (429, "TooManyProviderTokenUpdates")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1300)
    send.authorization = f"bearer {provider_token(sandbox)}"
    assert (await send()).status_code == 200


# Certificates


async def test_a_client_certificate_stands_for_token_and_topic(sandbox: Sandbox) -> None:
    tls = trusting(sandbox)
    tls.load_cert_chain(sandbox.identity.apns_cert_file, sandbox.identity.apns_key_file)
    async with httpx.AsyncClient(http1=False, http2=True, verify=tls) as client:
        send = Sender(client, sandbox)
        send.authorization = None
        assert (await send()).status_code == 200
        assert (await send(topic=ABSENT)).status_code == 200
        assert refusal(await send(topic="com.example.other")) == (400, "TopicDisallowed")


async def test_a_certificate_of_another_authority_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    stranger = open_identity(tmp_path / "stranger")
    tls = trusting(sandbox)
    tls.load_cert_chain(stranger.apns_cert_file, stranger.apns_key_file)
    async with httpx.AsyncClient(http1=False, http2=True, verify=tls) as client:
        with pytest.raises(httpx.TransportError):
            await Sender(client, sandbox)()


async def test_certificates_stand_pythons_strictest_check(sandbox: Sandbox) -> None:
    """Python 3.13 makes this flag the default."""
    tls = trusting(sandbox)
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    async with httpx.AsyncClient(http1=False, http2=True, verify=tls) as client:
        assert (await Sender(client, sandbox)()).status_code == 200


# Scripted


async def test_a_rule_answers_in_place_of_apns(send: Sender, sandbox: Sandbox) -> None:
    body = {"reason": "BadEnvironmentKeyInToken"}
    sandbox.rules.replace(Rule(token="ab", skip=1, times=1, status=403, body=body))
    push_id = str(uuid.uuid4())
    answers = [await send(id=push_id) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 403, 200]
    assert answers[1].json() == body
    assert answers[1].headers["apns-id"] == push_id
    summary = sandbox.ledger.summary()["APN"]
    assert (summary.accepted, summary.rejected, summary.duplicates) == (2, 1, 1)
