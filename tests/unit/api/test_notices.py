"""News of an account as callers get them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from pharos.push.v1 import credentials_pb2

from server.api.notices import health_changes, removals_stopped
from server.domain import ids
from server.domain.credentials import CredentialType
from server.domain.feed import FeedNotice
from server.domain.health import Health, HealthState
from server.domain.ids import Kind
from server.domain.notices import HealthChanged, RemovalsStopped

_AT = datetime(2030, 5, 1, 12, tzinfo=UTC)
_SINCE = datetime(2030, 5, 1, 11, tzinfo=UTC)
_OPERATION = UUID("01890a5d-ac96-774b-bcce-b30209980000")
_CREDENTIAL = UUID("01890a5d-ac96-774b-bcce-b30209980001")
_NOTICES = [
    FeedNotice(1, _AT, RemovalsStopped(_OPERATION, _CREDENTIAL, "BadDeviceToken", 51)),
    FeedNotice(
        2,
        _AT,
        HealthChanged(
            _CREDENTIAL,
            "shop",
            CredentialType.APN_SANDBOX,
            Health(HealthState.REJECTED, _SINCE, None, "InvalidProviderToken"),
        ),
    ),
]


def test_a_change_of_health_names_the_credential_and_what_became_of_it() -> None:
    (told,) = health_changes(_NOTICES)
    assert told.credential_id == ids.encode(Kind.CREDENTIAL, _CREDENTIAL)
    assert (told.app_name, told.credential_type) == ("shop", credentials_pb2.CREDENTIAL_TYPE_APN_SANDBOX)
    assert told.health.state == credentials_pb2.CREDENTIAL_HEALTH_STATE_REJECTED
    assert (told.health.since.ToDatetime(UTC), told.health.HasField("until")) == (_SINCE, False)
    assert (told.health.reason, told.at.ToDatetime(UTC)) == ("InvalidProviderToken", _AT)


def test_a_stop_of_removals_names_the_operation_and_the_answer() -> None:
    (told,) = removals_stopped(_NOTICES)
    assert told.operation_id == ids.encode(Kind.OPERATION, _OPERATION)
    assert told.credential_id == ids.encode(Kind.CREDENTIAL, _CREDENTIAL)
    assert (told.reason, told.devices, told.at.ToDatetime(UTC)) == ("BadDeviceToken", 51, _AT)
