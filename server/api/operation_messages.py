"""Operations as the contract's messages."""

from __future__ import annotations

from pharos.push.v1 import operations_pb2 as pb

from server.api.convert import number, timestamp
from server.domain import ids
from server.domain.ids import Kind
from server.domain.operations import Counts, Operation, OperationStatus


def operation_message(operation: Operation) -> pb.Operation:
    """Return the operation with its counts."""
    return pb.Operation(
        id=ids.encode(Kind.OPERATION, operation.operation_id),
        status=number(operation.status),
        stats=_stats(operation.counts, scheduled=operation.status is OperationStatus.SCHEDULED),
        created_at=timestamp(operation.created_at),
        updated_at=timestamp(operation.updated_at),
    )


def _stats(counts: Counts, *, scheduled: bool) -> pb.OperationStats:
    return pb.OperationStats(
        total=counts.total,
        recipients=counts.recipients,
        unaddressable=counts.unaddressable,
        scheduled=counts.waiting if scheduled else 0,
        queued=0 if scheduled else counts.waiting,
        sent=counts.sent,
        failed=counts.failed,
        canceled=counts.canceled,
    )
