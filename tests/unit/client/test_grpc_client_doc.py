from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import sys
from pathlib import Path
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

PAGE = Path(__file__).parents[3] / "docs/grpc_client.md"
OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"


async def test_the_program_on_the_page_sends_and_follows(service: Any) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```$", _page(), re.MULTILINE | re.DOTALL)
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

    said = await _run(program, "one", "two", grpc_url=f"http://127.0.0.1:{service.port}")

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


def _page() -> str:
    return PAGE.read_text("utf-8")


async def _run(program: str, *arguments: str, grpc_url: str) -> str:
    env = os.environ | {"PHAROS_GRPC": grpc_url, "PHAROS_ACCOUNT_ID": "account", "PHAROS_AUTH_TOKEN": "secret"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program, *arguments),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()
