from __future__ import annotations

import email.utils
import json

import pytest

from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled
from server.domain.reasons import Reason
from server.providers.fcm.answers import THIRD_PARTY, outcome, refuses_access_token
from server.providers.transport import Response

NOW = 1_800_000_000.0
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
BAD_TOKEN = "The registration token is not a valid FCM registration token"


def error(status: int, name: str, *details: dict[str, object], message: str = "") -> Response:
    body = {"error": {"code": status, "message": message, "status": name, "details": details}}
    return Response(status, {}, json.dumps(body).encode())


def fcm(code: str) -> dict[str, object]:
    return {"@type": FCM_ERROR, "errorCode": code}


def field(*names: str) -> dict[str, object]:
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": name, "description": "no"} for name in names]}


def quota(description: str) -> dict[str, object]:
    return {"@type": QUOTA_FAILURE, "violations": [{"subject": "x", "description": description}]}


DEAD = {"device_dead": True}
INVALID = fcm("INVALID_ARGUMENT")
CASES: dict[str, tuple[Response, Outcome]] = {
    "taken": (
        Response(200, {}, b'{"name":"projects/p/messages/1"}'),
        Accepted("projects/p/messages/1"),
    ),
    "taken, answer lost": (Response(200, {}, b""), Accepted("")),
    "bad token, by text": (
        error(400, "INVALID_ARGUMENT", INVALID, message=BAD_TOKEN),
        Rejected(Reason.INVALID_TOKEN, "INVALID_ARGUMENT", **DEAD),
    ),
    "bad token, beside details of other kinds": (
        error(404, "NOT_FOUND", {"errorCode": 7}, {"fieldViolations": ["x"]}, "odd", None, fcm("UNREGISTERED")),  # type: ignore[arg-type]
        Rejected(Reason.UNREGISTERED, "UNREGISTERED", **DEAD),
    ),
    "bad token, by field": (
        error(400, "INVALID_ARGUMENT", INVALID, field("message.token")),
        Rejected(Reason.INVALID_TOKEN, "INVALID_ARGUMENT", **DEAD),
    ),
    "bad token, by field alone": (
        error(400, "INVALID_ARGUMENT", field("message.token")),
        Rejected(Reason.INVALID_TOKEN, "INVALID_ARGUMENT", **DEAD),
    ),
    "another field": (
        error(400, "INVALID_ARGUMENT", INVALID, field("message.android.ttl")),
        Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"),
    ),
    "another field, though the text speaks of a token": (
        error(400, "INVALID_ARGUMENT", field("message.data[0].value"), message=BAD_TOKEN),
        Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"),
    ),
    "token and another field": (
        error(400, "INVALID_ARGUMENT", field("message.token", "message.data")),
        Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"),
    ),
    "not JSON for Google": (
        error(400, "INVALID_ARGUMENT", message="Invalid JSON payload received."),
        Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"),
    ),
    "invalid, without a word why": (
        error(400, "INVALID_ARGUMENT", INVALID, message="Request contains an invalid argument."),
        Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"),
    ),
    "too big": (
        error(400, "INVALID_ARGUMENT", INVALID, message="Android message is too big"),
        Rejected(Reason.PAYLOAD_TOO_LARGE, "INVALID_ARGUMENT"),
    ),
    "400 of something else": (Response(400, {}, b"<html>"), Rejected(Reason.PAYLOAD_REJECTED, "HTTP_400")),
    "access token": (error(401, "UNAUTHENTICATED"), CredentialRefused("UNAUTHENTICATED")),
    "third party": (
        error(401, "UNAUTHENTICATED", fcm("THIRD_PARTY_AUTH_ERROR")),
        CredentialRefused("THIRD_PARTY_AUTH_ERROR", Scope.DEVICE),
    ),
    "third party, old name": (
        error(401, "UNAUTHENTICATED", fcm("APNS_AUTH_ERROR")),
        CredentialRefused("APNS_AUTH_ERROR", Scope.DEVICE),
    ),
    "other project's token": (
        error(403, "PERMISSION_DENIED", fcm("SENDER_ID_MISMATCH")),
        Rejected(Reason.SENDER_MISMATCH, "SENDER_ID_MISMATCH", **DEAD),
    ),
    "API disabled": (error(403, "PERMISSION_DENIED"), CredentialRefused("PERMISSION_DENIED")),
    "uninstalled": (
        error(404, "NOT_FOUND", fcm("UNREGISTERED")),
        Rejected(Reason.UNREGISTERED, "UNREGISTERED", **DEAD),
    ),
    "wrong project": (error(404, "NOT_FOUND"), CredentialRefused("NOT_FOUND")),
    "413": (Response(413, {}, b""), Rejected(Reason.PAYLOAD_TOO_LARGE, "HTTP_413")),
    "quota of the project": (
        error(429, "RESOURCE_EXHAUSTED", fcm("QUOTA_EXCEEDED"), quota("Message rate of the project")),
        Throttled("QUOTA_EXCEEDED", 60.0, Scope.PROJECT),
    ),
    "quota of the device": (
        error(429, "RESOURCE_EXHAUSTED", fcm("QUOTA_EXCEEDED"), quota("Device message rate exceeded")),
        Throttled("QUOTA_EXCEEDED", 60.0, Scope.DEVICE),
    ),
    "500": (error(500, "INTERNAL", fcm("INTERNAL")), Throttled("INTERNAL", None, Scope.DEVICE)),
    "502 of a proxy": (Response(502, {}, b"<html>Bad Gateway</html>"), Throttled("HTTP_502", None, Scope.DEVICE)),
    "503": (error(503, "UNAVAILABLE", fcm("UNAVAILABLE")), Throttled("UNAVAILABLE", None, Scope.CREDENTIAL)),
    "504": (Response(504, {}, b""), Throttled("HTTP_504", None, Scope.DEVICE)),
    "redirect of a proxy": (Response(302, {}, b""), NotSent("HTTP_302")),
    "another 4xx": (Response(405, {}, b""), Rejected(Reason.PROVIDER_REJECTED, "HTTP_405")),
    "code that is no code": (error(403, "secret token: a/b"), CredentialRefused("HTTP_403")),
}


