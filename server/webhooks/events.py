"""Entries of the feed as CloudEvents 1.0 in JSON (https://github.com/cloudevents/spec), structured mode.

The same entry makes the same bytes for every attempt. What they hold is named as in REST answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from server.domain import ids
from server.domain.feed import FeedEntry, FeedEvent, FeedNotice
from server.domain.health import Health
from server.domain.ids import Kind
from server.domain.notices import HealthChanged, RemovalsStopped
from server.domain.operations import Operation, OperationStatus, Status
from server.domain.reasons import Reason
from server.domain.webhooks import EventType, Pending, event_id

Members = dict[str, Any]


def event_of(account: UUID, pending: Pending, entry: FeedEntry | None) -> bytes:
    """Return the event to deliver. ``entry`` is None for one about entries that are no longer kept."""
    subject, data = _missed(pending) if entry is None else _told(pending.event_type, entry)
    event = {
        "specversion": "1.0",
        "id": event_id(pending.epoch, pending.seq, pending.event_type),
        "source": f"/accounts/{ids.encode(Kind.ACCOUNT, account)}",
        "type": pending.event_type.value,
        **({"subject": subject} if subject else {}),
        "time": _time(pending.created_at if entry is None else entry.at),
        "datacontenttype": "application/json",
        "sequence": f"{pending.seq:020}",  # the extension of this name: texts that sort as the numbers do
        "data": data,
    }
    return msgspec.json.encode(event)


def _missed(pending: Pending) -> tuple[str, Members]:
    return "", {"after": pending.missed_after, "through": pending.seq}


def _told(event_type: EventType, entry: FeedEntry) -> tuple[str, Members]:
    """Return the subject and the data."""
    if isinstance(entry, FeedNotice):
        return _notice(entry)
    operation = _operation(entry.operation)
    if event_type is EventType.OPERATION_COMPLETED:
        return operation["id"], {"operation": operation}
    return operation["id"], {"operation": operation, "recipients": list(_recipients(entry))}


def _recipients(entry: FeedEvent) -> Iterator[Members]:
    for change in entry.changes():
        recipient: Members = {"recipientIndex": change.index}
        if change.status is not Status.UNADDRESSABLE:
            notification = ids.notification_uuid(entry.operation.operation_id, change.index)
            recipient["pushNotificationId"] = ids.encode(Kind.NOTIFICATION, notification)
        recipient["status"] = change.status.name
        if change.reason is not Reason.NONE:
            recipient["reason"] = change.reason.name
        yield recipient


def _operation(operation: Operation) -> Members:
    counts = operation.counts
    waits = operation.status is OperationStatus.SCHEDULED
    stats = {
        "total": counts.total,
        "recipients": counts.recipients,
        "unaddressable": counts.unaddressable,
        "scheduled": counts.waiting if waits else 0,
        "queued": 0 if waits else counts.waiting,
        "sent": counts.sent,
        "failed": counts.failed,
        "canceled": counts.canceled,
    }
    return {
        "id": ids.encode(Kind.OPERATION, operation.operation_id),
        "status": operation.status.name,
        "stats": stats,
        "createdAt": _time(operation.created_at),
        "updatedAt": _time(operation.updated_at),
    }


def _notice(entry: FeedNotice) -> tuple[str, Members]:
    match entry.notice:
        case HealthChanged() as changed:
            name = ids.encode(Kind.CREDENTIAL, changed.credential_id)
            return name, {
                "credentialId": name,
                "appName": changed.app_name,
                "credentialType": changed.credential_type.value,
                "health": _health(changed.health),
            }
        case RemovalsStopped() as stopped:
            name = ids.encode(Kind.OPERATION, stopped.operation_id)
            return name, {
                "operationId": name,
                "credentialId": ids.encode(Kind.CREDENTIAL, stopped.credential_id),
                "reason": stopped.code,
                "devices": stopped.devices,
            }


def _health(health: Health) -> Members:
    times = {"since": health.since, "until": health.until}
    told = {name: _time(value) for name, value in times.items() if value is not None}
    return {"state": health.state.name, **told, **({"reason": health.reason} if health.reason else {})}


def _time(value: datetime) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
