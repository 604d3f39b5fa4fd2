from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from server.domain.credentials import CredentialContent, CredentialType, SealedCredential, seal_context
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Rejected, Scope, Throttled, Unknown
from server.domain.pushes import Content, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers import tls
from server.providers.apns.sender import ApnsSender
from server.providers.apns.token import ProviderToken
from server.providers.credentials.parsing import parse_credential
from server.providers.credentials.secret import ApnsKey, ServiceAccount
from server.providers.endpoints import Endpoints
from server.providers.fcm.oauth import AccessTokens
from server.providers.fcm.sender import FcmSender
from server.providers.http2.pool import Http2Transport
from server.providers.sealing import Sealer
from server.providers.senders import Senders
from server.providers.transport import (
    RENEWED,
    CertificateRefusedError,
    NotSentError,
    Origin,
    Request,
    Response,
    SharedHeaders,
    UnknownOutcomeError,
)

NOW = 1_800_000_000.0
TIMEOUT = 5.0
PUSH = Push(UUID(int=7), "f00d", Content(title="Hi"), Presentation())
TOO_LARGE = replace(PUSH, content=Content(body="x" * 5000))
GOOD = Response(200, {}, b'{"name":"projects/demo/messages/1"}')
EXPIRED = Response(403, {}, b'{"reason":"ExpiredProviderToken"}')
UNAUTHENTICATED = Response(401, {}, b'{"error":{"status":"UNAUTHENTICATED"}}')


class ScriptedTransport:
    """Answers what it is told, the last answer for good."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers) or [GOOD]
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.shared: list[SharedHeaders] = []
        self.deadlines: list[float] = []
        self.renewals = 0
        self.closed = asyncio.Event()

    async def post(self, request: Request, deadline: float) -> Response:
        self.posts.append((request.path, dict((*request.shared.fields, *request.own)), request.body))
        self.shared.append(request.shared)
        self.deadlines.append(deadline)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def renew(self) -> None:
        self.renewals += 1

    async def aclose(self) -> None:
        self.closed.set()

    def authorizations(self) -> list[str]:
        return [headers["authorization"] for _, headers, _ in self.posts]


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Google:
    """The token endpoint: t1, t2, ..."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: httpx.Response | None = None

    def __call__(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answer or httpx.Response(200, json={"access_token": f"t{self.asked}", "expires_in": 3599})


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
async def fcm(google: Google, clock: Clock, samples: Any) -> AsyncIterator[Any]:
    account = ServiceAccount("example.com:demo", "push@demo.iam", "key-1", samples.pem_of(samples.rsa_key()))
    async with httpx.AsyncClient(transport=httpx.MockTransport(google)) as client:
        tokens = AccessTokens(account, client, "https://oauth.test/token", TIMEOUT, clock)
        yield lambda transport: FcmSender(transport, account.project_id, tokens, TIMEOUT, clock)


@pytest.fixture
def apns(clock: Clock, samples: Any) -> Any:
    key = ApnsKey("DEF123GHIJ", "ABC123DEFG", "com.example.app", samples.pem_of(samples.p256))
    token = ProviderToken(key, clock)
    return lambda transport: ApnsSender(transport, key.topic, token, TIMEOUT, clock)


LOST = [
    (NotSentError("CONNECT_FAILED"), NotSent("CONNECT_FAILED")),
    (UnknownOutcomeError("NO_ANSWER_IN_TIME"), Unknown("NO_ANSWER_IN_TIME")),
]


# FCM


async def test_fcm_push(fcm: Any) -> None:
    transport = ScriptedTransport()
    assert await fcm(transport).send(PUSH) == Accepted("projects/demo/messages/1")
    [(path, headers, body)] = transport.posts
    assert path == "/v1/projects/example.com:demo/messages:send"
    assert headers == {"authorization": "Bearer t1", "content-type": "application/json"}
    assert json.loads(body)["message"]["token"] == "f00d"


async def test_fcm_pushes_share_the_token(fcm: Any, google: Google) -> None:
    transport = ScriptedTransport()
    sender = fcm(transport)
    await asyncio.gather(*(sender.send(PUSH) for _ in range(20)))
    assert set(transport.authorizations()) == {"Bearer t1"}
    assert len(set(transport.shared)) == 1
    assert google.asked == 1


@pytest.mark.parametrize(("error", "outcome"), LOST)
async def test_fcm_push_that_was_lost(fcm: Any, error: Exception, outcome: object) -> None:
    assert await fcm(ScriptedTransport(error)).send(PUSH) == outcome


async def test_fcm_push_too_large_is_not_even_sent(fcm: Any, google: Google) -> None:
    transport = ScriptedTransport()
    assert await fcm(transport).send(TOO_LARGE) == Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)
    assert (transport.posts, google.asked) == ([], 0)


