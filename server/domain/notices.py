"""News of an account that is about no recipient of its."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from server.domain.credentials import CredentialType
from server.domain.health import Health


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


Notice = HealthChanged | RemovalsStopped
