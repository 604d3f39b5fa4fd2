"""Who may watch with a stream token, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StreamGrant:
    """What a stream token says: it opens streams of ``operation``, or of the whole account where that is None."""

    account: UUID
    operation: UUID | None
    until: datetime
