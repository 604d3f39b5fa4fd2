"""What an answer of APNs means.

https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled
from server.domain.reasons import Reason
from server.providers import codes, retry_after
from server.providers.transport import Response

EXPIRED_TOKEN = "ExpiredProviderToken"  # noqa: S105  # Apple's name of an error

_TOKEN_UPDATES = "TooManyProviderTokenUpdates"  # noqa: S105  # also
_TOKEN_UPDATES_WAIT = 60.0  # seconds; Apple names none, and allows a new token every 20 minutes

_DEAD_TOKENS = {"BadDeviceToken": Reason.INVALID_TOKEN, "DeviceTokenNotForTopic": Reason.SENDER_MISMATCH}
_PAYLOAD_ERRORS = frozenset(
    {
        "BadCollapseId",
        "BadExpirationDate",
        "BadMessageId",
        "BadPriority",
        "BadTopic",
        "DuplicateHeaders",
        "InvalidPushType",
        "MissingDeviceToken",
        "MissingTopic",
        "PayloadEmpty",
    }
)


class _Error(msgspec.Struct):
    reason: str = ""
    timestamp: float | None = None  # milliseconds, only with a 410


_decoder = msgspec.json.Decoder(_Error)


def reason(response: Response) -> str:
    """Apple's name of the error; ``HTTP_<status>`` when the body has none."""
    return codes.safe(_error(response).reason, response.status)


def outcome(response: Response, push_id: str, now: float) -> Outcome:
    """Classify an answer; ``now`` (Unix time) is what a Retry-After date is measured from.

    Apple names an accepted push by the apns-id that it came with, our ``push_id``.
    """
    status = response.status
    if status == HTTPStatus.OK:
        return Accepted(push_id)
    code = reason(response)
    if status in _BY_STATUS:
        return _BY_STATUS[status](code, response)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = retry_after.seconds(response.headers.get("retry-after"), now)
        if code == _TOKEN_UPDATES and wait is None:
            wait = _TOKEN_UPDATES_WAIT
        return Throttled(code, wait, _scope(status, code))
    if status < HTTPStatus.BAD_REQUEST:
        return NotSent(code)  # something in between answered, not Apple
    return Rejected(Reason.PROVIDER_REJECTED, code)


def _gone(code: str, response: Response) -> Outcome:
    return Rejected(Reason.UNREGISTERED, code, device_dead=True, dead_since=_dead_since(response))


def _forbidden(code: str, _: Response) -> Outcome:
    return CredentialRefused(code)


def _too_large(code: str, _: Response) -> Outcome:
    return Rejected(Reason.PAYLOAD_TOO_LARGE, code)


def _bad_request(code: str, _: Response) -> Outcome:
    if code == "TopicDisallowed":
        return CredentialRefused(code)
    if code in _DEAD_TOKENS:
        return Rejected(_DEAD_TOKENS[code], code, device_dead=True)
    if code == "IdleTimeout":
        return NotSent(code)
    return Rejected(Reason.PAYLOAD_REJECTED if code in _PAYLOAD_ERRORS else Reason.PROVIDER_REJECTED, code)


_BY_STATUS: dict[int, Callable[[str, Response], Outcome]] = {
    HTTPStatus.BAD_REQUEST: _bad_request,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.GONE: _gone,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _too_large,
}


def _scope(status: int, code: str) -> Scope:
    """Only what Apple says about all of us slows the credential; one device's limit or one failed request doesn't."""
    everyone = status == HTTPStatus.SERVICE_UNAVAILABLE or code == _TOKEN_UPDATES
    return Scope.CREDENTIAL if everyone else Scope.DEVICE


def _error(response: Response) -> _Error:
    try:
        return _decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error()


def _dead_since(response: Response) -> datetime | None:
    milliseconds = _error(response).timestamp
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
