"""The sandbox's FCM and OAuth, judged by httpx over real TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import Rule, Sandbox
from sandbox.ledger import Provider
from sandbox.wire import Fault

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(directory) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    tls = ssl.create_default_context(cafile=sandbox.identity.ca_file)
    async with httpx.AsyncClient(http2=True, verify=tls, timeout=10) as made:
        yield made


def claims(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": sandbox.identity.service_account["client_email"],
        "scope": SCOPE,
        "aud": sandbox.urls.oauth,
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def assertion(sandbox: Sandbox, **changes: Any) -> str:
    account = sandbox.identity.service_account
    return jwt.encode(
        claims(sandbox, **changes), account["private_key"], "RS256", headers={"kid": account["private_key_id"]}
    )


async def grant(client: httpx.AsyncClient, sandbox: Sandbox, text: str) -> httpx.Response:
    return await client.post(sandbox.urls.oauth, data={"grant_type": GRANT, "assertion": text})


@pytest.fixture
async def bearer(client: httpx.AsyncClient, sandbox: Sandbox) -> str:
    answer = await grant(client, sandbox, assertion(sandbox))
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 3599
    assert answer.json()["token_type"] == "Bearer"
    return str(answer.json()["access_token"])


def send_url(sandbox: Sandbox, project: str = "pharos-sandbox") -> str:
    return f"{sandbox.urls.fcm}/v1/projects/{project}/messages:send"


class Sender:
    """Sends what it is given to a token, as JSON."""

    def __init__(self, client: httpx.AsyncClient, sandbox: Sandbox, bearer: str) -> None:
        self._client = client
        self._sandbox = sandbox
        self._headers = {"authorization": f"Bearer {bearer}"}

    async def __call__(self, token: str = "good", **message: Any) -> httpx.Response:
        body = {"message": {"token": token, **message}}
        return await self._client.post(send_url(self._sandbox), json=body, headers=self._headers)


@pytest.fixture
def send(client: httpx.AsyncClient, sandbox: Sandbox, bearer: str) -> Sender:
    return Sender(client, sandbox, bearer)


def fcm_code(answer: httpx.Response) -> str | None:
    details = answer.json()["error"].get("details", [])
    codes = [detail["errorCode"] for detail in details if detail["@type"].endswith("fcm.v1.FcmError")]
    return codes[0] if codes else None


def violations(answer: httpx.Response) -> list[str]:
    details = answer.json()["error"]["details"]
    return [
        violation["field"]
        for detail in details
        if detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
        for violation in detail["fieldViolations"]
    ]


# Answers by token


@pytest.mark.parametrize(
    ("token", "status", "code", "name"),
    [
        ("unregistered", 404, "UNREGISTERED", "NOT_FOUND"),
        ("invalid", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("mismatch", 403, "SENDER_ID_MISMATCH", "PERMISSION_DENIED"),
        ("quota", 429, "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"),
        ("unavailable", 503, "UNAVAILABLE", "UNAVAILABLE"),
        ("internal", 500, "INTERNAL", "INTERNAL"),
    ],
)
async def test_a_tokens_prefix_decides_the_answer(send: Sender, token: str, status: int, code: str, name: str) -> None:
    answer = await send(f"{token}-of-a-device")
    assert answer.http_version == "HTTP/2"
    assert (answer.status_code, fcm_code(answer)) == (status, code)
    assert answer.json()["error"]["status"] == name
    assert answer.json()["error"]["code"] == status


async def test_the_quota_answer_says_when_to_come_back(send: Sender) -> None:
    answer = await send("quota")
    assert answer.headers["retry-after"].isdigit()
    assert any(detail["@type"].endswith("google.rpc.QuotaFailure") for detail in answer.json()["error"]["details"])


async def test_a_bad_token_is_blamed_on_the_token(send: Sender) -> None:
    assert violations(await send("invalid")) == ["message.token"]


async def test_a_flaky_token_fails_twice(send: Sender, sandbox: Sandbox) -> None:
    statuses = [(await send("flaky", data={"pharosPushId": "1"})).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 503]
    summary = sandbox.ledger.summary()["FCM"]
    assert (summary.accepted, summary.rejected, summary.duplicates) == (1, 3, 0)


async def test_a_stalled_token_is_never_answered(
    client: httpx.AsyncClient, sandbox: Sandbox, bearer: str, send: Sender
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(
            send_url(sandbox),
            json={"message": {"token": "stall"}},
            headers={"authorization": f"Bearer {bearer}"},
            timeout=0.2,
        )
    assert (await send("good")).status_code == 200


async def test_repeated_push_ids_are_duplicates_wherever_the_id_stands(send: Sender, sandbox: Sandbox) -> None:
    for message in (
        {"data": {"pharosPushId": "1"}},
        {"android": {"data": {"pharosPushId": "1"}}},
        {"apns": {"payload": {"pharosPushId": "1"}}},
        {"data": {"pharosPushId": "2"}},
        {},
        {},
    ):
        assert (await send("good", **message)).status_code == 200
    assert sandbox.ledger.summary()["FCM"].duplicates == 2


# Strictness


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer ya29.forged", "bearer {}", "{}"])
async def test_only_a_bearer_token_of_its_own_is_taken(
    client: httpx.AsyncClient, sandbox: Sandbox, bearer: str, authorization: str | None
) -> None:
    headers = {"authorization": authorization.format(bearer)} if authorization else {}
    answer = await client.post(send_url(sandbox), json={"message": {"token": "good"}}, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"
    assert fcm_code(answer) is None


async def test_a_revoked_token_is_refused_and_a_new_one_taken(
    client: httpx.AsyncClient, sandbox: Sandbox, send: Sender
) -> None:
    assert (await send()).status_code == 200
    sandbox.access_tokens.revoke_all()
    assert (await send()).status_code == 401
    fresh = (await grant(client, sandbox, assertion(sandbox))).json()["access_token"]
    assert (await Sender(client, sandbox, fresh)()).status_code == 200


async def test_an_access_token_outlives_the_sandbox(client: httpx.AsyncClient, directory: Path, bearer: str) -> None:
    async with Sandbox.start(directory) as later:
        assert (await Sender(client, later, bearer)()).status_code == 200


async def test_an_access_token_expires(send: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3598)
    assert (await send()).status_code == 200
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert (await send()).status_code == 401


def wrong_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "audience": ({"aud": "https://example.com/token"}, "invalid_grant"),
    "no audience": ({"aud": None}, "invalid_grant"),
    "issuer": ({"iss": "someone@example.com"}, "invalid_grant"),
    "scope": ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
    "no expiry": ({"exp": None}, "invalid_grant"),
    "no issue": ({"iat": None}, "invalid_grant"),
    "expired": ({"iat": 1_700_000_000, "exp": 1_700_003_600}, "invalid_grant"),
    "too long": ({"exp": int(time.time()) + 7200}, "invalid_grant"),
    "in the future": ({"iat": int(time.time()) + 900, "exp": int(time.time()) + 2000}, "invalid_grant"),
}


@pytest.mark.parametrize(("changes", "error"), BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_a_grant_with_wrong_claims_is_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, changes: dict[str, Any], error: str
) -> None:
    answer = await grant(client, sandbox, assertion(sandbox, **changes))
    assert answer.status_code == 400
    assert answer.json()["error"] == error


async def test_a_grant_signed_by_another_key_is_refused(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    forged = jwt.encode(claims(sandbox), wrong_key(), "RS256")
    answer = await grant(client, sandbox, forged)
    assert answer.json() == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


@pytest.mark.parametrize("text", ["", "a.b.c", jwt.encode({"iss": "x"}, "s" * 32, "HS256"), jwt.encode({}, "", "none")])
async def test_what_is_no_assertion_is_refused(client: httpx.AsyncClient, sandbox: Sandbox, text: str) -> None:
    assert (await grant(client, sandbox, text)).status_code == 400


async def test_another_grant_type_is_refused(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    answer = await client.post(sandbox.urls.oauth, data={"grant_type": "password"})
    assert answer.json()["error"] == "unsupported_grant_type"


async def test_an_unknown_field_is_refused_before_fcm_sees_it(send: Sender, sandbox: Sandbox) -> None:
    answer = await send("good", foo=1)
    assert (answer.status_code, fcm_code(answer)) == (400, None)
    assert violations(answer) == ["message"]
    summary = sandbox.ledger.summary()["FCM"]
    assert (summary.accepted, summary.rejected) == (0, 1)


async def test_a_message_too_large_is_refused_by_fcm(send: Sender) -> None:
    answer = await send("good", data={"k": "x" * 5000})
    assert (answer.status_code, fcm_code(answer)) == (400, "INVALID_ARGUMENT")
    assert answer.json()["error"]["message"] == "Android message is too big"


async def test_a_body_larger_than_the_windows_is_read_to_its_end(send: Sender) -> None:
    answer = await send("good", data={"k": "x" * 300_000})
    assert answer.status_code == 400
    assert "size" in answer.json()["error"]["message"]


async def test_another_project_is_not_found(client: httpx.AsyncClient, sandbox: Sandbox, bearer: str) -> None:
    answer = await client.post(
        send_url(sandbox, "other"),
        json={"message": {"token": "good"}},
        headers={"authorization": f"Bearer {bearer}"},
    )
    assert (answer.status_code, fcm_code(answer)) == (404, None)


async def test_http_1_1_works_too_and_keeps_the_connection(sandbox: Sandbox, bearer: str) -> None:
    tls = ssl.create_default_context(cafile=sandbox.identity.ca_file)
    async with httpx.AsyncClient(http2=False, verify=tls, timeout=10) as client:
        send = Sender(client, sandbox, bearer)
        answers = [await send("good"), await send("unregistered"), await send("good", data={"k": "x" * 90_000})]
    assert [answer.status_code for answer in answers] == [200, 404, 400]
    assert {answer.http_version for answer in answers} == {"HTTP/1.1"}
    assert len({answer.extensions["network_stream"] for answer in answers}) == 1


# Scripted


async def test_a_rule_answers_in_place_of_fcm(send: Sender, sandbox: Sandbox) -> None:
    sandbox.rules.replace(Rule(provider=Provider.FCM, token="ab", times=1, status=502, body="<html>Bad</html>"))
    answers = [await send("abcd"), await send("abcd")]
    assert [answer.status_code for answer in answers] == [502, 200]
    assert answers[0].headers["content-type"].startswith("text/html")
    assert answers[0].text == "<html>Bad</html>"


async def test_the_token_endpoint_can_fail(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.rules.replace(Rule(on="token", times=1, status=503, body={"error": "internal_failure"}))
    statuses = [(await grant(client, sandbox, assertion(sandbox))).status_code for _ in range(2)]
    assert statuses == [503, 200]


async def test_an_accepted_push_may_lose_its_connection(send: Sender, sandbox: Sandbox) -> None:
    sandbox.rules.replace(Rule(times=1, fault=Fault.CUT, processed=True))
    push = {"data": {"pharosPushId": "1"}}
    with pytest.raises(httpx.TransportError):
        await send("good", **push)
    assert (await send("good", **push)).status_code == 200
    assert sandbox.ledger.summary()["FCM"].duplicates == 1


async def test_a_late_answer_is_late(send: Sender, sandbox: Sandbox) -> None:
    sandbox.rules.replace(Rule(latency_ms=80))
    begun = time.monotonic()
    assert (await send("good")).status_code == 200
    assert time.monotonic() - begun >= 0.08


async def test_a_client_that_keeps_to_the_limit_can_have_more_waiting(send: Sender, sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(send(f"good-{number}") for number in range(200)))
    assert {answer.status_code for answer in answers} == {200}
    assert sandbox.ledger.summary()["FCM"].accepted == 200


# The control port


async def test_the_control_port_shows_and_scripts(client: httpx.AsyncClient, sandbox: Sandbox, send: Sender) -> None:
    url = sandbox.urls.control
    assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}
    await send("one", data={"pharosPushId": "1"})
    await send("two")
    ledger = (await client.get(f"{url}/ledger", params={"token": "one"})).json()
    assert [entry["body"]["message"]["data"] for entry in ledger] == [{"pharosPushId": "1"}]
    summary = (await client.get(f"{url}/ledger/summary")).json()
    assert summary["FCM"] == summary["total"] == {"accepted": 2, "rejected": 0, "duplicates": 0}

    rules = [{"provider": "FCM", "token": "two", "status": 500}]
    assert (await client.put(f"{url}/rules", json=rules)).status_code == 204
    assert (await send("two")).status_code == 500
    (shown,) = (await client.get(f"{url}/rules")).json()
    assert (shown["token"], shown["matched"], shown["applied"]) == ("two", 1, 1)
    assert (await client.delete(f"{url}/rules")).status_code == 204
    assert (await send("two")).status_code == 200

    assert (await client.delete(f"{url}/ledger")).status_code == 204
    assert (await client.get(f"{url}/ledger")).json() == []
    assert (await client.delete(f"{url}/tokens")).status_code == 204
    assert (await send("two")).status_code == 401


async def test_the_control_port_says_what_is_wrong(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    refused = await client.put(f"{sandbox.urls.control}/rules", json=[{"fault": "explode"}])
    assert refused.status_code == 400
    assert "explode" in refused.json()["error"]
    assert (await client.get(f"{sandbox.urls.control}/nothing")).status_code == 404
    assert (await client.post(f"{sandbox.urls.control}/ledger")).status_code == 405


async def test_the_service_account_is_as_google_makes_them(sandbox: Sandbox) -> None:
    account = json.loads(sandbox.identity.fcm_key_file.read_text())
    assert account["token_uri"] == sandbox.urls.oauth
    assert account["type"] == "service_account"
    assert sandbox.identity.fcm_key_file.stat().st_mode & 0o077 == 0
    assert sandbox.identity.directory.stat().st_mode & 0o077 == 0
