from __future__ import annotations

import datetime as dt
import json

import pytest

from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled
from server.domain.reasons import Reason
from server.providers.apns import answers
from server.providers.apns.answers import outcome
from server.providers.transport import Response

NOW = 1_800_000_000.0


def dead(reason: Reason, code: str, since: dt.datetime | None = None) -> Rejected:
    return Rejected(reason, code, device_dead=True, dead_since=since)


def payload(code: str) -> Rejected:
    return Rejected(Reason.PAYLOAD_REJECTED, code)


CASES: list[tuple[int, str, Outcome]] = [
    (400, "BadDeviceToken", dead(Reason.INVALID_TOKEN, "BadDeviceToken")),
    (400, "DeviceTokenNotForTopic", dead(Reason.SENDER_MISMATCH, "DeviceTokenNotForTopic")),
    (400, "BadCollapseId", payload("BadCollapseId")),
    (400, "BadExpirationDate", payload("BadExpirationDate")),
    (400, "BadMessageId", payload("BadMessageId")),
    (400, "BadPriority", payload("BadPriority")),
    (400, "BadTopic", payload("BadTopic")),
    (400, "DuplicateHeaders", payload("DuplicateHeaders")),
    (400, "InvalidPushType", payload("InvalidPushType")),
    (400, "MissingDeviceToken", payload("MissingDeviceToken")),
    (400, "MissingTopic", payload("MissingTopic")),
    (400, "PayloadEmpty", payload("PayloadEmpty")),
    (400, "TopicDisallowed", CredentialRefused("TopicDisallowed")),
    (400, "IdleTimeout", NotSent("IdleTimeout")),
    (400, "SomethingNew", Rejected(Reason.PROVIDER_REJECTED, "SomethingNew")),
    (403, "ExpiredProviderToken", CredentialRefused("ExpiredProviderToken")),
    (403, "InvalidProviderToken", CredentialRefused("InvalidProviderToken")),
    (403, "MissingProviderToken", CredentialRefused("MissingProviderToken")),
    (403, "BadCertificate", CredentialRefused("BadCertificate")),
    (403, "BadCertificateEnvironment", CredentialRefused("BadCertificateEnvironment")),
    (403, "Forbidden", CredentialRefused("Forbidden")),
    (403, "UnrelatedKeyIdInToken", CredentialRefused("UnrelatedKeyIdInToken")),
    (403, "BadEnvironmentKeyIdInToken", CredentialRefused("BadEnvironmentKeyIdInToken")),
    (403, "BadEnvironmentKeyInToken", CredentialRefused("BadEnvironmentKeyInToken")),
    (403, "SomethingNew", CredentialRefused("SomethingNew")),
    (404, "BadPath", Rejected(Reason.PROVIDER_REJECTED, "BadPath")),
    (405, "MethodNotAllowed", Rejected(Reason.PROVIDER_REJECTED, "MethodNotAllowed")),
    (413, "PayloadTooLarge", Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge")),
    (429, "TooManyRequests", Throttled("TooManyRequests", None, Scope.DEVICE)),
    (429, "TooManyProviderTokenUpdates", Throttled("TooManyProviderTokenUpdates", 60.0, Scope.CREDENTIAL)),
    (500, "InternalServerError", Throttled("InternalServerError", None, Scope.DEVICE)),
    (503, "ServiceUnavailable", Throttled("ServiceUnavailable", None, Scope.CREDENTIAL)),
    (503, "Shutdown", Throttled("Shutdown", None, Scope.CREDENTIAL)),
]


@pytest.mark.parametrize(("status", "reason", "expected"), CASES)
def test_outcome(status: int, reason: str, expected: Outcome) -> None:
    body = json.dumps({"reason": reason}).encode()
    assert outcome(Response(status, {}, body), "7", NOW) == expected


def test_accepted_answers_with_the_id() -> None:
    assert outcome(Response(200, {}, b""), "7", NOW) == Accepted("7")


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
def test_gone_device_is_dead_since_apples_milliseconds(reason: str) -> None:
    body = json.dumps({"reason": reason, "timestamp": 1_799_999_999_123}).encode()
    since = dt.datetime(2027, 1, 15, 7, 59, 59, 123_000, dt.UTC)
    assert outcome(Response(410, {}, body), "7", NOW) == dead(Reason.UNREGISTERED, reason, since)


@pytest.mark.parametrize("timestamp", ["null", "1e300", "-1e300"])
def test_gone_device_without_a_usable_time(timestamp: str) -> None:
    body = f'{{"reason":"Unregistered","timestamp":{timestamp}}}'.encode()
    assert outcome(Response(410, {}, body), "7", NOW) == dead(Reason.UNREGISTERED, "Unregistered")


def test_retry_after_is_heeded() -> None:
    found = outcome(Response(503, {"retry-after": "30"}, b'{"reason":"Shutdown"}'), "7", NOW)
    assert found == Throttled("Shutdown", 30.0, Scope.CREDENTIAL)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff", b"<html>", b'{"reason":7}', b'{"reason":"a b"}'])
def test_body_without_a_reason(body: bytes) -> None:
    assert outcome(Response(502, {}, body), "7", NOW) == Throttled("HTTP_502", None, Scope.DEVICE)
    assert outcome(Response(302, {}, body), "7", NOW) == NotSent("HTTP_302")
    assert outcome(Response(403, {}, body), "7", NOW) == CredentialRefused("HTTP_403")


_NAMED_BY_THE_CODE = {*answers._DEAD_TOKENS, *answers._PAYLOAD_ERRORS}  # noqa: SLF001  # the tables themselves


@pytest.mark.parametrize("reason", sorted({reason for _, reason, _ in CASES} | _NAMED_BY_THE_CODE | {"Unregistered"}))
@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 429, 500, 503])
def test_i10_only_two_reasons_of_a_400_kill_a_device(status: int, reason: str) -> None:
    """And a 410, whatever it gives as its reason. No other answer may cost anybody a device."""
    found = outcome(Response(status, {}, json.dumps({"reason": reason}).encode()), "7", NOW)
    kills = isinstance(found, Rejected) and found.device_dead
    assert kills == (status == 400 and reason in {"BadDeviceToken", "DeviceTokenNotForTopic"})
