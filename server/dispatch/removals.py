"""Guards against removing everybody's devices because of one wrong credential.

"Unregistered" is about the device. "Unknown token" and "other sender" may just as well mean that the credential is of
another project or environment; then every device gets that answer. So of those answers a credential may remove a few
devices more than it has reached, and no more.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.reasons import Reason

UNPROVEN = 10  # devices that a credential may remove before it has reached any


class RemovalGuard:
    """Counts, for each credential, what it reached and what it removed. Kept in this process: each learns by itself."""

    def __init__(self) -> None:
        self._reached: Counter[UUID] = Counter()
        self._removed: Counter[UUID] = Counter()

    def allows(self, credential: UUID, outcome: Outcome) -> bool:
        """Learn from an outcome, and say whether the device it is about may be removed if it is dead."""
        match outcome:
            case Accepted():
                self._reached[credential] += 1
            case Rejected(reason=reason, device_dead=True) if reason is not Reason.UNREGISTERED:
                if self._removed[credential] >= UNPROVEN + self._reached[credential]:
                    return False
                self._removed[credential] += 1
        return True
