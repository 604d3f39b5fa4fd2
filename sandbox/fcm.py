"""Firebase Cloud Messaging, HTTP v1: ``POST /v1/projects/{project}/messages:send``, and the OAuth endpoint."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Any

import msgspec

from sandbox import fcm_message, fcm_rules
from sandbox.fcm_message import InvalidMessage, Violation
from sandbox.flaky import Flaky
from sandbox.identity import PROJECT_ID
from sandbox.ledger import Ledger, Provider
from sandbox.oauth import AccessTokens, TokenEndpoint
from sandbox.rules import Rule, Rules
from sandbox.wire import Answer, Fault, GoAway, Limits, Link, Reply, Request, Scripted, Session

PUSH_ID_KEY = "pharosPushId"  # the data key in which Pharos carries a push's own id
RETRY_AFTER = b"2"  # seconds that a quota answer asks for

_ERROR_TYPE = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_RPC = "type.googleapis.com/google.rpc."
_SEND_PATH = f"/v1/projects/{PROJECT_ID}/messages:send".encode()
_MAX_BODY = 65_536
_HEADERS = (
    (b"content-type", b"application/json; charset=UTF-8"),
    (b"vary", b"Origin, X-Origin, Referer"),
    (b"cache-control", b"private"),
    (b"server", b"ESF"),
)
_HTML = (b"content-type", b"text/html; charset=UTF-8")
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


def error_reply(
    status: int,
    message: str,
    code: str | None = None,
    details: tuple[dict[str, Any], ...] = (),
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Reply:
    """Google's error envelope; ``code`` is FcmError's, absent where FCM itself was not reached."""
    listed = [*details, *([{"@type": _ERROR_TYPE, "errorCode": code}] if code else [])]
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS_NAMES[status]}
    document = {"error": {**error, "details": listed} if listed else error}
    return Reply(status, _HEADERS + headers, msgspec.json.format(msgspec.json.encode(document), indent=2))


def _bad_request(violations: list[Violation]) -> dict[str, Any]:
    listed = [{"field": field, "description": text} if field else {"description": text} for field, text in violations]
    return {"@type": _RPC + "BadRequest", "fieldViolations": listed}


_BAD_TOKEN = "The registration token is not a valid FCM registration token"  # noqa: S105 - a message, not a secret
_QUOTA = {
    "@type": _RPC + "QuotaFailure",
    "violations": [{"subject": f"project:{PROJECT_ID}", "description": "Message rate exceeded for the project"}],
}
_UNAVAILABLE = error_reply(503, "The service is currently unavailable.", "UNAVAILABLE")

# By the beginning of the device token; every other token is accepted.
ANSWERS: dict[str, Reply] = {
    "unregistered": error_reply(404, "Requested entity was not found.", "UNREGISTERED"),
    "invalid": error_reply(
        400, _BAD_TOKEN, "INVALID_ARGUMENT", (_bad_request([Violation("message.token", _BAD_TOKEN)]),)
    ),
    "mismatch": error_reply(403, "SenderId mismatch", "SENDER_ID_MISMATCH"),
    "quota": error_reply(
        429,
        "Quota exceeded for quota metric 'Messages' and limit 'Messages per minute'",
        "QUOTA_EXCEEDED",
        (_QUOTA,),
        ((b"retry-after", RETRY_AFTER),),
    ),
    "unavailable": _UNAVAILABLE,
    "internal": error_reply(500, "Internal error encountered.", "INTERNAL"),
}
_STALL = "stall"
_FLAKY = "flaky"
_SPECIAL = (*ANSWERS, _STALL, _FLAKY)


class Fcm:
    """Serves FCM and the token endpoint on one port, as both are Google's front end."""

    initial_streams = 100
    limits = Limits(
        max_header_list=16_384,
        max_body=_MAX_BODY,
        idle=240.0,  # pigeon issue 81 saw "session_timed_out" after four to five minutes
        # firebase-admin-node issue 2943: error code 1 with this text
        over_limit=GoAway(1, b"exceeded_max_concurrent_streams", drain=False),
    )

    def __init__(self, tokens: AccessTokens, oauth: TokenEndpoint, ledger: Ledger, rules: Rules) -> None:
        self._tokens = tokens
        self._oauth = oauth
        self._ledger = ledger
        self._rules = rules
        self._flaky = Flaky()
        self._serial = itertools.count()

    def session(self, link: Link, certificate_uid: str | None) -> Session:  # noqa: ARG002 - as every vendor
        """Google keeps no state per connection."""
        return self

    def on_connect(self) -> Scripted | None:
        rule = self._rules.find(Provider.FCM, "connect")
        return rule.scripted(None) if rule is not None else None

    def answer(self, request: Request) -> Answer:
        """Routes one request."""
        path = request.path.partition(b"?")[0]
        if path == _SEND_PATH and request.method == b"POST":
            return self._send(request)
        if path == b"/token":
            return self._oauth.answer(request)
        if path.startswith(b"/v1/projects/") and path.endswith(b"/messages:send") and request.method == b"POST":
            return self._refused(request) or error_reply(404, "Requested entity was not found.")
        return Reply(404, (_HTML,), b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>")

    def _send(self, request: Request) -> Answer:
        refused = self._refused(request)
        if refused is not None:
            return self._rejected(refused)
        try:
            sent = _checked(request)
        except InvalidMessage as error:
            # A violation of the shape comes from the JSON layer, before FCM: there is no FcmError then.
            return self._rejected(_shape_error(error.violations))
        violation = fcm_rules.first_violation(sent.message, len(request.body))
        if violation is not None:
            details = (_bad_request([violation] if violation.field else []),)
            return self._rejected(error_reply(400, violation.description, "INVALID_ARGUMENT", details))
        return self._deliver(request, sent)

    def _refused(self, request: Request) -> Reply | None:
        """401 unless the bearer token is one of ours and fresh."""
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        if scheme == b"Bearer" and b"authorization" not in request.repeated and self._tokens.valid(token):
            return None
        reason = {"@type": _RPC + "ErrorInfo", "reason": "CREDENTIALS_MISSING", "domain": "googleapis.com"}
        if token:
            reason["reason"] = "ACCESS_TOKEN_EXPIRED"
        challenge = (b"www-authenticate", b'Bearer realm="https://accounts.google.com/"')
        return error_reply(401, _UNAUTHENTICATED, None, (reason,), (challenge,))

    def _deliver(self, request: Request, sent: Any) -> Answer:
        """A valid message: what becomes of it hangs on its target, or on a rule."""
        target = fcm_rules.target(sent.message)
        rule = self._rules.find(Provider.FCM, "push", target) if self._rules.active else None
        if rule is not None:
            return self._by_rule(rule, request, sent, target)
        if target.startswith(_STALL):
            return Scripted(fault=Fault.STALL, processed=True)
        return self._verdict(request, sent, target)

    def _by_rule(self, rule: Rule, request: Request, sent: Any, target: str) -> Answer:
        if rule.needs_verdict:
            return rule.scripted(self._verdict(request, sent, target))
        if rule.status is not None:
            self._ledger.reject(Provider.FCM)
        return rule.scripted(None)

    def _verdict(self, request: Request, sent: Any, target: str) -> Reply:
        if target.startswith(_SPECIAL):
            failure = self._failure(sent.message, target)
            if failure is not None:
                return self._rejected(failure)
        if sent.validateOnly:
            return _accepted(f"projects/{PROJECT_ID}/messages/fake_message_id")
        return self._accept(request, sent.message, target)

    def _failure(self, message: Any, target: str) -> Reply | None:
        if target.startswith(_FLAKY):
            return _UNAVAILABLE if self._flaky.fails(target, _push_id(message)) else None
        return next((reply for prefix, reply in ANSWERS.items() if target.startswith(prefix)), None)

    def _accept(self, request: Request, message: Any, target: str) -> Reply:
        # The form of real ids, e.g. 0:1500415314455276%31bd1c9631bd1c96: microseconds and something unique.
        unique = f"{next(self._serial):08x}{secrets.randbits(32):08x}"
        name = f"projects/{PROJECT_ID}/messages/0:{time.time_ns() // 1000}%{unique}"
        self._ledger.accept(
            Provider.FCM, target, name, headers=request.headers, body=request.body, push_id=_push_id(message)
        )
        return _accepted(name)

    def _rejected(self, reply: Reply) -> Reply:
        self._ledger.reject(Provider.FCM)
        return reply


def _accepted(name: str) -> Reply:
    return Reply(200, _HEADERS, b'{\n  "name": "%b"\n}\n' % name.encode())


def _checked(request: Request) -> Any:
    """The decoded SendMessageRequest. Raises InvalidMessage."""
    content_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type != b"application/json":
        raise InvalidMessage([Violation("", "Invalid JSON payload received. The content type is not JSON.")])
    if len(request.body) > _MAX_BODY:
        raise InvalidMessage([Violation("", "Request payload size exceeds the limit.")])
    sent = fcm_message.decode(request.body)
    if sent.message is None:
        raise InvalidMessage([Violation("message", "Message is not set.")])
    return sent


def _shape_error(violations: list[Violation]) -> Reply:
    text = "\n".join(violation.description for violation in violations)
    return error_reply(400, text, None, (_bad_request(violations),))


def _push_id(message: Any) -> bytes | None:
    """Where Pharos put the push's own id: in the message's data or in the platform's."""
    for holder in (message, message.android, message.webpush):
        if holder is not None and holder.data and PUSH_ID_KEY in holder.data:
            return str(holder.data[PUSH_ID_KEY]).encode()
    payload = message.apns.payload if message.apns is not None else None
    push_id = (payload or {}).get(PUSH_ID_KEY)
    return push_id.encode() if isinstance(push_id, str) else None
