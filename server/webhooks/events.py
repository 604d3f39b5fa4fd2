"""Entries of the feed as CloudEvents 1.0 in JSON (https://github.com/cloudevents/spec), structured mode.

The same entry makes the same bytes for every attempt while its recipients' results are kept. What they hold is named as
in REST answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from server.domain import ids
from server.domain.delivery import DeviceState
from server.domain.feed import FeedEntry, FeedEvent, FeedNotice
from server.domain.health import Health
from server.domain.ids import Kind
from server.domain.notices import DevicesRemoved, HealthChanged, RemovalsStopped, UnknownNotice
from server.domain.operations import Operation, OperationStatus, Recipient, Status
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
    notification_id = ids.notification_encoder(entry.operation.operation_id)
    for change in entry.recipients:
        recipient: Members = {"recipientIndex": change.index}
        if change.status is not Status.UNADDRESSABLE:
            recipient["pushNotificationId"] = notification_id(change.index)
        recipient["status"] = change.status.name
        if change.reason is not Reason.NONE:
            recipient["reason"] = change.reason.name
        if change.recipient.known:
            recipient["to"] = _to(change.recipient)
        if change.devices:
            recipient["devices"] = [_device(device) for device in change.devices]
        yield recipient


def _to(recipient: Recipient) -> Members:
    if recipient.user_id is not None:
        return {"userId": ids.encode(Kind.USER, recipient.user_id)}
    return {"token": recipient.token, "provider": recipient.provider}


def _device(device: DeviceState) -> Members:
    told: Members = {
        "provider": device.provider.value,
        "token": device.token,
        "status": device.status.name,
        "attempts": device.attempts,
    }
    if device.message_id is not None:
        told["providerMessageId"] = device.message_id
    if device.status is Status.FAILED:
        told["error"] = device.reason.name
        if device.code is not None:
            told["providerErrorCode"] = device.code
    return told


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
        case DevicesRemoved() as removed:
            name = ids.encode(Kind.OPERATION, removed.operation_id)
            return name, {"operationId": name, "appName": removed.app_name, "devices": list(_removed(removed))}
        case UnknownNotice():
            raise ValueError("nothing is delivered of it")


def _removed(removed: DevicesRemoved) -> Iterator[Members]:
    for device in removed.devices:
        user = ids.encode(Kind.USER, device.user_id)
        yield {"userId": user, "provider": device.provider.value, "token": device.token}


def _health(health: Health) -> Members:
    times = {"since": health.since, "until": health.until}
    told = {name: _time(value) for name, value in times.items() if value is not None}
    return {"state": health.state.name, **told, **({"reason": health.reason} if health.reason else {})}


def _time(value: datetime) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
