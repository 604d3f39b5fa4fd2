"""How well a credential is: what its provider last said against it, and how long its certificate lasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

EXPIRY_NOTICE: Final = timedelta(days=30)
"""So long before its certificate ends a credential is EXPIRING."""


class HealthState(IntEnum):
    """The contract's numbers."""

    OK = 1
    THROTTLED = 2
    REJECTED = 3
    EXPIRING = 4


@dataclass(frozen=True, slots=True)
class Ailment:
    """What the provider last said against a credential: THROTTLED with ``until``, or REJECTED.

    ``reason`` is the provider's code.
    """

    state: HealthState
    since: datetime
    until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """A credential's state. ``since`` is None where OK.

    ``until``: when a throttled one may be used again, when an expiring one ends; else None.
    """

    state: HealthState
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""


def grown_worse(known: Ailment | None, reported: Ailment) -> Ailment | None:
    """Return what is known after a report, None when that is what was known.

    Who is rejected stays so, whatever throttles it besides; one throttle that goes on keeps its beginning.
    """
    if known is None or (known.until is not None and known.until <= reported.since):
        return reported
    if known.until is None:
        return None
    if reported.until is None:
        return reported
    return replace(known, until=max(known.until, reported.until))


def health_of(ailment: Ailment | None, not_after: datetime | None, now: datetime) -> Health:
    """Return the most urgent of what is known. ``not_after`` is the end of the certificate, None for a key."""
    if ailment is not None and (ailment.until is None or ailment.until > now):
        return Health(ailment.state, ailment.since, ailment.until, ailment.reason)
    if not_after is not None and now > not_after - EXPIRY_NOTICE:
        return Health(HealthState.EXPIRING, not_after - EXPIRY_NOTICE, not_after)
    return Health(HealthState.OK)
