"""The Apple Push Notification service: ``POST /3/device/{token}``.

Checks and reasons follow Apple's "Sending notification requests to APNs" and "Handling notification responses".
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import uuid
from http import HTTPStatus
from typing import Any

import msgspec

from sandbox.flaky import Flaky
from sandbox.identity import APNS_TOPIC
from sandbox.ledger import Ledger, Provider
from sandbox.provider_token import ConnectionTokens, ProviderTokens, TokenRejected
from sandbox.rules import Rule, Rules
from sandbox.wire import Answer, Fault, Limits, Link, Reply, Request, Scripted, Session

MAX_STREAMS = 1000
MAX_PAYLOAD = 4096
MAX_VOIP_PAYLOAD = 5120

# By the beginning of the device token, in hex; every other token is accepted.
ANSWERS: dict[str, tuple[int, str]] = {
    "dead": (410, "Unregistered"),
    "bad0": (400, "BadDeviceToken"),
    "4290": (429, "TooManyRequests"),
    "5030": (503, "ServiceUnavailable"),
    "5000": (500, "InternalServerError"),
}
# Of one of Apple's environments only, unknown in the other; every other token is known in both.
OF_PRODUCTION = "90d0"
OF_DEVELOPMENT = "de7e"
_STALL = "57a1"
_FLAKY = "f1a6"
_SPECIAL = (*ANSWERS, _STALL, _FLAKY, OF_PRODUCTION, OF_DEVELOPMENT)

# Which topic each push type is for: the app's, with this suffix.
TOPIC_SUFFIXES = {
    b"alert": b"",
    b"background": b"",
    b"mdm": b"",
    b"widgets": b"",
    b"controls": b"",
    b"voip": b".voip",
    b"complication": b".complication",
    b"fileprovider": b".pushkit.fileprovider",
    b"location": b".location-query",
    b"liveactivity": b".push-type.liveactivity",
    b"pushtotalk": b".voip-ptt",
}
_TOPICS = frozenset(APNS_TOPIC.encode() + suffix for suffix in TOPIC_SUFFIXES.values())
_PRIORITIES = frozenset([b"10", b"5", b"1"])
_SINGLE = frozenset(
    [
        b"authorization",
        b"apns-id",
        b"apns-push-type",
        b"apns-expiration",
        b"apns-priority",
        b"apns-topic",
        b"apns-collapse-id",
    ]
)
_PATH = b"/3/device/"
_DEVICE_TOKEN = re.compile(rb"(?:[0-9a-fA-F]{2}){4,100}")  # Apple: don't assume a length
_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_DIGITS = re.compile(rb"[0-9]{1,12}")
_MAX_COLLAPSE_ID = 64
_FIRST_EXPIRATION = 1_000_000_000  # September 2001; anything less is a lifetime, not a date
_LAST_EXPIRATION_AHEAD = 10 * 365 * 86_400  # anything more is in milliseconds
_PAYLOAD = msgspec.json.Decoder(dict[str, Any])
_REPLY_TYPE = (b"content-type", b"application/json")


class Rejected(Exception):
    """An error answer: its status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Apns:
    """Serves one environment of APNs; tokens or client certificates."""

    # SETTINGS as production sends them, see pushy issue 878.
    limits = Limits(max_header_list=8000, max_body=8192, idle=3600.0)

    def __init__(self, tokens: ProviderTokens, ledger: Ledger, rules: Rules, *, development: bool = False) -> None:
        self._unknown = OF_PRODUCTION if development else OF_DEVELOPMENT
        self._tokens = tokens
        self._ledger = ledger
        self._rules = rules
        self._flaky = Flaky()

    def session(self, link: Link, certificate_uid: str | None) -> Session:
        return _ApnsSession(self, link, ConnectionTokens(self._tokens), certificate_uid)

    def on_connect(self) -> Scripted | None:
        rule = self._rules.find(Provider.APN, "connect")
        return rule.scripted(None) if rule is not None else None

    def decide(self, request: Request, token: str, apns_id: bytes) -> Answer:
        """A request found in order: what becomes of it hangs on its device token, or on a rule."""
        rule = self._rules.find(Provider.APN, "push", token) if self._rules.active else None
        if rule is not None:
            return self._by_rule(rule, request, token, apns_id)
        if token.startswith(_STALL):
            return Scripted(fault=Fault.STALL, processed=True)
        return self._verdict(request, token, apns_id)

    def reject(self, apns_id: bytes, status: int, reason: str) -> Reply:
        self._ledger.reject(Provider.APN)
        return _error(apns_id, status, reason)

    def _by_rule(self, rule: Rule, request: Request, token: str, apns_id: bytes) -> Answer:
        reply = self._verdict(request, token, apns_id) if rule.needs_verdict else None
        if rule.status is not None and not rule.processed:
            self._ledger.reject(Provider.APN)
        scripted = rule.scripted(reply)
        if rule.status is not None and scripted.reply is not None and "apns-id" not in rule.headers:
            headers = (*scripted.reply.headers, (b"apns-id", apns_id))
            scripted = dataclasses.replace(scripted, reply=scripted.reply._replace(headers=headers))
        return scripted

    def _verdict(self, request: Request, token: str, apns_id: bytes) -> Reply:
        push_id = request.headers.get(b"apns-id")
        if token.startswith(_SPECIAL):
            failure = self._failure(token, push_id)
            if failure is not None:
                return self.reject(apns_id, *failure)
        self._ledger.accept(
            Provider.APN, token, apns_id.decode(), headers=request.headers, body=request.body, push_id=push_id
        )
        return Reply(200, ((b"apns-id", apns_id),))

    def _failure(self, token: str, push_id: bytes | None) -> tuple[int, str] | None:
        if token.startswith(self._unknown):
            return 400, "BadDeviceToken"
        if token.startswith(_FLAKY):
            return (503, "ServiceUnavailable") if self._flaky.fails(token, push_id) else None
        return next((answer for prefix, answer in ANSWERS.items() if token.startswith(prefix)), None)


