"""The people whose devices are registered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class User:
    """``deleted_at`` is None until the user is deleted."""

    user_id: UUID
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
