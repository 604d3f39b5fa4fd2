"""Why a recipient or one of its devices did not get the push. The names are part of the contract and never change."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Stable names; ``pharos.push.v1.DeliveryReason`` has the same ones, held equal by a test."""

    UNREGISTERED = "UNREGISTERED"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105  # a reason, not a secret
    SENDER_MISMATCH = "SENDER_MISMATCH"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    PAYLOAD_REJECTED = "PAYLOAD_REJECTED"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    NO_DEVICE = "NO_DEVICE"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    USER_DELETED = "USER_DELETED"
    NO_CREDENTIAL = "NO_CREDENTIAL"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    CREDENTIAL_DELETED = "CREDENTIAL_DELETED"
    RENDER_ERROR = "RENDER_ERROR"
    EXPIRED = "EXPIRED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    POISON = "POISON"