class _ApnsSession:
    """One connection: how many streams it may use hangs on who has shown itself on it."""

    def __init__(self, apns: Apns, link: Link, tokens: ConnectionTokens, certificate_uid: str | None) -> None:
        self._apns = apns
        self._link = link
        self._tokens = tokens
        self._certificate_topic = certificate_uid.encode() if certificate_uid else None
        # Apple: with a token, one stream until a valid one was seen.
        self.initial_streams = MAX_STREAMS if self._certificate_topic else 1

    def answer(self, request: Request) -> Answer:
        apns_id = request.headers.get(b"apns-id", b"")
        if not _UUID.fullmatch(apns_id):
            apns_id = str(uuid.uuid4()).upper().encode()
        try:
            token = self._check(request)
        except (Rejected, TokenRejected) as error:
            return self._apns.reject(apns_id, error.status, error.reason)
        return self._apns.decide(request, token, apns_id)

    def _check(self, request: Request) -> str:
        """The device token in lower case. Raises Rejected or TokenRejected."""
        if not request.path.startswith(_PATH):
            raise Rejected(404, "BadPath")
        if request.method != b"POST":
            raise Rejected(405, "MethodNotAllowed")
        if request.repeated & _SINGLE:
            raise Rejected(400, "DuplicateHeaders")
        self._authenticate(request.headers)
        topic = self._topic(request.headers)
        check_headers(request.headers, topic)
        check_payload(request.headers, request.body)
        return _device_token(request.path[len(_PATH) :])

    def _authenticate(self, headers: dict[bytes, bytes]) -> None:
        if self._certificate_topic is None and self._tokens.check(headers.get(b"authorization")):
            self._link.allow_streams(MAX_STREAMS)

    def _topic(self, headers: dict[bytes, bytes]) -> bytes:
        """A certificate brings its topic along, a token does not."""
        topic = headers.get(b"apns-topic", self._certificate_topic)
        if not topic:
            raise Rejected(400, "MissingTopic")
        if topic not in _TOPICS:
            raise Rejected(400, "TopicDisallowed")
        return topic


def check_headers(headers: dict[bytes, bytes], topic: bytes) -> None:
    """Raises Rejected for a header that APNs would refuse."""
    push_type = headers.get(b"apns-push-type")
    if push_type is not None:
        _check_push_type(push_type, topic)
    # Absent means 10, and Apple calls a background push of priority 10 an error.
    priority = headers.get(b"apns-priority", b"10")
    if priority not in _PRIORITIES or (push_type == b"background" and priority != b"5"):
        raise Rejected(400, "BadPriority")
    if b"apns-id" in headers and not _UUID.fullmatch(headers[b"apns-id"]):
        raise Rejected(400, "BadMessageId")
    if b"apns-expiration" in headers:
        _check_expiration(headers[b"apns-expiration"])
    if len(headers.get(b"apns-collapse-id", b"")) > _MAX_COLLAPSE_ID:
        raise Rejected(400, "BadCollapseId")


def _check_push_type(push_type: bytes, topic: bytes) -> None:
    suffix = TOPIC_SUFFIXES.get(push_type)
    if suffix is None:
        raise Rejected(400, "InvalidPushType")
    if topic != APNS_TOPIC.encode() + suffix:
        raise Rejected(400, "BadTopic")  # Apple documents the pairing but not the reason; this is the nearest


def _check_expiration(value: bytes) -> None:
    """Epoch seconds, or 0 for a single attempt. A relative value is the classic mistake, milliseconds the other."""
    if not _DIGITS.fullmatch(value):
        raise Rejected(400, "BadExpirationDate")
    seconds = int(value)
    if seconds != 0 and not _FIRST_EXPIRATION <= seconds <= time.time() + _LAST_EXPIRATION_AHEAD:
        raise Rejected(400, "BadExpirationDate")


def check_payload(headers: dict[bytes, bytes], body: bytes) -> None:
    """Raises Rejected for a payload that is absent, too large or not a JSON object."""
    if not body:
        raise Rejected(400, "PayloadEmpty")
    if len(body) > (MAX_VOIP_PAYLOAD if headers.get(b"apns-push-type") == b"voip" else MAX_PAYLOAD):
        raise Rejected(413, "PayloadTooLarge")
    try:
        _PAYLOAD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Apple's list has no reason for it; a payload in which no dictionary is found is as good as none.
        raise Rejected(400, "PayloadEmpty") from None


def _device_token(text: bytes) -> str:
    if not text:
        raise Rejected(400, "MissingDeviceToken")
    if not _DEVICE_TOKEN.fullmatch(text):
        raise Rejected(400, "BadDeviceToken")
    return text.decode().lower()


def _error(apns_id: bytes, status: int, reason: str) -> Reply:
    """``timestamp``, in milliseconds, comes with 410 only: when APNs learned that the token is dead."""
    document: dict[str, Any] = {"reason": reason}
    if status == HTTPStatus.GONE:
        document["timestamp"] = time.time_ns() // 1_000_000
    return Reply(status, ((b"apns-id", apns_id), _REPLY_TYPE), json.dumps(document, separators=(",", ":")).encode())
