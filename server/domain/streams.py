"""Who may watch with a stream token, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StreamGrant:
    """What a stream token says: it opens streams of ``scope``, which the digest of what is watched stands for."""

    account: UUID
    scope: bytes
    until: datetime
