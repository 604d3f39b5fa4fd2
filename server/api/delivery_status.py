"""DeliveryStatusService: the status stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import delivery_status_pb2 as pb
from pharos.push.v1 import delivery_status_pb2_grpc

from server.api.calls import current_account
from server.api.convert import PROVIDERS, id_in_path, number, timestamp
from server.api.notices import devices_removed, health_changes, removals_stopped
from server.api.notification_messages import add_devices, write_recipient
from server.api.operation_messages import operation_message
from server.domain import ids
from server.domain.feed import Changes, Checkpoint, End, Filter, Item, Place, RecipientChange, SnapshotPart
from server.domain.ids import Kind
from server.domain.operations import Status
from server.domain.reasons import Reason

_NO_ID: Final = ids.notification_encoder(UUID(int=0))

Context = grpc.aio.ServicerContext[Any, Any]


class Streams(Protocol):
    """Opens status streams of messages as ``serialised`` makes them."""

    def open(self, watched: Filter, resume_token: str, *, snapshot: bool) -> AsyncGenerator[bytes, None]: ...


class DeliveryStatusServicer(delivery_status_pb2_grpc.DeliveryStatusServiceServicer):
    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def WatchDeliveryStatus(  # type: ignore[override]  # serialised once for all who watch the same
        self, request: pb.WatchDeliveryStatusRequest, context: Context
    ) -> AsyncIterator[bytes]:
        watched = _filter(current_account(), request)
        snapshot = request.snapshot or not request.HasField("snapshot")
        opened = self._streams.open(watched, request.resume_token, snapshot=snapshot)
        async with contextlib.aclosing(opened) as messages:
            async for each in messages:
                yield each


def _filter(account: UUID, request: pb.WatchDeliveryStatusRequest) -> Filter:
    everything = Filter(
        account,
        statuses=frozenset(map(Status, request.statuses)),
        providers=frozenset(PROVIDERS[provider] for provider in request.providers),
        reasons=frozenset(map(Reason, request.reasons)),
    )
    match request.WhichOneof("scope"):
        case "operation_id":
            return replace(everything, operation=id_in_path(Kind.OPERATION, request.operation_id))
        case "push_notification_id":
            return replace(everything, places=_places([request.push_notification_id]))
        case "user_id":
            return replace(everything, user=id_in_path(Kind.USER, request.user_id))
        case "app_name":
            return replace(everything, app_name=request.app_name)
        case _:
            return replace(everything, places=_places(request.push_notification_ids))


def _places(notifications: Iterable[str]) -> frozenset[Place]:
    return frozenset(ids.split_notification(id_in_path(Kind.NOTIFICATION, each)) for each in notifications)


def serialised(item: Item) -> bytes:
    """Return what there is to tell as it goes over the wire."""
    return message(item).SerializeToString()


def message(item: Item) -> pb.WatchDeliveryStatusResponse:
    """Return what there is to tell as a message of the contract."""
    match item:
        case SnapshotPart():
            return pb.WatchDeliveryStatusResponse(snapshot=_snapshot(item), resume_token=item.token)
        case Changes():
            return pb.WatchDeliveryStatusResponse(changes=_changes(item), resume_token=item.token)
        case Checkpoint():
            at = timestamp(datetime.now(UTC))  # for the reader's eyes; nothing is decided by it
            return pb.WatchDeliveryStatusResponse(checkpoint=pb.StatusCheckpoint(at=at), resume_token=item.token)
        case End():
            end = pb.StatusEnd(operation=operation_message(item.operation) if item.operation else None)
            return pb.WatchDeliveryStatusResponse(end=end, resume_token=item.token)


def _snapshot(part: SnapshotPart) -> pb.StatusSnapshot:
    message = pb.StatusSnapshot(operation=operation_message(part.operation) if part.operation else None, more=part.more)
    _add(message, part.recipients)
    return message


def _changes(changes: Changes) -> pb.StatusChanges:
    message = pb.StatusChanges(
        operations=[operation_message(operation) for operation in changes.operations],
        credential_health=health_changes(changes.notices),
        removals_stopped=removals_stopped(changes.notices),
        devices_removed=devices_removed(changes.notices),
    )
    _add(message, changes.recipients)
    return message


def _add(message: pb.StatusSnapshot | pb.StatusChanges, recipients: Sequence[RecipientChange]) -> None:
    """Add recipients in place, which a stream does more often than anything else.

    Most follow one of the same operation and time, for which id and timestamp are made once.
    """
    operation, operation_id, notification_id = None, "", _NO_ID
    at, occurred_at = None, Timestamp()
    add = message.recipients.add
    for change in recipients:
        if change.operation_id != operation:
            operation = change.operation_id
            operation_id, notification_id = ids.encode(Kind.OPERATION, operation), ids.notification_encoder(operation)
        if change.at != at:
            at = change.at
            occurred_at.FromDatetime(at)
        added = add()  # and set one by one, which takes half as long as by keywords
        added.operation_id = operation_id
        added.recipient_index = change.index
        if change.status is not Status.UNADDRESSABLE:
            added.push_notification_id = notification_id(change.index)
        added.status = number(change.status)
        added.reason = number(change.reason)
        added.occurred_at.CopyFrom(occurred_at)
        added.sequence = change.seq
        if change.recipient.known:
            write_recipient(added.to, change.recipient)
        add_devices(added.devices, change.devices)
