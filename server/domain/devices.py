"""Devices and their registrations: the devices of one user under one app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from server.domain.pushes import Provider

MAX_DEVICES: Final = 50
"""Devices of a registration."""

_HEX = frozenset("0123456789abcdef")


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


def normal_token(provider: Provider, token: str) -> str | None:
    """Return the token as it is stored and compared, or None for one that can't be the provider's.

    APNs hands out bytes, of which hexadecimal text has two spellings.
    """
    if provider is Provider.FCM:
        return token
    lowered = token.lower()
    return lowered if _HEX.issuperset(lowered) else None
