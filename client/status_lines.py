"""What the status stream tells, in words: one line for a recipient, an operation or a piece of news."""

from __future__ import annotations

from collections.abc import Iterator

from pharos.push.v1.credentials_pb2 import CredentialHealth, CredentialHealthState
from pharos.push.v1.delivery_status_pb2 import RecipientStatus, StatusChanges
from pharos.push.v1.operations_pb2 import Operation, OperationStatus

from client.tally import name_of, reason_name, status_name

_STATS = ("recipients", "sent", "failed", "unaddressable", "canceled", "queued", "scheduled")


def recipient_line(recipient: RecipientStatus) -> str:
    """`ID STATUS`, and where there are the reason and the user; who has no push notification is a place in a send."""
    name = recipient.push_notification_id or f"{recipient.operation_id}[{recipient.recipient_index}]"
    words = (name, status_name(recipient.status), reason_name(recipient.reason), recipient.to.user_id)
    return " ".join(filter(None, words))


def operation_line(operation: Operation) -> str:
    """`ID STATUS  counts`."""
    return f"{operation.id} {operation_status(operation)}  {counts(operation)}"


def operation_status(operation: Operation) -> str:
    """The status as people write it: `COMPLETED`."""
    return name_of(OperationStatus.items(), operation.status, "OPERATION_STATUS_")


def counts(operation: Operation) -> str:
    """Those that are not 0: an id leaves a terminal little room."""
    found = ((name, getattr(operation.stats, name)) for name in _STATS)
    return "  ".join(f"{name} {count}" for name, count in found if count)


def news_lines(changes: StatusChanges) -> Iterator[str]:
    """What is about no recipient: credentials that became better or worse, and devices that were removed or kept."""
    for change in changes.credential_health:
        yield _printable(f"credential {change.credential_id} of app {change.app_name} is {_health(change.health)}")
    for kept in changes.removals_stopped:
        yield _printable(
            f"{kept.operation_id} removes no more devices: {kept.devices} died of {kept.reason} "
            f"with credential {kept.credential_id}"
        )
    for removed in changes.devices_removed:
        count = len(removed.devices)
        yield _printable(f"{removed.operation_id} removed dead devices from app {removed.app_name}: {count}")


def _health(health: CredentialHealth) -> str:
    state = name_of(CredentialHealthState.items(), health.state, "CREDENTIAL_HEALTH_STATE_")
    return f"{state}: {health.reason}" if health.reason else state


def _printable(text: str) -> str:
    """Without what could steer a terminal: providers' codes and apps' names are others' texts."""
    return "".join(character if character.isprintable() else "?" for character in text)
