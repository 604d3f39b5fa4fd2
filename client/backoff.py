"""How long to wait before trying again: longer each time, and never in step with others."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from `first` to `limit` seconds, each cut by up to a half at random."""

    def __init__(self, first: float = 0.1, limit: float = 5.0) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def take(self, at_least: float | None = None) -> float:
        """The next wait in seconds; not below what the service asked for."""
        wait = self._next * random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers out, guards nothing
        self._next = min(self._next * 2, self._limit)
        return max(wait, at_least or 0.0)
