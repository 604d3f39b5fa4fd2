"""The domain's enums are the contract's: same names, same numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest
from pharos.push.v1 import operations_pb2, types_pb2, webhooks_pb2

from server.domain.operations import OperationStatus, Status
from server.domain.reasons import Reason
from server.domain.webhooks import DeliveryStatus, WebhookStatus


@pytest.mark.parametrize(
    ("ours", "contract", "prefix"),
    [
        (Reason, types_pb2.DeliveryReason, "DELIVERY_REASON_"),
        (Status, types_pb2.DeliveryStatus, "DELIVERY_STATUS_"),
        (OperationStatus, operations_pb2.OperationStatus, "OPERATION_STATUS_"),
        (WebhookStatus, webhooks_pb2.WebhookStatus, "WEBHOOK_STATUS_"),
        (DeliveryStatus, webhooks_pb2.WebhookDeliveryStatus, "WEBHOOK_DELIVERY_STATUS_"),
    ],
)
def test_same_names_and_numbers(ours: type[IntEnum], contract: Any, prefix: str) -> None:
    in_contract = {name.removeprefix(prefix): number for name, number in contract.items() if number}
    assert {member.name: member.value for member in ours if member.value} == in_contract
