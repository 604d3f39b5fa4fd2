"""Operations: a send as it is accepted, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID

from server.domain.credentials import CredentialType
from server.domain.periods import ALWAYS, Period
from server.domain.pushes import Presentation, Provider
from server.domain.templates import ContentSource

BATCH_SIZE = 500  # recipients a batch; fixed, since a recipient's index tells its batch
SMALL_SEND = 10  # recipients up to which a send of high priority takes the fast lane
FARTHEST_SCHEDULE = timedelta(days=35)


class OperationStatus(IntEnum):
    """Numbers of ``pharos.push.v1.OperationStatus``."""

    SCHEDULED = 1
    PROCESSING = 2
    COMPLETED = 3
    CANCELED = 4

    @property
    def final(self) -> bool:
        return self in (OperationStatus.COMPLETED, OperationStatus.CANCELED)


class Status(IntEnum):
    """Where a recipient stands. Numbers of ``pharos.push.v1.DeliveryStatus``."""

    SCHEDULED = 1
    QUEUED = 2
    SENT = 3
    FAILED = 4
    CANCELED = 5
    UNADDRESSABLE = 6

    @property
    def final(self) -> bool:
        return self >= Status.SENT


@dataclass(frozen=True, slots=True)
class Recipient:
    """One user, or one device token with its provider. ``variables`` is a JSON object's text, None for none."""

    user_id: UUID | None = None
    token: str | None = None
    provider: Provider | None = None
    variables: str | None = None

    @property
    def known(self) -> bool:
        return self.user_id is not None or self.token is not None


@dataclass(frozen=True, slots=True)
class Overrides:
    """JSON objects to merge into the providers' messages."""

    fcm: Mapping[str, Any] = field(default_factory=dict)
    apn: Mapping[str, Any] = field(default_factory=dict)

    def of(self, provider: Provider) -> Mapping[str, Any]:
        return self.fcm if provider is Provider.FCM else self.apn


@dataclass(frozen=True, slots=True)
class Message:
    """What all recipients of a send share: templates, presentation and overrides."""

    content: ContentSource
    presentation: Presentation
    overrides: Overrides = field(default_factory=Overrides)


@dataclass(frozen=True, slots=True)
class NewOperation:
    """A send that passed validation.

    Credentials are set only where the request named them; ``ttl`` is in seconds; ``send_at`` is None for now.
    """

    app_id: UUID
    app_name: str
    fcm_credential: UUID | None
    apn_credential: UUID | None
    message: Message
    tags: Mapping[str, str]
    ttl: int | None
    recipients: Sequence[Recipient]
    send_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Recipients by where they stand; the rest is queued or scheduled."""

    recipients: int
    unaddressable: int
    sent: int
    failed: int
    canceled: int

    @property
    def total(self) -> int:
        return self.recipients - self.unaddressable

    @property
    def waiting(self) -> int:
        return self.total - self.sent - self.failed - self.canceled


@dataclass(frozen=True, slots=True)
class Operation:
    """A send as a whole."""

    operation_id: UUID
    status: OperationStatus
    counts: Counts
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """What a list of operations is cut down to; an operation has to meet all that is set."""

    status: OperationStatus | None = None
    accepted: Period = ALWAYS


@dataclass(frozen=True, slots=True)
class SenderCredential:
    """A credential that a send may use, with its app."""

    credential_id: UUID
    app_id: UUID
    app_name: str
    credential_type: CredentialType
