from __future__ import annotations

from typing import Any

import grpc
from pharos.push.v1.delivery_status_pb2 import (
    RecipientStatus,
    StatusChanges,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus

from tests.unit.client.documented import account_of_the_test, program_of, run_program

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"


async def test_the_program_on_the_page_follows_an_operation_over_a_lost_connection(service: Any) -> None:
    sent = RecipientStatus(recipient_index=0, status=DeliveryStatus.DELIVERY_STATUS_SENT)
    failed = RecipientStatus(recipient_index=1, status=DeliveryStatus.DELIVERY_STATUS_FAILED)
    failed.reason = DeliveryReason.DELIVERY_REASON_UNREGISTERED
    service.streams.append(
        [
            WatchDeliveryStatusResponse(snapshot=StatusSnapshot(recipients=[sent]), resume_token="a"),
            service.refuse(grpc.StatusCode.UNAVAILABLE),
        ]
    )
    service.streams.append(
        [
            WatchDeliveryStatusResponse(changes=StatusChanges(recipients=[failed]), resume_token="b"),
            WatchDeliveryStatusResponse(end=StatusEnd(), resume_token="b"),
        ]
    )

    said = await run_program(program_of("status_stream.md"), OPERATION_ID, env=account_of_the_test(service.port))

    assert [line.rstrip() for line in said.splitlines()] == ["0 SENT", "1 FAILED UNREGISTERED"]
    assert [(watch.operation_id, watch.resume_token) for watch in service.requests] == [
        (OPERATION_ID, ""),
        (OPERATION_ID, "a"),
    ]


def test_the_program_has_fifteen_lines() -> None:
    program = program_of("status_stream.md")

    assert len([line for line in program.splitlines() if line.strip()]) == 15
