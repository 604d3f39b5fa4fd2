"""Spans of time that lists are cut down to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` on, and before ``end``; None leaves that side open."""

    start: datetime | None = None
    end: datetime | None = None


ALWAYS = Period()
