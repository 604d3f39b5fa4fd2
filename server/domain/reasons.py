"""Why a recipient or one of its devices did not get the push. The names are part of the contract and never change."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Names and numbers of ``pharos.push.v1.DeliveryReason``, held equal by a test."""

    NONE = 0
    UNREGISTERED = 1
    INVALID_TOKEN = 2
    SENDER_MISMATCH = 3
    PAYLOAD_TOO_LARGE = 4
    PAYLOAD_REJECTED = 5
    PROVIDER_REJECTED = 6
    NO_DEVICE = 7
    USER_NOT_FOUND = 8
    USER_DELETED = 9
    NO_CREDENTIAL = 10
    CREDENTIAL_REJECTED = 11
    CREDENTIAL_DELETED = 12
    RENDER_ERROR = 13
    EXPIRED = 14
    OUTCOME_UNKNOWN = 15
    POISON = 16
    CANCELED = 17
