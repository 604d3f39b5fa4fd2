"""The database's time, carried on by this process's monotonic clock: no other clock decides anything."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Starts at a time the database said; lags behind it by the answer's way here, so nothing happens too early."""

    started: datetime
    _monotonic: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Return the database's time, a little late."""
        return self.started + timedelta(seconds=time.monotonic() - self._monotonic)
