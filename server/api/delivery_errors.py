"""What each reason means to a caller: a number, words, and whether the same request may succeed later."""

from __future__ import annotations

from typing import Final

from server.domain.reasons import Reason

_FIRST_CODE: Final = 21000  # a reason's code is this plus its number in the contract

_TEXTS: Final = {
    Reason.NONE: "",
    Reason.UNREGISTERED: "the app was removed from the device",
    Reason.INVALID_TOKEN: "the provider does not know the token",
    Reason.SENDER_MISMATCH: "the token belongs to another sender",
    Reason.PAYLOAD_TOO_LARGE: "the rendered message is over the provider's limit",
    Reason.PAYLOAD_REJECTED: "the provider refused the message",
    Reason.PROVIDER_REJECTED: "the provider refused the push",
    Reason.NO_DEVICE: "the user has no device under the app",
    Reason.USER_NOT_FOUND: "there is no such user",
    Reason.USER_DELETED: "the user was deleted",
    Reason.NO_CREDENTIAL: "the app has no credential for the user's devices",
    Reason.CREDENTIAL_REJECTED: "the provider refused the credential until the push expired",
    Reason.CREDENTIAL_DELETED: "the credential was deleted before the push was sent",
    Reason.RENDER_ERROR: "the content could not be rendered with the recipient's variables",
    Reason.EXPIRED: "the provider did not accept the push within its time to live",
    Reason.OUTCOME_UNKNOWN: "the provider was called and its answer never came",
    Reason.POISON: "workers kept failing on this recipient",
    Reason.CANCELED: "the operation was canceled before a provider accepted the push",
}
_RETRYABLE: Final = frozenset(
    {
        Reason.CREDENTIAL_REJECTED,
        Reason.CREDENTIAL_DELETED,
        Reason.EXPIRED,
        Reason.OUTCOME_UNKNOWN,
        Reason.NO_CREDENTIAL,
        Reason.CANCELED,
    }
)


def code(reason: Reason) -> int:
    """Return the reason's number among the error codes."""
    return _FIRST_CODE + reason.value


def text(reason: Reason, provider_code: str | None) -> str:
    """Return the reason in words, with the provider's own code where there is one."""
    return f"{_TEXTS[reason]} ({provider_code})" if provider_code else _TEXTS[reason]


def retryable(reason: Reason) -> bool:
    """Return whether the same request may succeed later."""
    return reason in _RETRYABLE
