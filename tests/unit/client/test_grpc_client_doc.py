from __future__ import annotations

import base64
from typing import Any

from pharos.push.v1.delivery_status_pb2 import (
    RecipientStatus,
    StatusChanges,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.push_notifications_pb2 import SendPushNotificationResponse
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus, Provider

from tests.unit.client.documented import account_of_the_test, program_of, run_program

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"


async def test_the_program_on_the_page_sends_and_follows(service: Any) -> None:
    sent = RecipientStatus(recipient_index=0, status=DeliveryStatus.DELIVERY_STATUS_SENT)
    failed = RecipientStatus(recipient_index=1, status=DeliveryStatus.DELIVERY_STATUS_FAILED)
    failed.reason = DeliveryReason.DELIVERY_REASON_UNREGISTERED
    service.answers.append(SendPushNotificationResponse(operation_id=OPERATION_ID))
    service.streams.append(
        [
            WatchDeliveryStatusResponse(snapshot=StatusSnapshot(recipients=[sent])),
            WatchDeliveryStatusResponse(changes=StatusChanges(recipients=[failed])),
            WatchDeliveryStatusResponse(end=StatusEnd()),
        ]
    )

    said = await run_program(program_of("grpc_client.md"), "one", "two", env=account_of_the_test(service.port))

    assert said.splitlines() == [
        "one DELIVERY_STATUS_SENT DELIVERY_REASON_UNSPECIFIED",
        "two DELIVERY_STATUS_FAILED DELIVERY_REASON_UNREGISTERED",
    ]
    request, watch = service.requests
    assert [(to.token, to.provider) for to in request.to] == [
        ("one", Provider.PROVIDER_FCM),
        ("two", Provider.PROVIDER_FCM),
    ]
    assert dict(request.to[1].variables) == {"name": "number 2"}
    assert watch.operation_id == OPERATION_ID
    expected = "Basic " + base64.b64encode(b"account:secret").decode()
    assert [metadata["authorization"] for metadata in service.metadata] == [expected, expected]
