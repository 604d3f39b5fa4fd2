"""Ids as callers see them: a prefix and a UUID in 26 characters of lower-case Crockford base32 (a TypeID).

A notification's UUID is its operation's plus the recipient's index, so it exists before its row does.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26
_INDEX_BITS = 14
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class Kind(StrEnum):
    """What an id names; the value is its prefix."""

    USER = "comms_pushnotificationuser_"
    DEVICE_REGISTRATION = "comms_device_registration_"
    CREDENTIAL = "comms_credential_"
    NOTIFICATION = "comms_pushnotification_"
    OPERATION = "comms_operation_"
    WEBHOOK = "comms_webhook_"
    WEBHOOK_DELIVERY = "comms_webhook_delivery_"
    ACCOUNT = "AC"
    API_KEY = "SK"


_ALIASES = {Kind.USER: "comms_user_"}
_HEX_KINDS = {Kind.ACCOUNT, Kind.API_KEY}


def encode(kind: Kind, value: UUID) -> str:
    """Return the id of this kind for the UUID."""
    if kind in _HEX_KINDS:
        return kind.value + value.hex
    number = value.int
    return kind.value + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def decode(kind: Kind, text: str) -> UUID | None:
    """Return the UUID behind an id, or None for one that names nothing (wrong prefix, length, letters or range)."""
    suffix = _suffix(kind, text)
    if suffix is None:
        return None
    if kind in _HEX_KINDS:
        return _from_hex(suffix)
    if len(suffix) != _LENGTH or suffix[0] > "7":
        return None
    number = 0
    for character in suffix:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    return UUID(int=number)


def notification_uuid(operation: UUID, index: int) -> UUID:
    """Return the UUID of the notification to recipient ``index`` (0-16383) of an operation."""
    return UUID(int=operation.int | index)


def notification_encoder(operation: UUID) -> Callable[[int], str]:
    """Return what gives the ids of an operation's notifications by index: for many a tenth of what `encode` takes."""
    prefix = encode(Kind.NOTIFICATION, operation)[:-3]
    low = operation.int & 0x7FFF  # what the last three characters hold, of which the index is 14 bits
    return lambda index: prefix + _ALPHABET[(low | index) >> 10] + _PAIRS[(low | index) & 1023]


def split_notification(notification: UUID) -> tuple[UUID, int]:
    """Return the operation and the recipient's index behind a notification's UUID."""
    return UUID(int=notification.int & ~_INDEX_MASK), notification.int & _INDEX_MASK


def _suffix(kind: Kind, text: str) -> str | None:
    for prefix in (kind.value, _ALIASES.get(kind)):
        if prefix and text.startswith(prefix):
            return text[len(prefix) :]
    return None


def _from_hex(suffix: str) -> UUID | None:
    if len(suffix) != 32 or any(character not in "0123456789abcdef" for character in suffix):  # noqa: PLR2004 # 128 bits
        return None
    return UUID(hex=suffix)
