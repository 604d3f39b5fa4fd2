"""What an answer of FCM means.

https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, and google.rpc for the details around it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec

from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled
from server.domain.reasons import Reason
from server.providers import codes, retry_after
from server.providers.transport import Response

# Firebase could not authenticate to Apple or to the browser's push service: ours to fix in its console.
THIRD_PARTY = frozenset({"THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"})

_QUOTA_WAIT = 60.0  # what Google asks for when a 429 names no time
_TOKEN_FIELDS = frozenset({"message.token", "message.fid"})


class _Violation(msgspec.Struct):
    field: str = ""
    subject: str = ""
    description: str = ""


class _Detail(msgspec.Struct, rename="camel"):
    error_code: str = ""
    field_violations: list[_Violation] = []
    violations: list[_Violation] = []


class _Error(msgspec.Struct):
    status: str = ""
    message: str = ""
    raw_details: list[msgspec.Raw] = msgspec.field(name="details", default_factory=list)

    @property
    def details(self) -> list[_Detail]:
        """Those that are as we know them: they are of many kinds, and one more must not cost us the verdict."""
        return [detail for raw in self.raw_details if (detail := _detail(raw))]

    @property
    def code(self) -> str:
        """FCM's own code; the general status when there is none."""
        return next((detail.error_code for detail in self.details if detail.error_code), self.status)


class _Answer(msgspec.Struct):
    name: str = ""
    error: _Error = msgspec.field(default_factory=_Error)


_decoder = msgspec.json.Decoder(_Answer)
_detail_decoder = msgspec.json.Decoder(_Detail)


def outcome(response: Response, now: float) -> Outcome:
    """Classify an answer; ``now`` (Unix time) is what a Retry-After date is measured from."""
    answer = _answer(response)
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return Accepted(answer.name)
    code = codes.safe(answer.error.code, response.status)
    if response.status in _BY_STATUS:
        return _BY_STATUS[response.status](code, answer.error)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _throttled(code, answer.error, response, now)
    if response.status < HTTPStatus.BAD_REQUEST:
        return NotSent(code)  # something in between answered, not FCM
    return Rejected(Reason.PROVIDER_REJECTED, code)


def refuses_access_token(response: Response) -> bool:
    """Whether another access token may help."""
    return response.status == HTTPStatus.UNAUTHORIZED and _answer(response).error.code not in THIRD_PARTY


def _answer(response: Response) -> _Answer:
    try:
        return _decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Answer()


def _detail(raw: msgspec.Raw) -> _Detail | None:
    try:
        return _detail_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _bad_request(code: str, error: _Error) -> Outcome:
    if code in THIRD_PARTY:
        return CredentialRefused(code, Scope.DEVICE)
    if _blames_token(error):
        return Rejected(Reason.INVALID_TOKEN, code, device_dead=True)
    too_big = "too big" in error.message.lower()
    return Rejected(Reason.PAYLOAD_TOO_LARGE if too_big else Reason.PAYLOAD_REJECTED, code)


def _blames_token(error: _Error) -> bool:
    """Whether a 400 is about the token. In doubt it is about the payload: a healthy device must not be removed.

    A bad token often comes without a field, known by FCM's text alone.
    """
    fields = [violation.field for detail in error.details for violation in detail.field_violations]
    if fields:
        return all(field in _TOKEN_FIELDS for field in fields)
    return "not a valid fcm registration token" in error.message.lower()


def _unauthorized(code: str, _: _Error) -> Outcome:
    return CredentialRefused(code, Scope.DEVICE if code in THIRD_PARTY else Scope.CREDENTIAL)


def _forbidden(code: str, _: _Error) -> Outcome:
    if code == "SENDER_ID_MISMATCH":
        return Rejected(Reason.SENDER_MISMATCH, code, device_dead=True)
    return CredentialRefused(code)


def _not_found(code: str, _: _Error) -> Outcome:
    if code == "UNREGISTERED":
        return Rejected(Reason.UNREGISTERED, code, device_dead=True)
    return CredentialRefused(code)  # the project does not exist


def _too_large(code: str, _: _Error) -> Outcome:
    return Rejected(Reason.PAYLOAD_TOO_LARGE, code)


_BY_STATUS: dict[int, Callable[[str, _Error], Outcome]] = {
    HTTPStatus.BAD_REQUEST: _bad_request,
    HTTPStatus.UNAUTHORIZED: _unauthorized,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _not_found,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _too_large,
}


def _throttled(code: str, error: _Error, response: Response, now: float) -> Throttled:
    wait = retry_after.seconds(response.headers.get("retry-after"), now)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(code, _QUOTA_WAIT if wait is None else wait, _quota_scope(error))
    # A 503 is FCM under load; other server errors are about this request only.
    unavailable = response.status == HTTPStatus.SERVICE_UNAVAILABLE
    return Throttled(code, wait, Scope.CREDENTIAL if unavailable else Scope.DEVICE)


def _quota_scope(error: _Error) -> Scope:
    about = (f"{violation.subject} {violation.description}" for d in error.details for violation in d.violations)
    return Scope.DEVICE if any("device" in text.lower() for text in about) else Scope.PROJECT
