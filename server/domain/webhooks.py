"""Webhooks: what they get, when a delivery is tried again, and when a webhook is given up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final
from uuid import UUID

from server.domain.feed import FeedEntry, FeedEvent
from server.domain.notices import DevicesRemoved, HealthChanged, RemovalsStopped, UnknownNotice

MAX_WEBHOOKS: Final = 10
"""Webhooks of an account."""

OLD_SECRET_LIFE: Final = timedelta(hours=24)
"""So long after a rotation events have a signature of the secret before, too."""

# Ceilings of the waits after each failed attempt; there is none after the last. About eight hours in the mean.
WAITS: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 7200, 14400, 14400, 14400))
DISABLE_AFTER: Final = timedelta(days=3)
DISABLE_FAILURES: Final = 10
"""A webhook that had so many failures in a row, over so long, is disabled."""

_PATIENCE: Final = 3  # failures in a row after which a webhook rests, whichever of its events failed
_LONGEST_REST: Final = 300.0  # seconds
_LONGEST_RETRY_AFTER: Final = 3600.0
_GONE: Final = 410


class WebhookStatus(IntEnum):
    """Numbers of ``pharos.push.v1.WebhookStatus``."""

    ACTIVE = 1
    PAUSED = 2
    DISABLED = 3


class DeliveryStatus(IntEnum):
    """Numbers of ``pharos.push.v1.WebhookDeliveryStatus``."""

    PENDING = 1
    DELIVERED = 2
    FAILED = 3


class EventType(StrEnum):
    """Types of events, as CloudEvents have them."""

    RECIPIENTS_CHANGED = "pharos.recipients.changed"
    OPERATION_COMPLETED = "pharos.operation.completed"
    HEALTH_CHANGED = "pharos.credential.health_changed"
    REMOVALS_STOPPED = "pharos.removals.stopped"
    DEVICES_REMOVED = "pharos.devices.removed"
    EVENTS_MISSED = "pharos.events.missed"


def event_id(epoch: UUID, seq: int, event_type: EventType) -> str:
    """Return the id of an event, the same for every webhook and every attempt. Has no full stop, as signatures want."""
    return f"{epoch.hex}-{seq}-{event_type.name.lower()}"


def types_of(entry: FeedEntry) -> Sequence[EventType]:
    """Return the types of the events that a feed's entry is; none where no recipient changed and nothing ended."""
    if isinstance(entry, FeedEvent):
        changed = [EventType.RECIPIENTS_CHANGED] if entry.recipients else []
        return [*changed, EventType.OPERATION_COMPLETED] if entry.operation.status.final else changed
    match entry.notice:
        case HealthChanged():
            return [EventType.HEALTH_CHANGED]
        case DevicesRemoved():
            return [EventType.DEVICES_REMOVED]
        case RemovalsStopped():
            return [EventType.REMOVALS_STOPPED]
        case UnknownNotice():
            return []


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to store. No event types means all."""

    webhook_id: UUID
    url: str
    event_types: Sequence[str]
    description: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as its owner sees it. ``old_until`` is set while the secret before the last rotation is good."""

    webhook_id: UUID
    url: str
    event_types: Sequence[str]
    description: str
    status: WebhookStatus
    failing_since: datetime | None
    old_until: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry of a webhook's log. ``response_status`` is 0 where there was no answer; ``error`` says why."""

    delivery_id: UUID
    event_id: str
    event_type: str
    seq: int
    status: DeliveryStatus
    attempts: int
    last_attempt_at: datetime | None
    response_status: int
    error: str
    next_attempt_at: datetime | None
    created_at: datetime


def seal_context(account: UUID, webhook_id: UUID) -> str:
    """What a webhook's secret is sealed for."""
    return f"webhook/{account}/{webhook_id}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A webhook that this process delivers to, for as long as its lease lasts. Secrets are sealed, newest first."""

    account: UUID
    webhook_id: UUID
    lease: UUID
    url: str
    event_types: frozenset[str]
    epoch: UUID
    seq: int
    failures: int
    secrets: Sequence[bytes] = field(repr=False)

    @property
    def seal_context(self) -> str:
        return seal_context(self.account, self.webhook_id)

    def wants(self, event_type: EventType) -> bool:
        """Whether it gets events of the type. That some were missed everybody is told."""
        return not self.event_types or event_type == EventType.EVENTS_MISSED or event_type in self.event_types


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An event to deliver. ``missed_after``: of one about entries that are no longer kept, behind which one."""

    seq: int
    event_type: EventType
    missed_after: int | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery whose time has come."""

    delivery_id: UUID
    epoch: UUID
    seq: int
    event_type: EventType
    missed_after: int | None
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt came to: an HTTP status, or 0 and why there was none. ``retry_after`` is in seconds."""

    status: int = 0
    error: str = ""
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 # RFC 9110, 15.3

    @property
    def gone(self) -> bool:
        return self.status == _GONE


NOT_KEPT: Final = Answer(error="EVENT_NOT_KEPT")
"""The event's place in the feed is past its retention: that it was missed is delivered in its stead."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a delivery by an attempt. ``wait`` is None at its end."""

    delivery_id: UUID
    answer: Answer
    status: DeliveryStatus
    wait: timedelta | None


def settle(pending: Pending, answer: Answer) -> Attempt:
    """Return what an answer makes of a delivery: full jitter between its attempts, and never before Retry-After."""
    if answer.delivered:
        return Attempt(pending.delivery_id, answer, DeliveryStatus.DELIVERED, None)
    if answer is NOT_KEPT:
        return Attempt(pending.delivery_id, answer, DeliveryStatus.PENDING, timedelta())
    if pending.attempts >= len(WAITS):
        return Attempt(pending.delivery_id, answer, DeliveryStatus.FAILED, None)
    wait = random.uniform(0.0, WAITS[pending.attempts].total_seconds())  # noqa: S311 # spreads load
    return Attempt(
        pending.delivery_id, answer, DeliveryStatus.PENDING, timedelta(seconds=max(wait, _believed(answer.retry_after)))
    )


def rest(failures: int, answers: Sequence[Answer]) -> timedelta | None:
    """Return how long a webhook is left alone after so many failures in a row, the last with ``answers``.

    None: not at all. So one that is down gets an attempt every few minutes, however many events wait for it.
    """
    asked = max((_believed(answer.retry_after) for answer in answers if not answer.delivered), default=0.0)
    if failures < _PATIENCE:
        return timedelta(seconds=asked) if asked else None
    ceiling = min(_LONGEST_REST, 2.0 ** min(failures - _PATIENCE, 16))
    return timedelta(seconds=max(random.uniform(0.0, ceiling), asked))  # noqa: S311 # spreads load


def _believed(retry_after: float) -> float:
    return min(retry_after, _LONGEST_RETRY_AFTER)
