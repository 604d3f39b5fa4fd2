"""Credentials that a provider throttles or refuses rest for a while; the work of others goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from server.domain.outcomes import CredentialRefused, Outcome, Scope, Throttled
from server.domain.reasons import Reason
from server.domain.retry import LONGEST_RETRY_AFTER

THROTTLED_REST = 1.0  # seconds, where the provider names none
REFUSED_REST = 30.0


@dataclass(frozen=True, slots=True)
class Rest:
    """How long a credential still rests, and what a push fails for that can't wait so long."""

    left: timedelta
    reason: Reason


class Gates:
    """One gate per credential, closed until a time. Kept in this process: each learns from its own calls."""

    def __init__(self) -> None:
        self._closed: dict[UUID, tuple[float, Reason]] = {}

    def rest(self, credential: UUID) -> Rest | None:
        """Return the credential's rest, or None when it may be used."""
        until, reason = self._closed.get(credential, (0.0, Reason.NONE))
        left = until - time.monotonic()
        if left > 0:
            return Rest(timedelta(seconds=left), reason)
        self._closed.pop(credential, None)
        return None

    def learn(self, credential: UUID, outcome: Outcome) -> None:
        """Close the gate after an answer that is about the credential and not about one device."""
        match outcome:
            case Throttled(scope=Scope.CREDENTIAL):
                self._close(credential, min(outcome.retry_after or THROTTLED_REST, LONGEST_RETRY_AFTER), Reason.EXPIRED)
            case CredentialRefused(scope=Scope.CREDENTIAL):
                self._close(credential, REFUSED_REST, Reason.CREDENTIAL_REJECTED)

    def _close(self, credential: UUID, seconds: float, reason: Reason) -> None:
        closing = (time.monotonic() + seconds, reason)
        self._closed[credential] = max(closing, self._closed.get(credential, closing))