@pytest.mark.parametrize("name", CASES)
def test_outcome(name: str) -> None:
    response, expected = CASES[name]
    assert outcome(response, NOW) == expected


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (email.utils.formatdate(NOW + 90, usegmt=True), 90.0), (email.utils.formatdate(NOW - 9), 0.0)],
)
def test_retry_after(status: int, value: str, seconds: float) -> None:
    found = outcome(Response(status, {"retry-after": value}, b""), NOW)
    assert isinstance(found, Throttled)
    assert found.retry_after == seconds


@pytest.mark.parametrize("value", ["", "soon", "-1"])
def test_retry_after_that_says_nothing(value: str) -> None:
    found = outcome(Response(503, {"retry-after": value}, b""), NOW)
    assert found == Throttled("HTTP_503", None, Scope.CREDENTIAL)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"error":"invalid_grant"}',
        b'{"error":{"details":1}}',
        pytest.param(b'{"a":' + b"[" * 50_000, id="deep"),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 418, 429, 500, 503])
def test_no_body_is_too_strange(status: int, body: bytes) -> None:
    outcome(Response(status, {}, body), NOW)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error(401, "UNAUTHENTICATED"), True),
        (Response(401, {}, b""), True),
        (error(401, "UNAUTHENTICATED", fcm("THIRD_PARTY_AUTH_ERROR")), False),
        (error(403, "PERMISSION_DENIED"), False),
        (Response(200, {}, b"{}"), False),
    ],
)
def test_only_a_refused_access_token_is_worth_another(response: Response, *, expected: bool) -> None:
    assert refuses_access_token(response) is expected


_CODES = [
    *("UNSPECIFIED_ERROR", "INVALID_ARGUMENT", "UNREGISTERED", "SENDER_ID_MISMATCH", "QUOTA_EXCEEDED", "UNAVAILABLE"),
    *("INTERNAL", "THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR", "SOMETHING_NEW"),
]
_ABOUT: dict[str, tuple[str, tuple[str, ...]]] = {  # text, and the fields that it names
    "token": (BAD_TOKEN, ("message.token",)),
    "fid": (BAD_TOKEN, ("message.fid",)),
    "token, by text": (BAD_TOKEN, ()),
    "payload": ("Invalid value", ("message.notification.title",)),
    "token and payload": (BAD_TOKEN, ("message.token", "message.data[0].value")),
    "nothing": ("Request contains an invalid argument.", ()),
}


@pytest.mark.parametrize("about", _ABOUT)
@pytest.mark.parametrize("code", _CODES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 429, 500, 503])
def test_i10_only_an_answer_about_the_token_kills_a_device(status: int, code: str, about: str) -> None:
    text, fields = _ABOUT[about]
    found = outcome(error(status, "STATUS", fcm(code), *([field(*fields)] if fields else []), message=text), NOW)
    kills = isinstance(found, Rejected) and found.device_dead
    blamed = about in {"token", "fid", "token, by text"} and code not in THIRD_PARTY
    deadly = {(403, "SENDER_ID_MISMATCH"), (404, "UNREGISTERED")}
    assert kills == ((status, code) in deadly or (status == 400 and blamed))
