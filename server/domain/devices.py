"""Devices and their registrations: the devices of one user under one app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias
from uuid import UUID

from server.domain.errors import Violation
from server.domain.pushes import Provider

MAX_DEVICES: Final = 50
"""Devices of a registration."""

_HEX = frozenset("0123456789abcdef")


class Environment(IntEnum):
    """Apple's environments, as ``devices.environment`` numbers them. A token belongs to one of them."""

    PRODUCTION = 1
    DEVELOPMENT = 2

    @property
    def other(self) -> Environment:
        return Environment.DEVELOPMENT if self is Environment.PRODUCTION else Environment.PRODUCTION


@dataclass(frozen=True, slots=True)
class Device:
    """One installation of an app, by the token that its provider's SDK gave it."""

    provider: Provider
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceRegistration:
    """The devices of one user under one app, oldest first."""

    registration_id: UUID
    app_name: str
    user_id: UUID
    devices: Sequence[Device]


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to register. No app means the default one, no user a new one."""

    device: Device
    app_name: str | None = None
    user_id: UUID | None = None


Registered: TypeAlias = UUID | Violation
"""What became of one device of a batch: the registration that it is in, or why it is in none."""

USER_UNKNOWN: Final = Violation("user_id", "there is no such user")
USER_DELETED: Final = Violation("user_id", "the user was deleted")
TOO_MANY_DEVICES: Final = Violation(
    "token", f"the user has {MAX_DEVICES} devices under this app, the most there can be"
)


def app_unknown(name: str | None) -> Violation:
    """Return what is wrong with a device whose app is not there; no name means the default one."""
    return Violation("app_name", "there is no such app" if name else "there is no app")


def normal_token(provider: Provider, token: str) -> str | None:
    """Return the token as it is stored and compared, or None for one that can't be the provider's.

    APNs hands out bytes, of which hexadecimal text has two spellings.
    """
    if provider is Provider.FCM:
        return token
    lowered = token.lower()
    return lowered if _HEX.issuperset(lowered) else None
