"""Credentials that a provider throttles or refuses rest for a while; the work of others goes on."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

from server.domain.outcomes import CredentialRefused, Outcome, Scope, Throttled
from server.domain.retry import LONGEST_RETRY_AFTER

THROTTLED_REST = 1.0  # seconds, where the provider names none
REFUSED_REST = 30.0


class Gates:
    """One gate per credential, closed until a time. Kept in this process: each learns from its own calls."""

    def __init__(self) -> None:
        self._closed_until: dict[UUID, float] = {}

    def closed_for(self, credential: UUID) -> timedelta | None:
        """Return how long the credential still rests, or None when it may be used."""
        until = self._closed_until.get(credential)
        if until is None:
            return None
        left = until - time.monotonic()
        if left > 0:
            return timedelta(seconds=left)
        del self._closed_until[credential]
        return None

    def learn(self, credential: UUID, outcome: Outcome) -> None:
        """Close the gate after an answer that is about the credential and not about one device."""
        match outcome:
            case Throttled(scope=Scope.CREDENTIAL):
                self._close(credential, min(outcome.retry_after or THROTTLED_REST, LONGEST_RETRY_AFTER))
            case CredentialRefused():
                self._close(credential, REFUSED_REST)

    def _close(self, credential: UUID, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._closed_until[credential] = max(until, self._closed_until.get(credential, 0.0))
