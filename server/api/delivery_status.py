"""DeliveryStatusService: the status stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import delivery_status_pb2 as pb
from pharos.push.v1 import delivery_status_pb2_grpc

from server.api.calls import current_account
from server.api.convert import id_in_path, number, timestamp
from server.api.notices import health_changes, removals_stopped
from server.api.operation_messages import operation_message
from server.domain import ids
from server.domain.feed import Changes, Checkpoint, End, Filter, Item, RecipientChange, SnapshotPart
from server.domain.ids import Kind
from server.domain.operations import Status

Context = grpc.aio.ServicerContext[Any, Any]


class Streams(Protocol):
    """Opens status streams."""

    def open(self, watched: Filter, resume_token: str) -> AsyncGenerator[Item, None]: ...


class DeliveryStatusServicer(delivery_status_pb2_grpc.DeliveryStatusServiceServicer):
    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def WatchDeliveryStatus(
        self, request: pb.WatchDeliveryStatusRequest, context: Context
    ) -> AsyncIterator[pb.WatchDeliveryStatusResponse]:
        watched = _filter(current_account(), request)
        async with contextlib.aclosing(self._streams.open(watched, request.resume_token)) as items:
            async for item in items:
                yield _message(item)


def _filter(account: UUID, request: pb.WatchDeliveryStatusRequest) -> Filter:
    statuses = frozenset(Status(status) for status in request.statuses)
    match request.WhichOneof("scope"):
        case "operation_id":
            return Filter(account, id_in_path(Kind.OPERATION, request.operation_id), None, statuses)
        case "push_notification_id":
            notification = id_in_path(Kind.NOTIFICATION, request.push_notification_id)
            return Filter(account, *ids.split_notification(notification), statuses)
        case _:
            return Filter(account, statuses=statuses)


def _message(item: Item) -> pb.WatchDeliveryStatusResponse:
    match item:
        case SnapshotPart():
            return pb.WatchDeliveryStatusResponse(snapshot=_snapshot(item), resume_token=item.token)
        case Changes():
            return pb.WatchDeliveryStatusResponse(changes=_changes(item), resume_token=item.token)
        case Checkpoint():
            at = timestamp(datetime.now(UTC))  # for the reader's eyes; nothing is decided by it
            return pb.WatchDeliveryStatusResponse(checkpoint=pb.StatusCheckpoint(at=at), resume_token=item.token)
        case End():
            end = pb.StatusEnd(operation=operation_message(item.operation))
            return pb.WatchDeliveryStatusResponse(end=end, resume_token=item.token)


def _snapshot(part: SnapshotPart) -> pb.StatusSnapshot:
    snapshot = pb.StatusSnapshot(more=part.more)
    if part.operation is not None:
        snapshot.operation.CopyFrom(operation_message(part.operation))
        operation_id = part.operation.operation_id
        snapshot.recipients.extend(_recipients((operation_id, change) for change in part.recipients))
    return snapshot


def _changes(changes: Changes) -> pb.StatusChanges:
    return pb.StatusChanges(
        recipients=_recipients(changes.recipients),
        operations=[operation_message(operation) for operation in changes.operations],
        credential_health=health_changes(changes.notices),
        removals_stopped=removals_stopped(changes.notices),
    )


def _recipients(changes: Iterable[tuple[UUID, RecipientChange]]) -> Iterable[pb.RecipientStatus]:
    for operation_id, change in changes:
        addressed = change.status is not Status.UNADDRESSABLE
        notification = ids.notification_uuid(operation_id, change.index)
        yield pb.RecipientStatus(
            operation_id=ids.encode(Kind.OPERATION, operation_id),
            recipient_index=change.index,
            push_notification_id=ids.encode(Kind.NOTIFICATION, notification) if addressed else "",
            status=number(change.status),
            reason=number(change.reason),
            occurred_at=timestamp(change.at),
        )
