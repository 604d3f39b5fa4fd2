from __future__ import annotations

from pharos.push.v1.delivery_status_pb2 import (
    RecipientStatus,
    StatusChanges,
    StatusCheckpoint,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.operations_pb2 import Operation, OperationStats, OperationStatus
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus

from client.tally import Tally


def sent(index: int) -> RecipientStatus:
    return RecipientStatus(recipient_index=index, status=DeliveryStatus.DELIVERY_STATUS_SENT)


def failed(index: int) -> RecipientStatus:
    return RecipientStatus(
        recipient_index=index,
        status=DeliveryStatus.DELIVERY_STATUS_FAILED,
        reason=DeliveryReason.DELIVERY_REASON_UNREGISTERED,
    )


def queued(index: int) -> RecipientStatus:
    return RecipientStatus(recipient_index=index, status=DeliveryStatus.DELIVERY_STATUS_QUEUED)


def operation(
    recipients: int, status: OperationStatus.ValueType = OperationStatus.OPERATION_STATUS_PROCESSING
) -> Operation:
    return Operation(id="o", status=status, stats=OperationStats(recipients=recipients))


def tally_of(*messages: StatusSnapshot | StatusChanges | StatusCheckpoint | StatusEnd) -> Tally:
    tally = Tally()
    names = {StatusSnapshot: "snapshot", StatusChanges: "changes", StatusCheckpoint: "checkpoint", StatusEnd: "end"}
    for message in messages:
        tally.add(WatchDeliveryStatusResponse(**{names[type(message)]: message}))
    return tally


def test_snapshot_and_changes_add_up() -> None:
    tally = tally_of(
        StatusSnapshot(operation=operation(4), recipients=[sent(0)], more=True),
        StatusSnapshot(recipients=[failed(3)]),
        StatusChanges(recipients=[sent(1)]),
        StatusCheckpoint(),
    )

    assert tally.recipients == 4
    assert tally.by_status() == {"SENT": 2, "FAILED": 1}
    assert tally.by_reason() == {"UNREGISTERED": 1}
    assert not tally.ended


def test_passing_states_do_not_count() -> None:
    tally = tally_of(StatusChanges(recipients=[queued(0), sent(1)]), StatusChanges(recipients=[sent(0)]))

    assert tally.by_status() == {"SENT": 2}
    assert tally.repeats == []


def test_a_recipient_that_becomes_final_twice_is_noticed() -> None:
    tally = tally_of(StatusChanges(recipients=[sent(7)]), StatusChanges(recipients=[failed(7)]))

    assert tally.repeats == [7]


def test_the_end_brings_the_last_counts() -> None:
    done = OperationStatus.OPERATION_STATUS_COMPLETED
    tally = tally_of(StatusSnapshot(operation=operation(1)), StatusEnd(operation=operation(1, done)))

    assert tally.ended
    assert tally.operation.status == done
