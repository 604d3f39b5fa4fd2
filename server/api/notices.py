"""News of an account that are about no recipient, as the contract's messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pharos.push.v1 import credentials_pb2
from pharos.push.v1 import delivery_status_pb2 as pb

from server.api.convert import CREDENTIAL_TYPE_NUMBERS, PROVIDER_NUMBERS, number, timestamp
from server.domain import ids
from server.domain.feed import FeedNotice
from server.domain.health import Health
from server.domain.ids import Kind
from server.domain.notices import DevicesRemoved, HealthChanged, RemovalsStopped


def health_message(health: Health) -> credentials_pb2.CredentialHealth:
    """Return a credential's health."""
    return credentials_pb2.CredentialHealth(
        state=number(health.state),
        since=timestamp(health.since),
        until=timestamp(health.until),
        reason=health.reason,
    )


def health_changes(notices: Sequence[FeedNotice]) -> Iterator[pb.CredentialHealthChange]:
    """Yield those of the notices that are about credentials' health."""
    for entry in notices:
        if isinstance(changed := entry.notice, HealthChanged):
            yield pb.CredentialHealthChange(
                credential_id=ids.encode(Kind.CREDENTIAL, changed.credential_id),
                app_name=changed.app_name,
                credential_type=CREDENTIAL_TYPE_NUMBERS[changed.credential_type],
                health=health_message(changed.health),
                at=timestamp(entry.at),
            )


def removals_stopped(notices: Sequence[FeedNotice]) -> Iterator[pb.RemovalsStopped]:
    """Yield those of the notices that are about removals."""
    for entry in notices:
        if isinstance(stopped := entry.notice, RemovalsStopped):
            yield pb.RemovalsStopped(
                operation_id=ids.encode(Kind.OPERATION, stopped.operation_id),
                credential_id=ids.encode(Kind.CREDENTIAL, stopped.credential_id),
                reason=stopped.code,
                devices=stopped.devices,
                at=timestamp(entry.at),
            )


def devices_removed(notices: Sequence[FeedNotice]) -> Iterator[pb.DevicesRemoved]:
    """Yield those of the notices that are about removed devices."""
    for entry in notices:
        if isinstance(removed := entry.notice, DevicesRemoved):
            yield pb.DevicesRemoved(
                operation_id=ids.encode(Kind.OPERATION, removed.operation_id),
                app_name=removed.app_name,
                devices=[
                    pb.RemovedDevice(
                        user_id=ids.encode(Kind.USER, device.user_id),
                        provider=PROVIDER_NUMBERS[device.provider],
                        token=device.token,
                    )
                    for device in removed.devices
                ],
                at=timestamp(entry.at),
            )
