"""What one provider call came to. A provider adapter answers one of these and decides nothing; dispatch decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.domain.reasons import Reason


class Scope(StrEnum):
    """What a throttling or refusing answer is about."""

    DEVICE = "device"
    CREDENTIAL = "credential"
    PROJECT = "project"  # its quota, which it may share with other credentials


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the push (which is not yet delivery to the device)."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A final no. ``device_dead``: the token itself is finished; ``dead_since`` is the provider's own time for it."""

    reason: Reason
    code: str
    device_dead: bool = False
    dead_since: datetime | None = None
    called: bool = True  # False: known without asking the provider


@dataclass(frozen=True, slots=True)
class Throttled:
    """Not now. ``retry_after`` is in seconds, None where neither the provider nor its documents name a time."""

    code: str
    retry_after: float | None = None
    scope: Scope = Scope.CREDENTIAL
    called: bool = True


@dataclass(frozen=True, slots=True)
class NotSent:
    """The provider certainly did not process the push: sending it again can't make a duplicate."""

    code: str


@dataclass(frozen=True, slots=True)
class CredentialRefused:
    """The provider refused our credential, not the push: the device is blameless and the work is kept.

    With a device's scope only what reaches this kind of device is refused (FCM's own access to APNs or web push).
    """

    code: str
    scope: Scope = Scope.CREDENTIAL
    called: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was written and no answer came: the push may or may not have been taken."""

    code: str


Outcome = Accepted | Rejected | Throttled | NotSent | CredentialRefused | Unknown