async def test_fcm_refused_token_is_replaced_and_the_push_repeated(fcm: Any, clock: Clock) -> None:
    transport = ScriptedTransport(GOOD, UNAUTHENTICATED, GOOD)
    sender = fcm(transport)
    await sender.send(PUSH)
    clock.now += 600
    assert await sender.send(PUSH) == Accepted("projects/demo/messages/1")
    assert transport.authorizations() == ["Bearer t1", "Bearer t1", "Bearer t2"]
    assert transport.deadlines[1] == transport.deadlines[2]


async def test_fcm_waiting_for_another_token_is_part_of_the_pushs_time(samples: Any, clock: Clock) -> None:
    """The endpoint falls silent after the first token."""
    google = Google()

    async def ask(request: httpx.Request) -> httpx.Response:
        if google.asked:
            await asyncio.Event().wait()
        return google(request)

    account = ServiceAccount("demo", "push@demo.iam", "key-1", samples.pem_of(samples.rsa_key()))
    async with httpx.AsyncClient(transport=httpx.MockTransport(ask)) as client:
        tokens = AccessTokens(account, client, "https://oauth.test/token", 1.0, clock)
        await tokens.current()
        clock.now += 600
        sender = FcmSender(ScriptedTransport(UNAUTHENTICATED), "demo", tokens, 0.05, clock)
        assert await sender.send(PUSH) == NotSent("ACCESS_TOKEN_TIMEOUT")
        await sender.aclose()


async def test_fcm_credential_refused_with_a_fresh_token(fcm: Any, google: Google, clock: Clock) -> None:
    transport = ScriptedTransport(GOOD, UNAUTHENTICATED)
    sender = fcm(transport)
    await sender.send(PUSH)
    clock.now += 600
    for _ in range(5):
        assert await sender.send(PUSH) == CredentialRefused("UNAUTHENTICATED")
    assert google.asked == 2


async def test_fcm_third_party_refusal_does_not_cost_the_token(fcm: Any, google: Google, clock: Clock) -> None:
    body = b'{"error":{"status":"UNAUTHENTICATED","details":[{"errorCode":"THIRD_PARTY_AUTH_ERROR"}]}}'
    transport = ScriptedTransport(GOOD, Response(401, {}, body))
    sender = fcm(transport)
    await sender.send(PUSH)
    clock.now += 600
    assert await sender.send(PUSH) == CredentialRefused("THIRD_PARTY_AUTH_ERROR", Scope.DEVICE)
    assert google.asked == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), CredentialRefused("invalid_grant", called=False)),
        (httpx.Response(503), Throttled("OAUTH_HTTP_503", called=False)),
        (httpx.Response(200), NotSent("OAUTH_MALFORMED")),
    ],
)
async def test_fcm_without_a_token(fcm: Any, google: Google, answer: httpx.Response, outcome: object) -> None:
    google.answer = answer
    transport = ScriptedTransport()
    assert await fcm(transport).send(PUSH) == outcome
    assert transport.posts == []


# APNs


async def test_apns_push(apns: Any) -> None:
    transport = ScriptedTransport()
    assert await apns(transport).send(PUSH) == Accepted(str(PUSH.push_id))
    [(path, headers, _)] = transport.posts
    assert path == "/3/device/f00d"
    kind, token = headers["authorization"].split()
    assert kind == "bearer"
    assert jwt.get_unverified_header(token)["kid"] == "ABC123DEFG"


async def test_apns_pushes_of_one_kind_share_their_headers(apns: Any, clock: Clock) -> None:
    clock.now -= clock.now % 2400
    transport = ScriptedTransport()
    sender = apns(transport)
    low = replace(PUSH, presentation=Presentation(priority=Priority.LOW))
    for push in (PUSH, low, PUSH, replace(low, token="beef")):
        await sender.send(push)
    high, slow, again, slow_again = transport.shared
    assert (high is again, slow is slow_again, high is slow) == (True, True, False)
    clock.now += 2400
    await sender.send(PUSH)
    assert transport.shared[-1] is not high
    assert len(set(transport.authorizations())) == 2


