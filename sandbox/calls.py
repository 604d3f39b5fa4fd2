"""Every push request as the providers saw it and what they answered, one JSON object a line, appended to a file.

The ledger counts what was accepted; this also tells what was not. The file outlives the sandbox, and a kill of it.

    {"at": 1767225600.25,          when the request was complete, in seconds since 1970
     "provider": "FCM", "token": "...", "pushId": "...",   absent values are empty
     "status": 429,                null where a fault stands in place of an answer
     "fault": null,                or its name, see sandbox.rules
     "taken": false,               whether the push is in the ledger
     "retryAfter": 2.0,            seconds, null without the header
     "delay": 0.0}                 seconds by which the answer is late
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from sandbox.ledger import Ledger, Provider
from sandbox.wire import Answer, Limits, Link, Reply, Request, Scripted, Session, Vendor

_PUSH_ID_KEY = "pharosPushId"
_APNS_PATH = b"/3/device/"
_FCM_END = b"/messages:send"


class Call(msgspec.Struct, rename="camel", frozen=True):
    """One push request; the module's text explains the fields."""

    at: float
    provider: Provider
    token: str
    push_id: str
    status: int | None
    fault: str | None
    taken: bool
    retry_after: float | None
    delay: float


class CallLog:
    """Appends to ``path``, a line in one write: a reader never sees half a one. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._encode = msgspec.json.Encoder().encode

    def note(self, call: Call) -> None:
        os.write(self._file, self._encode(call) + b"\n")

    def close(self) -> None:
        os.close(self._file)


class Witness:
    """A vendor whose push requests are written down."""

    def __init__(self, vendor: Vendor, provider: Provider, ledger: Ledger, log: CallLog) -> None:
        self.limits: Limits = vendor.limits
        self._vendor = vendor
        self._provider = provider
        self._ledger = ledger
        self._log = log

    def session(self, link: Link, certificate_uid: str | None) -> Session:
        return _WitnessedSession(self, self._vendor.session(link, certificate_uid))

    def on_connect(self) -> Scripted | None:
        return self._vendor.on_connect()

    def watch(self, session: Session, request: Request) -> Answer:
        """Has the vendor answer, and writes it down."""
        at, before = time.time(), self._ledger.accepted(self._provider)
        answer = session.answer(request)
        target = _target(request)
        if target is not None:
            taken = self._ledger.accepted(self._provider) > before
            self._log.note(_call(at, self._provider, target, answer, taken=taken))
        return answer


class _WitnessedSession:
    def __init__(self, witness: Witness, session: Session) -> None:
        self._witness = witness
        self._session = session
        self.initial_streams = session.initial_streams

    def answer(self, request: Request) -> Answer:
        return self._witness.watch(self._session, request)


def _call(at: float, provider: Provider, target: tuple[str, str], answer: Answer, *, taken: bool) -> Call:
    scripted = answer if isinstance(answer, Scripted) else Scripted(answer)
    status = scripted.reply.status if scripted.reply is not None else None
    fault = str(scripted.fault) if scripted.fault is not None else None
    return Call(at, provider, *target, status, fault, taken, _retry_after(scripted.reply), scripted.delay)


def _retry_after(reply: Reply | None) -> float | None:
    for name, value in reply.headers if reply is not None else ():
        if name == b"retry-after" and value.isdigit():
            return float(value)
    return None


def _target(request: Request) -> tuple[str, str] | None:
    """The device token and the push's own id; None for what is no push."""
    path = request.path.partition(b"?")[0]
    if path.startswith(_APNS_PATH):
        token = path[len(_APNS_PATH) :].decode("latin-1").lower()
        return token, request.headers.get(b"apns-id", b"").decode("latin-1")
    return _fcm_target(request.body) if path.endswith(_FCM_END) else None


def _fcm_target(body: bytes) -> tuple[str, str]:
    try:
        message: Any = msgspec.json.decode(body)["message"]
        return str(message.get("token", "")), str((message.get("data") or {}).get(_PUSH_ID_KEY, ""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return "", ""
