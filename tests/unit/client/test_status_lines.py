from __future__ import annotations

import pytest
from pharos.push.v1.credentials_pb2 import CredentialHealth, CredentialHealthState
from pharos.push.v1.delivery_status_pb2 import (
    CredentialHealthChange,
    DevicesRemoved,
    RecipientStatus,
    RemovalsStopped,
    RemovedDevice,
    StatusChanges,
)
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus

from client.status_lines import news_lines, recipient_line


@pytest.mark.parametrize(
    ("recipient", "line"),
    [
        (RecipientStatus(push_notification_id="n", status=DeliveryStatus.DELIVERY_STATUS_SENT), "n SENT"),
        (
            RecipientStatus(
                push_notification_id="n",
                status=DeliveryStatus.DELIVERY_STATUS_FAILED,
                reason=DeliveryReason.DELIVERY_REASON_UNREGISTERED,
                to={"user_id": "u"},
            ),
            "n FAILED UNREGISTERED u",
        ),
        (
            RecipientStatus(operation_id="o", recipient_index=7, status=DeliveryStatus.DELIVERY_STATUS_UNADDRESSABLE),
            "o[7] UNADDRESSABLE",
        ),
        (RecipientStatus(push_notification_id="n", status=99, reason=999), "n 99 999"),  # of a newer service
    ],
)
def test_a_recipient_is_a_line(recipient: RecipientStatus, line: str) -> None:
    assert recipient_line(recipient) == line


def test_news_are_a_line_each() -> None:
    rejected = CredentialHealth(
        state=CredentialHealthState.CREDENTIAL_HEALTH_STATE_REJECTED, reason="InvalidProviderToken"
    )
    ok = CredentialHealth(state=CredentialHealthState.CREDENTIAL_HEALTH_STATE_OK)
    changes = StatusChanges(
        credential_health=[
            CredentialHealthChange(credential_id="c", app_name="shop", health=rejected),
            CredentialHealthChange(credential_id="c", app_name="shop", health=ok),
        ],
        removals_stopped=[RemovalsStopped(operation_id="o", credential_id="c", reason="BadDeviceToken", devices=51)],
        devices_removed=[DevicesRemoved(operation_id="o", app_name="shop", devices=[RemovedDevice(), RemovedDevice()])],
    )

    assert list(news_lines(changes)) == [
        "credential c of app shop is REJECTED: InvalidProviderToken",
        "credential c of app shop is OK",
        "o removes no more devices: 51 died of BadDeviceToken with credential c",
        "o removed dead devices from app shop: 2",
    ]


def test_texts_of_others_can_not_steer_the_terminal() -> None:
    [line] = news_lines(StatusChanges(devices_removed=[DevicesRemoved(app_name="a\x1b[2J\x9b\n", operation_id="o")]))

    assert line == "o removed dead devices from app a?[2J??: 0"
