"""One recipient of a send, as it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from server.domain.delivery import DeviceState
from server.domain.operations import Message, Recipient, Status
from server.domain.periods import ALWAYS, Period
from server.domain.pushes import Provider
from server.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Notification:
    """A recipient with its status. In lists, ``message`` has no content.

    ``fcm_credential`` and ``apn_credential`` are those used, or named by the send.
    """

    operation_id: UUID
    index: int
    recipient: Recipient
    message: Message
    tags: Mapping[str, str]
    status: Status
    reason: Reason
    devices: Sequence[DeviceState]
    fcm_credential: UUID | None
    apn_credential: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryError:
    """A recipient that failed or had no usable device."""

    operation_id: UUID
    index: int
    recipient: Recipient
    status: Status
    reason: Reason
    devices: Sequence[DeviceState]
    occurred_at: datetime


NEWEST = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: operations newest first, in each the recipients from ``index`` on."""

    operation_id: UUID = NEWEST
    index: int = 0


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """What a list of notifications is cut down to; a recipient has to meet all that is set.

    ``provider``: a device of it was tried, or the recipient is such a device's token. ``accepted``: when its send was.
    """

    operation: UUID | None = None
    status: Status | None = None
    user: UUID | None = None
    provider: Provider | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    accepted: Period = ALWAYS
