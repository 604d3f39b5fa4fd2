"""The stream's messages of the contract as what a validator has to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pharos.push.v1 import delivery_status_pb2 as pb
from pharos.push.v1.operations_pb2 import Operation, OperationStatus
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus, Provider

from server.domain import ids
from server.domain.ids import Kind as Id
from tests.status_stream.history import Change, Counts, Kind, Message

_OVER: Final = {OperationStatus.OPERATION_STATUS_COMPLETED, OperationStatus.OPERATION_STATUS_CANCELED}


def message_of(response: pb.WatchDeliveryStatusResponse, at: float) -> Message:
    """``at``: when it was read, monotonic seconds."""
    kind = Kind(response.WhichOneof("message"))
    recipients = {Kind.SNAPSHOT: response.snapshot.recipients, Kind.CHANGES: response.changes.recipients}.get(kind, ())
    operations = _operations(response, kind)
    return Message(
        kind,
        at,
        response.resume_token,
        [_change(each) for each in recipients],
        {_id(each): Counts(each.stats.sent, each.stats.failed) for each in operations},
        {_id(each) for each in operations if each.status in _OVER},
        more=response.snapshot.more,
    )


def _operations(response: pb.WatchDeliveryStatusResponse, kind: Kind) -> Sequence[Operation]:
    match kind:
        case Kind.SNAPSHOT:
            return [response.snapshot.operation] if response.snapshot.HasField("operation") else []
        case Kind.CHANGES:
            return response.changes.operations
        case Kind.END:
            return [response.end.operation] if response.end.HasField("operation") else []
        case Kind.CHECKPOINT:
            return []


def _change(recipient: pb.RecipientStatus) -> Change:
    (device,) = recipient.devices
    return Change(
        _uuid(Id.OPERATION, recipient.operation_id),
        recipient.recipient_index,
        DeliveryStatus.Name(recipient.status).removeprefix("DELIVERY_STATUS_"),
        DeliveryReason.Name(recipient.reason).removeprefix("DELIVERY_REASON_") if recipient.reason else "",
        Provider.Name(recipient.to.provider or device.provider).removeprefix("PROVIDER_"),
        _uuid(Id.USER, recipient.to.user_id) if recipient.to.user_id else None,
    )


def _id(operation: Operation) -> UUID:
    return _uuid(Id.OPERATION, operation.id)


def _uuid(kind: Id, name: str) -> UUID:
    found = ids.decode(kind, name)
    assert found is not None, name
    return found
