"""News of an account that is about no recipient of its."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from server.domain.credentials import CredentialType
from server.domain.health import Health
from server.domain.pushes import Provider


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """What a credential's health came to."""

    credential_id: UUID
    app_name: str
    credential_type: CredentialType
    health: Health


@dataclass(frozen=True, slots=True)
class RemovalsStopped:
    """So many ``devices`` of an operation died of one answer (``code``) that no more of them are removed for it."""

    operation_id: UUID
    credential_id: UUID
    code: str
    devices: int


@dataclass(frozen=True, slots=True)
class RemovedDevice:
    """A device that its provider called dead. ``user_id`` had it registered."""

    user_id: UUID
    provider: Provider
    token: str


@dataclass(frozen=True, slots=True)
class DevicesRemoved:
    """Devices that a flush of an operation removed from their registrations."""

    operation_id: UUID
    app_name: str
    devices: Sequence[RemovedDevice]

    def of_user(self, user: UUID) -> DevicesRemoved | None:
        """Return the same of one user's devices alone, or None where none of them was."""
        own = [device for device in self.devices if device.user_id == user]
        return replace(self, devices=own) if own else None


@dataclass(frozen=True, slots=True)
class UnknownNotice:
    """News of a kind that only a newer version knows. It has its place in the feed, and nobody is told."""


Notice = HealthChanged | RemovalsStopped | DevicesRemoved | UnknownNotice
