"""News of an account that is about no recipient of its."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RemovalsStopped:
    """So many ``devices`` of an operation died of one answer (``code``) that no more of them are removed for it."""

    operation_id: UUID
    credential_id: UUID
    code: str
    devices: int