async def test_apns_push_with_a_certificate_has_no_token() -> None:
    transport = ScriptedTransport()
    await ApnsSender(transport, "com.example.app", None, TIMEOUT).send(PUSH)
    [(_, headers, _)] = transport.posts
    assert "authorization" not in headers
    assert headers["apns-topic"] == "com.example.app"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [*LOST, (CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED"), CredentialRefused("CLIENT_CERTIFICATE_REFUSED"))],
)
async def test_apns_push_that_was_lost(apns: Any, error: Exception, outcome: object) -> None:
    assert await apns(ScriptedTransport(error)).send(PUSH) == outcome


async def test_apns_push_too_large_is_not_even_sent(apns: Any) -> None:
    transport = ScriptedTransport()
    assert await apns(transport).send(TOO_LARGE) == Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge", called=False)
    assert transport.posts == []


async def test_apns_expired_token_gets_a_new_one_on_a_new_connection(apns: Any, clock: Clock) -> None:
    clock.now += 2400 - clock.now % 2400 + 1500  # 25 minutes into a token's window
    transport = ScriptedTransport(EXPIRED, EXPIRED, GOOD)
    sender = apns(transport)
    outcomes = await asyncio.gather(sender.send(PUSH), sender.send(PUSH))
    assert Accepted(str(PUSH.push_id)) in outcomes
    assert transport.renewals == 1
    assert len(set(transport.authorizations())) == 2


async def test_apns_expired_token_costs_no_push_of_any_sender_of_the_key(
    h2_server: Any, ca_file: Path, clock: Clock, samples: Any
) -> None:
    """Apple takes no token on a connection that has seen an expired one."""
    clock.now += 2400 - clock.now % 2400 + 1500  # 25 minutes into a token's window
    token = ProviderToken(ApnsKey("DEF123GHIJ", "ABC123DEFG", "topic", samples.pem_of(samples.p256)), clock)
    expired, wedged = f"bearer {token.current()}", set()

    def answer(request: Any) -> None:
        if request.headers["authorization"] == expired or request.connection in wedged:
            wedged.add(request.connection)
            request.respond(403, EXPIRED.body)
        else:
            request.respond(200)

    h2_server.script = answer
    origin = Origin(h2_server.origin, streams=1000, connections=3, proof=True)
    transports = [Http2Transport(origin, tls.trusting(ca_file)) for _ in range(2)]
    pushes = [
        sender.send(PUSH)
        for sender in [ApnsSender(transport, "topic", token, TIMEOUT, clock) for transport in transports]
        for _ in range(30)
    ]
    assert set(await asyncio.gather(*pushes)) == {Accepted(str(PUSH.push_id))}
    assert len(h2_server.connections) == 4
    await asyncio.gather(*(transport.aclose() for transport in transports))


async def test_apns_sender_that_was_idle_takes_fresh_connections_for_a_token_that_another_replaced(
    apns: Any, clock: Clock
) -> None:
    """What it sent with the refused one may still be on its way."""
    clock.now += 2400 - clock.now % 2400 + 1500
    first, second = ScriptedTransport(GOOD, EXPIRED, GOOD), ScriptedTransport()
    senders = apns(first), apns(second)
    for sender in (*senders, *senders):
        assert await sender.send(PUSH) == Accepted(str(PUSH.push_id))
    assert (first.renewals, second.renewals) == (1, 1)
    assert second.authorizations()[1] == first.authorizations()[-1] != second.authorizations()[0]


async def test_apns_push_that_waited_when_the_token_was_replaced_takes_the_new_one(apns: Any, clock: Clock) -> None:
    clock.now += 2400 - clock.now % 2400
    transport = ScriptedTransport(NotSentError(RENEWED), GOOD)
    assert await apns(transport).send(PUSH) == Accepted(str(PUSH.push_id))
    assert transport.deadlines[0] == transport.deadlines[1]


async def test_apns_young_token_called_expired_is_the_credentials_fault(apns: Any, clock: Clock) -> None:
    clock.now += 2400 - clock.now % 2400 + 60
    transport = ScriptedTransport(EXPIRED)
    assert await apns(transport).send(PUSH) == CredentialRefused("ExpiredProviderToken")
    assert (len(transport.posts), transport.renewals) == (1, 0)


# The senders of many credentials


@pytest.fixture
def sealer() -> Sealer:
    return Sealer([b"k" * 32])


@pytest.fixture
def contents(samples: Any) -> dict[CredentialType, CredentialContent]:
    certificate = samples.authority.issue(samples.rsa_key(), uid="com.example.cert")
    p8 = samples.b64(samples.pem_of(samples.p256))
    return {
        CredentialType.FCM: CredentialContent(samples.service_account_file()),
        CredentialType.APN: CredentialContent(p8, None, "ABC123DEFG", "DEF123GHIJ", "com.example.app"),
        CredentialType.APN_SANDBOX: CredentialContent(
            samples.b64(samples.pem_of(samples.rsa_key())), samples.b64(certificate)
        ),
    }


@pytest.fixture
def sealed(sealer: Sealer, contents: dict[CredentialType, CredentialContent]) -> Any:
    def make(kind: CredentialType = CredentialType.APN, version: int = 1) -> SealedCredential:
        identity = uuid4()
        secret = parse_credential(kind, contents[kind]).secret
        return SealedCredential("a1", identity, version, kind, sealer.seal(secret, seal_context("a1", identity)))

    return make


@pytest.fixture
def opened() -> list[tuple[Origin, ScriptedTransport]]:
    return []


@pytest.fixture
async def senders(sealer: Sealer, opened: list[tuple[Origin, ScriptedTransport]]) -> AsyncIterator[Senders]:
    def connect(origin: Origin, _: object) -> ScriptedTransport:
        opened.append((origin, ScriptedTransport()))
        return opened[-1][1]

    senders = Senders(Endpoints(), sealer, connect, capacity=3)
    yield senders
    await senders.aclose()
    assert all(transport.closed.is_set() for _, transport in opened)


@pytest.mark.parametrize(
    ("kind", "origin", "topic"),
    [
        (CredentialType.APN, "https://api.push.apple.com", "com.example.app"),
        (CredentialType.APN_SANDBOX, "https://api.sandbox.push.apple.com", "com.example.cert"),
    ],
)
async def test_apns_credential_speaks_to_its_environment(
    senders: Senders, sealed: Any, opened: Any, kind: CredentialType, origin: str, topic: str
) -> None:
    assert await senders.get(sealed(kind)).send(PUSH) == Accepted(str(PUSH.push_id))
    [(found, transport)] = opened
    assert found.url == origin
    assert found.proof is (kind is CredentialType.APN)  # the other one has a certificate
    assert transport.posts[0][1]["apns-topic"] == topic


async def test_fcm_credential_speaks_to_google(senders: Senders, sealed: Any, opened: Any) -> None:
    assert isinstance(senders.get(sealed(CredentialType.FCM)), FcmSender)
    assert [origin for origin, _ in opened] == [Origin("https://fcm.googleapis.com", 100, 10)]


async def test_sender_is_kept_while_the_version_is(senders: Senders, sealed: Any, opened: Any) -> None:
    credential = sealed()
    assert senders.get(credential) is senders.get(credential)
    assert len(opened) == 1


async def test_new_version_replaces_the_sender_and_an_old_claim_uses_it(
    senders: Senders, sealed: Any, opened: Any
) -> None:
    old = sealed(version=1)
    first = senders.get(old)
    second = senders.get(replace(old, version=2))
    assert first is not second
    assert senders.get(old) is second
    await opened[0][1].closed.wait()
    assert not opened[1][1].closed.is_set()


async def test_retired_sender_is_closed_and_made_anew(senders: Senders, sealed: Any, opened: Any) -> None:
    credential = sealed()
    senders.get(credential)
    senders.retire(credential.credential_id)
    senders.retire(credential.credential_id)
    await opened[0][1].closed.wait()
    senders.get(credential)
    assert len(opened) == 2


async def test_least_recently_used_sender_is_given_up(senders: Senders, sealed: Any, opened: Any) -> None:
    first, *others = [sealed() for _ in range(4)]
    for credential in (first, *others[:2], first, others[2]):
        senders.get(credential)
    await opened[1][1].closed.wait()
    assert [transport.closed.is_set() for _, transport in opened] == [False, True, False, False]


async def test_blob_of_another_account_does_not_open(senders: Senders, sealed: Any, opened: Any) -> None:
    stolen = replace(sealed(), account_id="a2")
    assert await senders.get(stolen).send(PUSH) == CredentialRefused("SEAL_BROKEN", called=False)
    assert opened == []


async def test_secret_that_is_none_refuses(senders: Senders, sealed: Any, sealer: Sealer) -> None:
    credential = sealed()
    broken = replace(credential, sealed=sealer.seal(b'{"kind":"apns_key"}', credential.seal_context))
    assert await senders.get(broken).send(PUSH) == CredentialRefused("CREDENTIAL_UNUSABLE", called=False)


async def test_sealed_credential_shows_no_secret(sealed: Any) -> None:
    credential = sealed()
    assert repr(credential.sealed) not in repr(credential)


async def test_apns_push_over_the_wire(h2_server: Any, ca_file: Path, sealer: Sealer, sealed: Any) -> None:
    h2_server.script = lambda request: request.respond(200, apns_id=request.headers["apns-id"])
    senders = Senders(Endpoints(apns_url=h2_server.origin, ca_file=ca_file), sealer)
    assert await senders.get(sealed()).send(PUSH) == Accepted(str(PUSH.push_id))
    [request] = h2_server.requests
    assert request.headers[":path"] == "/3/device/f00d"
    assert json.loads(request.body)["pharosPushId"] == str(PUSH.push_id)
    await senders.aclose()
